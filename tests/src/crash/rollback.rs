//! Puts a directory into the state that a power cut could have left at worst, from the record of the preload shim. The
//! shim, `tests/shim/unsynced.c`, describes the record.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Undoes below `root` all that was not synced, and empties `record`.
///
/// # Errors
/// If the record cannot be read or a file not be restored.
pub fn to_last_sync(root: &Path, record: &Path) -> Result<()> {
    undo_entries(record)?;
    restore_contents(root, record)?;
    remove_queues(root)?;
    for entry in fs::read_dir(record)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// Removes the queues of audit logs: one that belongs to an earlier run of the machine is dropped by whoever finds it.
fn remove_queues(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_queues(&path)?;
        } else if path.ends_with("audit/queue") {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// A change of a directory.
enum Change {
    Created(PathBuf),
    Unlinked { kept: Option<PathBuf>, path: PathBuf },
    Renamed { replaced: Option<PathBuf>, from: PathBuf, to: PathBuf },
    RemovedDirectory(PathBuf),
}

/// Undoes the changes of directories that were not synced, the last first.
fn undo_entries(record: &Path) -> Result<()> {
    let mut changes: Vec<Option<(u64, Change)>> = Vec::new();
    let journal = match fs::read_to_string(record.join("journal")) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        journal => journal.context("the journal cannot be read")?,
    };
    for line in journal.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let kept = |name: &str| (name != "-").then(|| record.join(name));
        let (directory, change) = match fields[..] {
            ["sync", directory] => {
                let synced: u64 = directory.parse()?;
                for change in &mut changes {
                    change.take_if(|(directory, _)| *directory == synced);
                }
                continue;
            }
            ["create", directory, path] => (directory, Change::Created(path.into())),
            ["unlink", directory, name, path] => (directory, Change::Unlinked { kept: kept(name), path: path.into() }),
            ["rename", directory, name, from, to] => {
                (directory, Change::Renamed { replaced: kept(name), from: from.into(), to: to.into() })
            }
            ["rmdir", directory, path] => (directory, Change::RemovedDirectory(path.into())),
            _ => bail!("a line of the journal that nobody writes: `{line}`"),
        };
        changes.push(Some((directory.parse()?, change)));
    }
    for (_, change) in changes.into_iter().rev().flatten() {
        undo(change)?;
    }
    Ok(())
}

fn undo(change: Change) -> Result<()> {
    match change {
        Change::Created(path) if path.is_dir() => tolerate_missing(fs::remove_dir_all(&path)),
        Change::Created(path) => tolerate_missing(fs::remove_file(&path)),
        Change::Unlinked { kept, path } => put_back(kept, &path),
        Change::Renamed { replaced, from, to } => {
            tolerate_missing(fs::rename(&to, &from))?;
            put_back(replaced, &to)
        }
        Change::RemovedDirectory(path) => Ok(fs::create_dir(&path)?),
    }
}

fn put_back(kept: Option<PathBuf>, path: &Path) -> Result<()> {
    let Some(kept) = kept else { return Ok(()) };
    fs::hard_link(&kept, path).with_context(|| format!("cannot put back `{}`", path.display()))
}

/// What is missing went with a directory that was not synced either.
fn tolerate_missing(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Gives every recorded file the content of its last sync.
fn restore_contents(root: &Path, record: &Path) -> Result<()> {
    let mut files = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else {
                files.insert(entry.metadata()?.ino(), entry.path());
            }
        }
    }
    for (inode, path) in files {
        let image = record.join(format!("image.{inode}"));
        if image.exists() {
            // In place: another name of the file may have been put back as well.
            fs::write(&path, fs::read(&image)?)?;
            continue;
        }
        match fs::read(record.join(format!("length.{inode}"))) {
            Ok(bytes) => {
                let bytes: [u8; 8] = bytes.try_into().map_err(|_| anyhow::anyhow!("a length of another size"))?;
                let synced = u64::from_ne_bytes(bytes);
                let file = File::options().write(true).open(&path)?;
                if file.metadata()?.len() > synced {
                    file.set_len(synced)?;
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
