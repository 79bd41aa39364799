//! Writes a certificate for `localhost` that vouches for itself, and its key, for scripts that try TLS: `certificate DIRECTORY`.

use std::path::PathBuf;

use clap::Parser;
use stonetown_tests::certificates::localhost;

/// Writes the files `cert` and `key`.
#[derive(Parser)]
struct Args {
    /// A directory that is there.
    directory: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Args { directory } = Args::parse();
    let pair = localhost()?;
    std::fs::write(directory.join("cert"), pair.cert.pem())?;
    Ok(std::fs::write(directory.join("key"), pair.signing_key.serialize_pem())?)
}
