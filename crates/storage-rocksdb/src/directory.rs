//! The data directory around the database: who holds it, which format it has, and how far it was acknowledged.
//!
//! | file | content |
//! |---|---|
//! | `FORMAT` | the format, written once |
//! | `LOCK` | held by the process that has the directory open |
//! | `HIGHWATER` | a revision that was acknowledged; never ahead of what is durable, at most about a second behind |
//! | `rocksdb/` | the database |
//! | `BACKUP` | in the place of `FORMAT` in a backup: what was copied, and up to where |
//! | `RESTORING` | in the place of `FORMAT` while a backup is being restored |

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use stonetown_storage::StorageError;
use stonetown_tuple::{InstanceId, Revision, Timestamp};
use xxhash_rust::xxh3::xxh3_64;

/// The format that this version writes, and the newest that it reads. Older ones are brought up to it when they are opened.
pub const FORMAT: u32 = 2;

const FORMAT_FILE: &str = "FORMAT";
const LOCK_FILE: &str = "LOCK";
const HIGH_WATER_FILE: &str = "HIGHWATER";
const BACKUP_FILE: &str = "BACKUP";
const RESTORING_FILE: &str = "RESTORING";

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

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory for a restore; it is no data directory until [`Directory::restored`].
    ///
    /// # Errors
    /// [`StorageError::Refused`] when anything is in it.
    pub(crate) fn restoring(path: &Path) -> Result<Self, StorageError> {
        fs::create_dir_all(path).map_err(|error| io(path, &error))?;
        if let Some(entry) = fs::read_dir(path).map_err(|error| io(path, &error))?.next() {
            let name = entry.map_err(|error| io(path, &error))?.file_name();
            return Err(StorageError::Refused(format!(
                "`{}` is not empty: it has `{}`. A backup is restored into a new directory",
                path.display(),
                name.to_string_lossy()
            )));
        }
        let directory = Directory { path: path.to_owned(), _lock: lock(path)? };
        directory.replace(RESTORING_FILE, "")?;
        Ok(directory)
    }

    /// Makes the data directory of a finished restore.
    pub(crate) fn restored(&self) -> Result<(), StorageError> {
        self.begin_format()?;
        let file = self.path.join(RESTORING_FILE);
        fs::remove_file(&file).map_err(|error| io(&file, &error))
    }

    /// Takes a directory that is there to be read only: the lock of a data directory, nothing of a backup.
    ///
    /// # Errors
    /// As [`Directory::open`].
    pub(crate) fn reading(path: &Path) -> Result<Source, StorageError> {
        if let Some(backup) = BackupFile::read(path)? {
            return Ok(Source { acknowledged: backup.revision, _directory: None });
        }
        if !path.join(FORMAT_FILE).exists() {
            let why =
                format!("`{}` is neither a data directory nor a backup: there is no `{FORMAT_FILE}`", path.display());
            return Err(StorageError::Refused(why));
        }
        let directory = Directory::open(path)?;
        Ok(Source { acknowledged: directory.high_water()?, _directory: Some(directory) })
    }

    /// Where the database is.
    pub(crate) fn database(&self) -> PathBuf {
        Directory::database_in(&self.path)
    }

    /// Where the database is in a data directory or a backup.
    pub(crate) fn database_in(path: &Path) -> PathBuf {
        path.join("rocksdb")
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

    /// Whether it is a data directory of an older format than this version writes; one that is being restored has none yet.
    pub(crate) fn is_of_older_format(&self) -> Result<bool, StorageError> {
        Ok(self.format()?.is_some_and(|format| format < FORMAT))
    }

    /// Records that the directory has been brought up to the format that this version writes.
    pub(crate) fn set_newest_format(&self) -> Result<(), StorageError> {
        self.replace(FORMAT_FILE, &format!("stonetown format {FORMAT}\n"))
    }

    /// The format of the directory, `None` without the file.
    fn format(&self) -> Result<Option<u32>, StorageError> {
        let file = self.path.join(FORMAT_FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(&file, &error)),
        };
        let format = text.trim().strip_prefix("stonetown format ").and_then(|number| number.parse().ok());
        format.map(Some).ok_or_else(|| StorageError::Damaged(format!("`{}` names no format", file.display())))
    }

    fn check_format(&self) -> Result<(), StorageError> {
        match self.format()? {
            None => self.begin(),
            Some(1..=FORMAT) => Ok(()),
            Some(newer) if newer > FORMAT => Err(StorageError::Refused(format!(
                "`{}` has format {newer}, and this version reads formats up to {FORMAT}: use a version of Stonetown at \
                 least as new as the one that wrote it",
                self.path.display()
            ))),
            Some(_) => {
                Err(StorageError::Damaged(format!("`{}` names no format", self.path.join(FORMAT_FILE).display())))
            }
        }
    }

    /// Makes a new data directory of an empty one.
    fn begin(&self) -> Result<(), StorageError> {
        if let Some(backup) = BackupFile::read(&self.path)? {
            return Err(StorageError::Refused(format!(
                "`{}` is a backup, up to revision {}: restore it into a data directory with `stonetown restore`",
                self.path.display(),
                backup.revision
            )));
        }
        if self.path.join(RESTORING_FILE).exists() {
            return Err(StorageError::Refused(format!(
                "`{}` is what an interrupted restore left behind: remove it and restore again",
                self.path.display()
            )));
        }
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
        self.begin_format()
    }

    fn begin_format(&self) -> Result<(), StorageError> {
        self.set_newest_format()?;
        // The directory may be new itself: then its own name has to last, too.
        let path = self.path.canonicalize().map_err(|error| io(&self.path, &error))?;
        let parent = path.parent().unwrap_or(&path);
        sync_directory(parent).map_err(|error| io(parent, &error))
    }

    fn replace(&self, name: &str, text: &str) -> Result<(), StorageError> {
        replace(&self.path, name, text)
    }
}

