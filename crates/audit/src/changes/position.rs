//! The file that says up to which revision the change logs of all stores have everything, synced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use stonetown_tuple::{InstanceId, Revision};

use crate::log::LogError;

const FIRST_LINE: &str = "stonetown audit position 1";

/// What the file says; `None` where there is none, or one of another history.
///
/// # Errors
/// When it cannot be read, or says nothing.
pub(super) fn read(path: &Path, instance: InstanceId) -> Result<Option<Revision>, LogError> {
    let io = |source| LogError::Io { path: path.to_owned(), source };
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(io)?,
    };
    let mut lines = text.lines();
    let is_whole = lines.next() == Some(FIRST_LINE);
    match (lines.next(), lines.next().and_then(|line| line.parse().ok())) {
        (Some(of), Some(revision)) if is_whole => Ok((of == instance.to_string()).then_some(Revision(revision))),
        _ => Err(LogError::Damaged {
            path: path.to_owned(),
            place: "as a whole".to_owned(),
            why: "it holds no position".to_owned(),
        }),
    }
}

/// Replaces the file, whole or not at all.
///
/// # Errors
/// When it cannot be written.
pub(super) fn write(path: &Path, instance: InstanceId, position: Revision) -> Result<(), LogError> {
    let new = path.with_extension("new");
    let written = File::create(&new).and_then(|mut file| {
        writeln!(file, "{FIRST_LINE}\n{instance}\n{position}")?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&new, path));
    replaced.map_err(|source| LogError::Io { path: path.to_owned(), source })
}
