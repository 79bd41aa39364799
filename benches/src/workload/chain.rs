//! W6: chains of folders; who views the root views the leaf.

use super::{Builder, Size};
use crate::random::Random;

const SCHEMA: &str = "\
definition user {}

definition folder {
  relation parent: folder
  relation viewer: user
  permission view = viewer + parent->view
}
";

/// Folders in a chain.
const LENGTH: usize = 40;

pub(super) fn generate(builder: &mut Builder, size: Size, seed: u64) -> &'static str {
    let chains = match size {
        Size::S => 50,
        Size::M => 1_000,
        Size::L => 10_000,
    };
    let mut random = Random::new(seed, "w6");
    for chain in 0..chains {
        builder.add(format!("folder:c{chain:04}_00#viewer@user:u{chain:07}"));
        for link in 1..LENGTH {
            builder.add(format!("folder:c{chain:04}_{link:02}#parent@folder:c{chain:04}_{:02}", link - 1));
        }
    }
    for n in 0..10_000 {
        let chain = random.below(chains);
        let user = if n % 2 == 0 { chain } else { random.below(chains) };
        builder.check(&format!("folder:c{chain:04}_{:02}#view@user:u{user:07}", LENGTH - 1));
    }
    SCHEMA
}
