//! Compiles the protos with protox, so that no `protoc` has to be installed.

use std::path::{Path, PathBuf};
use std::{env, error::Error, fs};

use prost::Message;

const PROTO: &str = "../../proto";
/// The folders of the packages that are served.
const PACKAGES: [&str; 3] = ["authzed/api/v1", "authzed/api/materialize/v0", "stonetown/v1"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={PROTO}");
    let mut files = Vec::new();
    for package in PACKAGES {
        for entry in fs::read_dir(Path::new(PROTO).join(package))? {
            files.push(entry?.path());
        }
    }
    files.sort();
    let descriptors = protox::compile(&files, [PROTO])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let mut config = prost_build::Config::new();
    config.include_file("protos.rs");
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    Ok(())
}
