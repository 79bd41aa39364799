//! Settings of the logs of decisions and changes.

use clap::{ArgAction, Args};
use stonetown_audit::StrictRule;

/// Whether and how decisions and changes are recorded; see docs/audit.md.
#[derive(Debug, Clone, Args)]
pub struct AuditConfig {
    /// Whether decisions and changes are recorded. The memory engine records nothing.
    #[arg(
        long,
        env = "STONETOWN_AUDIT",
        default_value = "true",
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new(),
        value_name = "BOOL"
    )]
    pub audit: bool,

    /// Permission that is answered only after its record is synced, and refused when that fails: TYPE#PERMISSION, or `*` for
    /// all. Repeat the flag, or separate permissions by commas, for several.
    #[arg(long, env = "STONETOWN_AUDIT_STRICT", value_name = "PERMISSION", value_delimiter = ',')]
    pub audit_strict: Vec<StrictRule>,

    /// Caveat parameter whose values are not recorded. Repeat the flag, or separate names by commas, for several.
    #[arg(long, env = "STONETOWN_AUDIT_MASK", value_name = "PARAMETER", value_delimiter = ',')]
    pub audit_mask: Vec<String>,

    /// Disk for the log of decisions of each store, in GiB: beyond, its oldest records go; 0 for no bound. The log of changes
    /// keeps all.
    #[arg(long, env = "STONETOWN_AUDIT_DECISIONS_GIB", default_value_t = 20, value_name = "GIB")]
    pub audit_decisions_gib: u64,
}
