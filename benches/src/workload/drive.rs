//! W2: a drive with nested groups and folders, and W8: the same with users who see a known number of documents.

use super::{Builder, Size};
use crate::random::{Random, Zipf};

const SCHEMA: &str = "\
definition user {}

definition group {
  relation member: user | group#member
}

definition folder {
  relation parent: folder
  relation viewer: user | group#member
  relation editor: user | group#member
  permission edit = editor + parent->edit
  permission view = viewer + edit + parent->view
}

definition doc {
  relation parent: folder
  relation viewer: user | group#member
  relation owner: user
  relation banned: user
  permission edit = owner + parent->edit
  permission view = viewer + edit + parent->view - banned
  permission see = viewer + edit + parent->view
}
";

/// Folders lie at most so deep.
const DEPTH_MAX: usize = 8;
/// Groups are nested at most so deep.
const NESTING: usize = 5;

struct Drive {
    users: usize,
    groups: usize,
    folders: usize,
    docs: usize,
}

impl Drive {
    fn of(size: Size) -> Drive {
        match size {
            Size::S => Drive { users: 500, groups: 100, folders: 500, docs: 2_000 },
            Size::M => Drive { users: 100_000, groups: 10_000, folders: 50_000, docs: 400_000 },
            Size::L => Drive { users: 850_000, groups: 85_000, folders: 425_000, docs: 3_400_000 },
        }
    }
}

pub(super) fn generate(builder: &mut Builder, size: Size, seed: u64) -> &'static str {
    let drive = Drive::of(size);
    let mut random = Random::new(seed, "w2");
    let members = groups(builder, &drive, &mut random);
    let (depths, viewers) = folders(builder, &drive, &mut random);
    let popular = Zipf::new(drive.folders, 0.7, &mut random);
    let mut docs = Vec::with_capacity(drive.docs);
    for doc in 0..drive.docs {
        let folder = popular.draw(&mut random);
        let owner = random.below(drive.users);
        builder.add(format!("doc:d{doc:07}#parent@folder:f{folder:07}"));
        builder.add(format!("doc:d{doc:07}#owner@user:u{owner:07}"));
        if random.chance(0.2) {
            let user = random.below(drive.users);
            builder.add(format!("doc:d{doc:07}#viewer@user:u{user:07}"));
        }
        if random.chance(0.05) {
            let group = random.below(drive.groups);
            builder.add(format!("doc:d{doc:07}#viewer@group:g{group:07}#member"));
        }
        if random.chance(0.001) {
            let user = if random.chance(0.5) { owner } else { random.below(drive.users) };
            builder.add(format!("doc:d{doc:07}#banned@user:u{user:07}"));
        }
        docs.push((folder, owner));
    }
    let deep: Vec<_> = (0..drive.docs).filter(|doc| depths[docs[*doc].0] + 1 >= DEPTH_MAX).collect();
    for n in 0..20_000 {
        let doc =
            if n % 10 == 0 && !deep.is_empty() { deep[random.below(deep.len())] } else { random.below(drive.docs) };
        let user = match random.below(4) {
            0 => docs[doc].1,
            // Somebody of a group that views a folder above: allowed through both nestings, or a near miss.
            1 => viewers[docs[doc].0].map_or(0, |group| members[group][0]),
            2 => {
                let group = random.below(drive.groups);
                members[group][random.below(members[group].len())]
            }
            _ => random.below(drive.users),
        };
        builder.check(&format!("doc:d{doc:07}#view@user:u{user:07}"));
    }
    SCHEMA
}

pub(super) fn generate_lookups(builder: &mut Builder, size: Size, seed: u64) -> &'static str {
    generate(builder, size, seed);
    let drive = Drive::of(size);
    let counts: &[usize] = match size {
        Size::S => &[10, 300],
        Size::M | Size::L => &[10, 1_000, 100_000],
    };
    for &count in counts {
        for (class, name) in ["direct", "group", "folder"].into_iter().enumerate() {
            let user = format!("user:{name}{count}");
            let share = |doc: usize, builder: &mut Builder| match class {
                0 => builder.add(format!("doc:d{doc:07}#viewer@{user}")),
                1 => builder.add(format!("doc:d{doc:07}#viewer@group:{name}{count}#member")),
                _ => builder.add(format!("doc:x{count}_{doc}#parent@folder:{name}{count}")),
            };
            match class {
                1 => builder.add(format!("group:{name}{count}#member@{user}")),
                2 => builder.add(format!("folder:{name}{count}#viewer@{user}")),
                _ => {}
            }
            for n in 0..count {
                share(n * (drive.docs / count), builder);
            }
            builder.lookup(format!("{count} documents, {name}, union"), "doc", "see", &user);
            builder.lookup(format!("{count} documents, {name}, exclusion"), "doc", "view", &user);
        }
    }
    SCHEMA
}

/// Groups in levels: each but the roots is a member of one of the level above, some of two.
fn groups(builder: &mut Builder, drive: &Drive, random: &mut Random) -> Vec<Vec<usize>> {
    let level = drive.groups / NESTING;
    for group in level..drive.groups {
        let above = (group / level - 1) * level;
        for _ in 0..1 + usize::from(random.chance(0.1)) {
            let parent = above + random.below(level);
            builder.add(format!("group:g{parent:07}#member@group:g{group:07}#member"));
        }
    }
    let active = Zipf::new(drive.users, 0.8, random);
    let mut members = vec![Vec::new(); drive.groups];
    for (group, members) in members.iter_mut().enumerate() {
        for _ in 0..20 {
            let user = active.draw(random);
            members.push(user);
            builder.add(format!("group:g{group:07}#member@user:u{user:07}"));
        }
    }
    members
}

/// A random tree of folders of bounded depth; the depth of each, and the group that views it or the nearest above it.
fn folders(builder: &mut Builder, drive: &Drive, random: &mut Random) -> (Vec<usize>, Vec<Option<usize>>) {
    let (mut depths, mut viewers) = (Vec::with_capacity(drive.folders), Vec::with_capacity(drive.folders));
    for folder in 0..drive.folders {
        let parent = (folder > 0)
            .then(|| (0..16).map(|_| random.below(folder)).find(|parent| depths[*parent] + 1 < DEPTH_MAX))
            .flatten();
        if let Some(parent) = parent {
            builder.add(format!("folder:f{folder:07}#parent@folder:f{parent:07}"));
        }
        depths.push(parent.map_or(0, |parent| depths[parent] + 1));
        let mut viewer = parent.and_then(|parent| viewers[parent]);
        if random.chance(0.3) {
            let group = random.below(drive.groups);
            builder.add(format!("folder:f{folder:07}#viewer@group:g{group:07}#member"));
            viewer = Some(group);
        }
        if random.chance(0.1) {
            let user = random.below(drive.users);
            builder.add(format!("folder:f{folder:07}#editor@user:u{user:07}"));
        }
        viewers.push(viewer);
    }
    (depths, viewers)
}
