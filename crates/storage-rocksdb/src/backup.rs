//! Copies of a data directory, made while it is in use, and new data directories from them.
//!
//! A backup is a directory with a copy of the database and the file `BACKUP`. It is never opened as a data directory: two
//! directories with one instance would give out the same tokens for different histories. A restore copies it, goes back to
//! an older revision if asked to (see [`crate::rewind`]), and gives the result an instance of its own.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use stonetown_storage::{Checkpointed, StorageError};
use stonetown_tuple::{InstanceId, Revision, Timestamp};

use crate::directory::{BackupFile, Directory, io, sync_directory};
use crate::open;
use crate::options::Options;
use crate::shared::Shared;

/// What a backup is called until it is whole.
const PARTIAL: &str = "partial";
/// Bytes copied between two reports of progress.
const COPIED_AT_ONCE: usize = 1 << 20;

/// How far a restore goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// All that is there.
    Newest,
    /// This commit and all before it.
    Revision(Revision),
    /// What was committed at this time or before it, by the clock of the commits.
    Time(Timestamp),
}

/// A data directory made from a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// The history that the backup was of. Its tokens are foreign to the restored directory.
    pub from: InstanceId,
    /// The history that begins with the restore.
    pub instance: InstanceId,
    /// The newest commit of the restored directory.
    pub revision: Revision,
    /// How many newer commits were in the backup and were left out.
    pub left_out: u64,
}

/// Told how many bytes have been copied, of how many; breaks to end the restore early.
pub type Copying<'p> = &'p mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// See [`stonetown_storage::Datastore::checkpoint`].
pub(crate) fn checkpoint(shared: &Shared, to: &Path, now: Timestamp) -> Result<Checkpointed, StorageError> {
    let _one_at_a_time = shared.checkpointing.lock();
    if to.symlink_metadata().is_ok() {
        return Err(StorageError::Refused(format!("`{}` is there already", to.display())));
    }
    let partial = partial_of(to);
    match fs::remove_dir_all(&partial) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(io(&partial, &error)),
        _ => {}
    }
    // Read before the database is copied: whatever was acknowledged up to here is in the copy.
    let revision = shared.head();
    fs::create_dir_all(&partial).map_err(|error| io(&partial, &error))?;
    let copied = fill(shared, &partial, &BackupFile { instance: shared.instance, revision, time: now });
    let copied = copied.and_then(|bytes| {
        let renamed = fs::rename(&partial, to).and_then(|()| sync_directory(parent(to)));
        renamed.map(|()| bytes).map_err(|error| io(to, &error))
    });
    if copied.is_err() {
        // What cannot be removed now says by its name what it is.
        let _left_behind = fs::remove_dir_all(&partial);
    }
    Ok(Checkpointed { instance: shared.instance, revision, bytes: copied? })
}

fn fill(shared: &Shared, partial: &Path, backup: &BackupFile) -> Result<u64, StorageError> {
    let database = Directory::database_in(partial);
    shared.database.checkpoint(&database)?;
    sync_directory(&database).map_err(|error| io(&database, &error))?;
    backup.write(partial)?;
    let files = files(&database)?;
    Ok(files.iter().map(|(_, bytes)| bytes).sum())
}

/// Makes a data directory at `to` from a backup, or from the data directory of a server that is not running.
///
/// The result has an instance of its own, so that tokens of the history it was copied from are foreign to it. Until it is
/// done `to` is no data directory, and a server refuses it.
///
/// # Errors
/// [`StorageError::Refused`] when `to` is not empty, when `from` is in use or no backup, when acknowledged commits are missing
/// from it, when `until` lies outside of what it holds, or when `progress` broke it off; [`StorageError::Damaged`] when it
/// cannot be read.
pub fn restore(
    from: &Path,
    to: &Path,
    until: Until,
    options: &Options,
    progress: Copying<'_>,
) -> Result<Restored, StorageError> {
    let source = Directory::reading(from)?;
    let directory = Directory::restoring(to)?;
    copy_database(&Directory::database_in(from), &directory.database(), progress)?;
    let mut opened = open::start(directory, options)?;
    let head = opened.shared.head();
    if head < source.acknowledged {
        return Err(StorageError::Refused(format!(
            "acknowledged writes are missing from `{}`: it should reach revision {}, but ends at {head}",
            from.display(),
            source.acknowledged
        )));
    }
    let revision = opened.writer.revision_until(until)?;
    let from = InstanceId(opened.writer.meta.instance);
    let instance = opened.writer.rewind(revision)?;
    opened.shared.database.flush()?;
    opened.shared.directory.set_high_water(revision)?;
    opened.shared.directory.restored()?;
    Ok(Restored { from, instance, revision, left_out: head.0 - revision.0 })
}

fn copy_database(from: &Path, to: &Path, progress: Copying<'_>) -> Result<(), StorageError> {
    fs::create_dir(to).map_err(|error| io(to, &error))?;
    let files = files(from)?;
    let total = files.iter().map(|(_, bytes)| bytes).sum();
    let mut copied = 0;
    for (path, _) in files {
        let name = path.file_name().unwrap_or_default();
        copy_file(&path, &to.join(name), &mut |bytes| {
            copied += bytes;
            progress(copied, total)
        })?;
    }
    sync_directory(to).map_err(|error| io(to, &error))
}

fn copy_file(from: &Path, to: &Path, progress: &mut dyn FnMut(u64) -> ControlFlow<()>) -> Result<(), StorageError> {
    let mut source = File::open(from).map_err(|error| io(from, &error))?;
    let mut target = File::create_new(to).map_err(|error| io(to, &error))?;
    let mut buffer = vec![0; COPIED_AT_ONCE];
    loop {
        let bytes = source.read(&mut buffer).map_err(|error| io(from, &error))?;
        if bytes == 0 {
            return target.sync_all().map_err(|error| io(to, &error));
        }
        target.write_all(&buffer[..bytes]).map_err(|error| io(to, &error))?;
        if progress(bytes as u64).is_break() {
            return Err(StorageError::Refused("the restore was broken off".to_owned()));
        }
    }
}

/// The files of a database that hold data, with their sizes, in the order of their names.
fn files(database: &Path) -> Result<Vec<(PathBuf, u64)>, StorageError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(database).map_err(|error| io(database, &error))? {
        let entry = entry.map_err(|error| io(database, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let metadata = entry.metadata().map_err(|error| io(&entry.path(), &error))?;
        // Its lock and its diary say nothing about the data.
        if metadata.is_file() && name != "LOCK" && name != "LOG" && !name.starts_with("LOG.old.") {
            files.push((entry.path(), metadata.len()));
        }
    }
    files.sort();
    Ok(files)
}

fn partial_of(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{PARTIAL}"));
    to.with_file_name(name)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests;