/// A directory that is read and not changed.
#[derive(Debug)]
pub(crate) struct Source {
    /// The database must not end before this revision.
    pub(crate) acknowledged: Revision,
    /// Keeps a server from changing a data directory meanwhile.
    _directory: Option<Directory>,
}

/// The file `BACKUP`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BackupFile {
    /// The history that was copied.
    pub(crate) instance: InstanceId,
    /// Everything up to here is in the copy.
    pub(crate) revision: Revision,
    /// When the copy was begun.
    pub(crate) time: Timestamp,
}

impl BackupFile {
    /// Writes the file, durably.
    pub(crate) fn write(&self, path: &Path) -> Result<(), StorageError> {
        replace(path, BACKUP_FILE, &self.text())
    }

    /// Reads the file, where there is one.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, StorageError> {
        let file = path.join(BACKUP_FILE);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(&file, &error)),
        };
        let format = text.lines().next().and_then(|line| line.strip_prefix("stonetown backup of format "));
        let format = format.and_then(|number| number.parse::<u32>().ok());
        if let Some(newer) = format.filter(|format| *format > FORMAT) {
            return Err(StorageError::Refused(format!(
                "`{}` is a backup of format {newer}, and this version reads formats up to {FORMAT}: use a version of \
                 Stonetown at least as new as the one that wrote it",
                path.display()
            )));
        }
        let parsed = Self::parse(&text).filter(|parsed| parsed.text() == text);
        parsed.map(Some).ok_or_else(|| StorageError::Damaged(format!("`{}` is damaged", file.display())))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.lines().skip(1).map(|line| line.split_once(' '));
        let mut field = |name| fields.next()?.filter(|(found, _)| *found == name).map(|(_, value)| value);
        Some(BackupFile {
            instance: InstanceId(u64::from_str_radix(field("instance")?, 16).ok()?),
            revision: Revision(field("revision")?.parse().ok()?),
            time: field("time")?.parse().ok()?,
        })
    }

    fn text(&self) -> String {
        let BackupFile { instance, revision, time } = self;
        let body = format!(
            "stonetown backup of format {FORMAT}\ninstance {:016x}\nrevision {revision}\ntime {time}\n",
            instance.0
        );
        format!("{body}checksum {:016x}\n", xxh3_64(body.as_bytes()))
    }
}

/// Replaces a file whole, durably: no crash leaves half of it.
fn replace(path: &Path, name: &str, text: &str) -> Result<(), StorageError> {
    let (file, new) = (path.join(name), path.join(temporary(name)));
    let written = File::create(&new)
        .and_then(|mut new| new.write_all(text.as_bytes()).and_then(|()| new.sync_all()))
        .and_then(|()| fs::rename(&new, &file))
        .and_then(|()| sync_directory(path));
    written.map_err(|error| io(&file, &error))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()
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

pub(crate) fn io(path: &Path, error: &std::io::Error) -> StorageError {
    StorageError::Io(format!("`{}`: {error}", path.display()))
}
