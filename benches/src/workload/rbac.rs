//! W1: each user has two roles, each resource an owner, three viewers and a role that views.

use super::{Builder, Size};
use crate::random::{Random, Zipf};

const SCHEMA: &str = "\
definition user {}

definition role {
  relation member: user
}

definition resource {
  relation viewer: user | role#member
  relation editor: user | role#member
  relation owner: user | role#member
  permission view = viewer + editor + owner
}
";

pub(super) fn generate(builder: &mut Builder, size: Size, seed: u64) -> &'static str {
    let (users, roles, resources) = match size {
        Size::S => (1_000, 20, 1_000),
        Size::M => (100_000, 100, 100_000),
        Size::L => (1_000_000, 1_000, 1_000_000),
    };
    let mut random = Random::new(seed, "w1");
    let popular = Zipf::new(roles, 1.0, &mut random);
    let mut roles_of = vec![Vec::new(); users];
    for (user, roles) in roles_of.iter_mut().enumerate() {
        for _ in 0..2 {
            let role = popular.draw(&mut random);
            roles.push(role);
            builder.add(format!("role:r{role:07}#member@user:u{user:07}"));
        }
    }
    let mut viewers = Vec::new();
    for resource in 0..resources {
        let mut share = |relation: &str, random: &mut Random| {
            let user = random.below(users);
            builder.add(format!("resource:d{resource:07}#{relation}@user:u{user:07}"));
            user
        };
        share("owner", &mut random);
        let viewer = share("viewer", &mut random);
        share("viewer", &mut random);
        share("viewer", &mut random);
        let role = popular.draw(&mut random);
        builder.add(format!("resource:d{resource:07}#viewer@role:r{role:07}#member"));
        viewers.push((viewer, role));
    }
    for _ in 0..20_000 {
        let resource = random.below(resources);
        let user = match random.below(4) {
            0 => viewers[resource].0,
            // A user of the role that views: the path through a group.
            1 => (0..64)
                .map(|_| random.below(users))
                .find(|user| roles_of[*user].contains(&viewers[resource].1))
                .unwrap_or(0),
            _ => random.below(users),
        };
        builder.check(&format!("resource:d{resource:07}#view@user:u{user:07}"));
    }
    SCHEMA
}
