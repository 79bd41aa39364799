//! W7: resources with very many groups, and users in few or very many of them.

use super::{Builder, Size};
use crate::random::Random;

const SCHEMA: &str = "\
definition user {}

definition group {
  relation member: user
}

definition resource {
  relation viewer: user | group#member
  permission view = viewer
}
";

pub(super) fn generate(builder: &mut Builder, size: Size, seed: u64) -> &'static str {
    let (groups, narrow, users) = match size {
        Size::S => (2_000, 10, 100),
        Size::M | Size::L => (100_000, 200, 1_000),
    };
    let mut random = Random::new(seed, "w7");
    for group in 0..groups {
        builder.add(format!("resource:r0000#viewer@group:g{group:07}#member"));
    }
    for resource in 1..=narrow {
        for _ in 0..1_000.min(groups) {
            let group = random.below(groups);
            builder.add(format!("resource:r{resource:04}#viewer@group:g{group:07}#member"));
        }
    }
    for user in 0..users {
        // Ten users are nearly everywhere.
        let memberships = if user < 10 { groups / 10 } else { 10 };
        for _ in 0..memberships {
            let group = random.below(groups);
            builder.add(format!("group:g{group:07}#member@user:u{user:07}"));
        }
    }
    builder.add(format!("group:g{:07}#member@user:last", groups - 1));
    builder.add("group:elsewhere#member@user:none".to_owned());
    for n in 0..5_000 {
        let resource = if n % 2 == 0 { 0 } else { 1 + random.below(narrow) };
        let user = match n % 5 {
            0 => "last".to_owned(),
            1 => "none".to_owned(),
            2 => format!("u{:07}", random.below(10)),
            _ => format!("u{:07}", random.below(users)),
        };
        builder.check(&format!("resource:r{resource:04}#view@user:{user}"));
    }
    SCHEMA
}
