//! The key directory, which lies apart from the data. The private keys of the logs are its files `log-N.key`; the highest number
//! signs, the others are kept so that a change of key can be endorsed by the one before. A purpose with one key only has
//! [`secret`].

mod file;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use file::secret;

use crate::note::{PublicKey, SigningKey};

/// What the first line of a key file says that it is for.
const PURPOSE: &str = "log";

/// The keys of the logs of one server, the oldest first.
#[derive(Debug, Clone)]
pub struct Keys {
    keys: Vec<Arc<SigningKey>>,
    /// Whether the signing key was made just now.
    made: bool,
}

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The directory or a file in it.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A key file that others can read.
    #[error("`{}` can be read by everybody: a key is for its owner only (chmod 600)", .0.display())]
    Exposed(PathBuf),
    /// A key file that holds no key, or one for another purpose.
    #[error("`{}` holds no key of its kind", .0.display())]
    Damaged(PathBuf),
    /// A directory without a key, where there has to be one.
    #[error("`{}` has no key of the logs: name the directory that the server has", .0.display())]
    Missing(PathBuf),
    /// The system gives no random numbers.
    #[error("no random numbers")]
    Random,
}

impl Keys {
    /// Reads the keys in a directory. An empty or missing one is given its first key.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn open(directory: &Path) -> Result<Keys, KeyError> {
        let mut keys = Keys::read(directory)?;
        if keys.keys.is_empty() {
            keys.keys.push(Arc::new(make(directory, 1)?));
            keys.made = true;
        }
        Ok(keys)
    }

    /// Reads the keys in a directory that has some.
    ///
    /// # Errors
    /// [`KeyError::Missing`] when it has none; see [`KeyError`].
    pub fn existing(directory: &Path) -> Result<Keys, KeyError> {
        let keys = Keys::read(directory)?;
        if keys.keys.is_empty() { Err(KeyError::Missing(directory.to_owned())) } else { Ok(keys) }
    }

    /// Makes a new key, which signs from the next start of the server on. Returns it.
    ///
    /// # Errors
    /// [`KeyError::Missing`] when there is none to follow; see [`KeyError`].
    pub fn rotate(directory: &Path) -> Result<PublicKey, KeyError> {
        let last = numbers(directory)?.pop().ok_or_else(|| KeyError::Missing(directory.to_owned()))?;
        make(directory, last + 1).map(|key| key.public())
    }

    fn read(directory: &Path) -> Result<Keys, KeyError> {
        let keys = numbers(directory)?.into_iter().map(|number| read(directory, number).map(Arc::new));
        Ok(Keys { keys: keys.collect::<Result<_, _>>()?, made: false })
    }

    /// The key that signs.
    #[must_use]
    pub fn signing(&self) -> &Arc<SigningKey> {
        self.keys.last().expect("opening makes the first key")
    }

    /// The private half of `public`, if it is here.
    #[must_use]
    pub fn find(&self, public: &PublicKey) -> Option<&Arc<SigningKey>> {
        self.keys.iter().find(|key| key.public() == *public)
    }

    /// Whether the signing key was made just now.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.made
    }
}

/// The numbers of the keys in a directory, in order; none if it is not there.
fn numbers(directory: &Path) -> Result<Vec<u32>, KeyError> {
    let io = |source| KeyError::Io { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(io(error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(io)?.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix("log-")?.strip_suffix(".key")?.parse::<u32>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn read(directory: &Path, number: u32) -> Result<SigningKey, KeyError> {
    let name = name(number);
    let seed = file::read(directory, &name, PURPOSE)?;
    SigningKey::from_seed(&seed).map_err(|_| KeyError::Damaged(directory.join(format!("{name}.key"))))
}

fn make(directory: &Path, number: u32) -> Result<SigningKey, KeyError> {
    let seed = file::make(directory, &name(number), PURPOSE)?;
    SigningKey::from_seed(&seed).map_err(|_| KeyError::Random)
}

fn name(number: u32) -> String {
    format!("log-{number}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_key_is_made_for_its_owner_only_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("keys");
        let made = Keys::open(&directory).unwrap();
        assert!(made.is_new());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join("log-1.key"))), (0o700, 0o600));
        let again = Keys::open(&directory).unwrap();
        assert!(!again.is_new());
        assert_eq!(again.signing().public(), made.signing().public());
    }

    #[test]
    fn a_new_key_signs_and_the_old_one_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let old = Keys::open(folder.path()).unwrap().signing().public();
        let new = Keys::rotate(folder.path()).unwrap();
        let keys = Keys::open(folder.path()).unwrap();
        assert_eq!(keys.signing().public(), new);
        assert!(old != new && keys.find(&old).is_some());
    }

    #[test]
    fn a_directory_without_a_key_gets_none_unless_the_first_is_to_be_made() {
        let folder = tempfile::tempdir().unwrap();
        for directory in [folder.path().to_owned(), folder.path().join("typo")] {
            assert!(matches!(Keys::rotate(&directory), Err(KeyError::Missing(_))));
            assert!(matches!(Keys::existing(&directory), Err(KeyError::Missing(_))));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        Keys::open(folder.path()).unwrap();
        assert!(Keys::existing(folder.path()).is_ok());
    }

    #[test]
    fn a_key_that_everybody_can_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Keys::open(folder.path()).unwrap();
        let file = folder.path().join("log-1.key");
        fs::set_permissions(&file, Permissions::from_mode(0o604)).unwrap();
        assert!(matches!(Keys::open(folder.path()), Err(KeyError::Exposed(_))));
        fs::write(&file, "stonetown log key 1\nAAAA\n").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(Keys::open(folder.path()), Err(KeyError::Damaged(_))));
    }
}
