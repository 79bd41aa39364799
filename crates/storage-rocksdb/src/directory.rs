//! The data directory around the database: who holds it, which format it has, and how far it was acknowledged.
//!
//! | file | content |
//! |---|---|
//! | `FORMAT` | the format, written once |
//! | `LOCK` | held by the process that has the directory open |
//! | `HIGHWATER` | a revision that was acknowledged; never ahead of what is durable, at most about a second behind |
//! | `rocksdb/` | the database |

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use stonetown_storage::StorageError;
use stonetown_tuple::Revision;
use xxhash_rust::xxh3::xxh3_64;

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";
const HIGH_WATER_FILE: &str = "HIGHWATER";

/// A data directory that this process holds until it is dropped.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Takes a directory, made if it is not there.
    ///
    /// # Errors
    /// [`StorageError::Refused`] when another process holds it, when it holds something else, or when its format is newer.
    pub(crate) fn open(path: &Path) -> Result<Self, StorageError> {
        fs::create_dir_all(path).map_err(|error| io(path, &error))?;
        let lock = lock(path)?;
        let directory = Directory { path: path.to_owned(), _lock: lock };
        directory.check_format()?;
        Ok(directory)
    }

    /// Where the database is.
    pub(crate) fn database(&self) -> PathBuf {
        self.path.join("rocksdb")
    }

    /// The revision in the high-water file, 0 without one.
    ///
    /// # Errors
    /// [`StorageError::Refused`] when the file cannot be trusted.
    pub(crate) fn high_water(&self) -> Result<Revision, StorageError> {
        let file = self.path.join(HIGH_WATER_FILE);
        let text = match fs::read(&file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Revision(0)),
            Err(error) => return Err(io(&file, &error)),
        };
        let revision = text.split_once('\n').and_then(|(number, _)| number.parse().ok()).map(Revision);
        revision.filter(|revision| high_water_text(*revision) == text).ok_or_else(|| {
            StorageError::Refused(format!(
                "`{}` is damaged: it can no longer tell whether acknowledged writes are missing. Check the disk; to go on \
                 with what the database holds, remove the file",
                file.display()
            ))
        })
    }

    /// Fails when the database ends before what was acknowledged.
    pub(crate) fn check_high_water(&self, head: Revision) -> Result<(), StorageError> {
        let acknowledged = self.high_water()?;
        if acknowledged <= head {
            return Ok(());
        }
        Err(StorageError::Refused(format!(
            "acknowledged writes are missing: `{}` says that revision {acknowledged} was acknowledged, but the database ends \
             at {head}. Restore it from a backup; to go on without the missing writes, remove the file",
            self.path.join(HIGH_WATER_FILE).display()
        )))
    }

    /// Records a revision that was acknowledged. The file is replaced whole, so that no crash leaves half of it.
    pub(crate) fn set_high_water(&self, revision: Revision) -> Result<(), StorageError> {
        self.replace(HIGH_WATER_FILE, &high_water_text(revision))
    }

    fn check_format(&self) -> Result<(), StorageError> {
        let file = self.path.join(FORMAT_FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return self.begin(),
            Err(error) => return Err(io(&file, &error)),
        };
        let format = text.trim().strip_prefix("stonetown format ").and_then(|number| number.parse::<u32>().ok());
        match format {
            Some(FORMAT) => Ok(()),
            Some(newer) if newer > FORMAT => Err(StorageError::Refused(format!(
                "`{}` has format {newer}, and this version reads formats up to {FORMAT}: use a version of Stonetown at \
                 least as new as the one that wrote it",
                self.path.display()
            ))),
            _ => Err(StorageError::Damaged(format!("`{}` names no format", file.display()))),
        }
    }

    /// Makes a new data directory of an empty one.
    fn begin(&self) -> Result<(), StorageError> {
        for entry in fs::read_dir(&self.path).map_err(|error| io(&self.path, &error))? {
            let name = entry.map_err(|error| io(&self.path, &error))?.file_name();
            if name != LOCK_FILE && name.to_string_lossy() != temporary(FORMAT_FILE) {
                return Err(StorageError::Refused(format!(
                    "`{}` is not a Stonetown data directory: there is no `{FORMAT_FILE}`, but `{}`",
                    self.path.display(),
                    name.to_string_lossy()
                )));
            }
        }
        self.replace(FORMAT_FILE, &format!("stonetown format {FORMAT}\n"))?;
        // The directory may be new itself: then its own name has to last, too.
        let path = self.path.canonicalize().map_err(|error| io(&self.path, &error))?;
        let parent = path.parent().unwrap_or(&path);
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(|error| io(parent, &error))
    }

    fn replace(&self, name: &str, text: &str) -> Result<(), StorageError> {
        let (file, new) = (self.path.join(name), self.path.join(temporary(name)));
        let written = File::create(&new)
            .and_then(|mut new| new.write_all(text.as_bytes()).and_then(|()| new.sync_all()))
            .and_then(|()| fs::rename(&new, &file))
            .and_then(|()| File::open(&self.path)?.sync_all());
        written.map_err(|error| io(&file, &error))
    }
}

fn lock(path: &Path) -> Result<File, StorageError> {
    let file = path.join(LOCK_FILE);
    let lock =
        File::options().create(true).truncate(false).write(true).open(&file).map_err(|error| io(&file, &error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StorageError::Refused(format!(
            "`{}` is in use by another process: a data directory belongs to one server at a time",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(io(&file, &error)),
    }
}

fn temporary(name: &str) -> String {
    format!("{name}.new")
}

/// The revision, and a checksum of that line.
fn high_water_text(revision: Revision) -> String {
    let number = revision.to_string();
    let checksum = xxh3_64(number.as_bytes());
    format!("{number}\n{checksum:016x}\n")
}

fn io(path: &Path, error: &std::io::Error) -> StorageError {
    StorageError::Io(format!("`{}`: {error}", path.display()))
}
