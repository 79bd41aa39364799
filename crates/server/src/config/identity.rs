//! Who may call, and what with.

use std::path::PathBuf;

use clap::Args;

use super::Period;

/// Settings of principals and credentials.
#[derive(Debug, Clone, Args)]
pub struct IdentityConfig {
    /// Whether those who hold a preshared key get all powers of the default store back, and administer the server, if that was
    /// taken away from them. The way back in for who holds the machine.
    #[arg(long, env = "STONETOWN_REGAIN_CONTROL")]
    pub regain_control: bool,

    /// Longest time that a credential lasts.
    #[arg(long, env = "STONETOWN_CREDENTIAL_TTL_MAX", default_value = "24h", value_name = "TIME")]
    pub credential_ttl_max: Period,

    /// File that the credential of the first principal is written to, which only its owner can read. Not set: it is shown on
    /// standard output.
    #[arg(long, env = "STONETOWN_FIRST_CREDENTIAL_FILE", value_name = "FILE")]
    pub first_credential_file: Option<PathBuf>,
}
