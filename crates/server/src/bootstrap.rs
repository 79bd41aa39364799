//! What a store begins with: the schemas and relationships of validation files, all as one.

use std::path::{Path, PathBuf};

use stonetown_authorizer::validation::{ValidationError, ValidationFile, ValidationPart};
use stonetown_authorizer::{Authorizer, Call, Error};

use crate::ServeError;

/// Kept in a store from before the first commit of its files until after the last.
const LOADING: &str = "bootstrap";

/// Reads the files; `None` when none are given.
pub(crate) fn read(paths: &[PathBuf]) -> Result<Option<ValidationFile>, ServeError> {
    if paths.is_empty() {
        return Ok(None);
    }
    let mut parts = Vec::new();
    for path in paths {
        let part = std::fs::read_to_string(path)
            .map_err(|error| ValidationError::Form(error.to_string()))
            .and_then(|text| ValidationPart::parse(&text, &beside(path)));
        parts.push(part.map_err(|error| refused(std::slice::from_ref(path), error))?);
    }
    ValidationFile::join(parts).map(Some).map_err(|error| refused(paths, error))
}

/// Loads the files into a store without a schema, or into any where they may overwrite; leaves any other store alone. What was
/// begun and not ended, by a crash or because a relationship was refused, is begun again; the files may have changed by then.
///
/// # Errors
/// [`ServeError::Bootstrap`] when files are refused; [`ServeError::HalfLoaded`] when a load was not ended and there are no
/// files to do it with.
pub(crate) fn load(authorizer: &Authorizer, paths: &[PathBuf], overwrite: bool) -> Result<(), ServeError> {
    let call = Call::new("bootstrap");
    let store = call.store;
    let datastore = authorizer.datastore();
    let half_loaded = datastore.kept(store, LOADING)?.is_some();
    if paths.is_empty() {
        return if half_loaded { Err(ServeError::HalfLoaded) } else { Ok(()) };
    }
    match authorizer.read_schema(&call) {
        Ok(_) if !overwrite && !half_loaded => {
            tracing::info!("the store has a schema: the bootstrap files are left alone");
            return Ok(());
        }
        Ok(_) | Err(Error::NoSchema) => {}
        Err(error) => return Err(refused(paths, error.into())),
    }
    let Some(file) = read(paths)? else { return Ok(()) };
    // Schema and relationships are two commits, and no server answers between them: whoever starts next sees how far it got.
    let mark = |bytes| datastore.keep(store, LOADING, bytes).map_err(|error| refused(paths, Error::from(error).into()));
    mark(Some(Vec::new()))?;
    file.load_into(authorizer, &call).map_err(|error| refused(paths, error.into()))?;
    mark(None)?;
    tracing::info!(files = paths.len(), relationships = file.relationships.len(), "bootstrap files loaded");
    Ok(())
}

fn refused(paths: &[PathBuf], source: ValidationError) -> ServeError {
    let files: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    ServeError::Bootstrap { files: files.join(", "), source: Box::new(source) }
}

/// Reads files beside another.
fn beside(path: &Path) -> impl Fn(&str) -> Result<String, String> {
    let folder = path.parent().unwrap_or(path).to_owned();
    move |name| std::fs::read_to_string(folder.join(name)).map_err(|error| error.to_string())
}
