//! A file of the key directory: one secret of 32 random bytes, readable by its owner only. Its first line says what for, so that
//! no key is taken for one of another purpose.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::{SecureRandom, SystemRandom};

use super::KeyError;

/// The secret in the file `PURPOSE.key` of a key directory, made if it is not there: for a key that nothing but its holder has
/// to know.
///
/// # Errors
/// See [`KeyError`].
pub fn secret(directory: &Path, purpose: &str) -> Result<[u8; 32], KeyError> {
    match read(directory, purpose, purpose) {
        Err(KeyError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => make(directory, purpose, purpose),
        read => read,
    }
}

/// Reads the file `NAME.key`.
pub(super) fn read(directory: &Path, name: &str, purpose: &str) -> Result<[u8; 32], KeyError> {
    let path = directory.join(format!("{name}.key"));
    let io = |source| KeyError::Io { path: path.clone(), source };
    let mode = fs::metadata(&path).map_err(io)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(KeyError::Exposed(path));
    }
    let text = fs::read_to_string(&path).map_err(io)?;
    let secret = text.strip_prefix(&first_line(purpose)).and_then(|secret| BASE64.decode(secret.trim()).ok());
    secret.and_then(|secret| secret.try_into().ok()).ok_or(KeyError::Damaged(path))
}

/// Makes a secret and its file; whole, for its owner only, or not at all.
pub(super) fn make(directory: &Path, name: &str, purpose: &str) -> Result<[u8; 32], KeyError> {
    let path = directory.join(format!("{name}.key"));
    let io = |source| KeyError::Io { path: path.clone(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
    let mut secret = [0; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| KeyError::Random)?;
    let new = directory.join(format!("{name}.new"));
    let text = format!("{}{}\n", first_line(purpose), BASE64.encode(secret));
    let written =
        File::options().create(true).truncate(true).write(true).mode(0o600).open(&new).and_then(|mut file| {
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    written.and_then(|()| fs::rename(&new, &path)).map_err(io)?;
    // The directory may be new itself: then its own name has to last, too.
    let directory = directory.canonicalize().map_err(io)?;
    for directory in directory.ancestors().take(2) {
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(io)?;
    }
    Ok(secret)
}

fn first_line(purpose: &str) -> String {
    format!("stonetown {purpose} key 1\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_for_its_owner_only_and_made_anew_where_it_was_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("keys");
        let made = secret(&directory, "cursor").unwrap();
        let file = directory.join("cursor.key");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(secret(&directory, "cursor").unwrap(), made);
        fs::remove_file(&file).unwrap();
        assert_ne!(secret(&directory, "cursor").unwrap(), made);
    }

    #[test]
    fn a_key_of_another_purpose_or_one_that_everybody_can_read_is_refused_and_left() {
        let folder = tempfile::tempdir().unwrap();
        secret(folder.path(), "cursor").unwrap();
        let file = folder.path().join("cursor.key");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("cursor", "log")).unwrap();
        assert!(matches!(secret(folder.path(), "cursor"), Err(KeyError::Damaged(_))));
        fs::write(&file, &text).unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o604)).unwrap();
        assert!(matches!(secret(folder.path(), "cursor"), Err(KeyError::Exposed(_))));
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}
