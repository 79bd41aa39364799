//! The key directory, which lies apart from the data: of the keys that sign the audit logs, and of the one that signs cursors.

use std::path::{Path, PathBuf};

use stonetown_api::CursorKey;
use stonetown_audit::{KeyError, secret};

use crate::config::{Config, Engine};

/// What the file of the key of cursors is called, before `.key`.
const CURSOR: &str = "cursor";

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file, or the directory.
    #[error("{0}; --key-dir says where keys are")]
    File(#[from] KeyError),
    /// Keys among the data that they protect.
    #[error("--key-dir `{}` lies inside the data: whoever can change the data could sign for it", .0.display())]
    AmongData(PathBuf),
}

/// The directory that the settings name, or the one beside the data.
pub(crate) fn directory(config: &Config) -> Result<PathBuf, KeysError> {
    let directory = config.key_dir.clone().unwrap_or_else(|| beside(&config.data_dir));
    if absolute(&directory).starts_with(absolute(&config.data_dir)) {
        return Err(KeysError::AmongData(directory));
    }
    Ok(directory)
}

/// The directory of the keys of a data directory where none is named.
#[must_use]
pub fn beside(data: &Path) -> PathBuf {
    let mut name = absolute(data).into_os_string();
    name.push(".keys");
    name.into()
}

/// The key of cursors, made if it is not there. What the memory engine holds ends with the process, and so does its key.
pub(crate) fn cursors(config: &Config) -> Result<CursorKey, KeysError> {
    match config.datastore_engine {
        Engine::Memory => Ok(CursorKey::default()),
        Engine::Rocksdb => Ok(CursorKey::new(&secret(&directory(config)?, CURSOR)?)),
    }
}

fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // A path that ends in a separator has the same name.
    path.components().collect()
}
