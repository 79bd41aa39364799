//! Between file paths and the `file:` addresses of documents.

use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const SCHEME: &str = "file://";
/// What need not be escaped in a path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The path of a document; `None` for one that is no file here.
pub(crate) fn to_path(uri: &str) -> Option<PathBuf> {
    let rest = uri.strip_prefix(SCHEME)?;
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    let path = path.starts_with('/').then(|| percent_decode_str(path).decode_utf8().ok())??;
    Some(PathBuf::from(&*path))
}

/// The address of a file, spelt in our way; a client may spell it in another.
pub(crate) fn from_path(path: &Path) -> Option<String> {
    let path = path.to_str().filter(|path| path.starts_with('/'))?;
    Some(format!("{SCHEME}{}", utf8_percent_encode(path, ESCAPED)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn files_have_addresses() {
        for (path, uri) in
            [("/home/ann/schema.zed", "file:///home/ann/schema.zed"), ("/a b/ü#1.zed", "file:///a%20b/%C3%BC%231.zed")]
        {
            assert_eq!(from_path(Path::new(path)).unwrap(), uri);
            assert_eq!(to_path(uri).unwrap(), Path::new(path));
        }
        assert_eq!(to_path("file://localhost/a.zed").unwrap(), Path::new("/a.zed"));
        for other in ["untitled:Untitled-1", "https://example.com/a.zed", "file://example.com/a.zed", "file:///%ff", ""]
        {
            assert_eq!(to_path(other), None, "{other}");
        }
        assert_eq!(from_path(Path::new("a.zed")), None);
    }
}
