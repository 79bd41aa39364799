//! Reads a schema and what it imports, each file once.

use std::collections::HashMap;

use crate::compile::ResolveImport;
use crate::error::{Place, Reports, SourceFile};
use crate::limits::{FILES_MAX, NESTING_MAX, SCHEMA_BYTES_MAX};
use crate::parser;
use crate::syntax::{File, Import};

/// All files of a compilation, the schema itself first.
pub(crate) struct Sources {
    pub(crate) files: Vec<SourceFile>,
    pub(crate) trees: Vec<File>,
    /// Each import that could be resolved, and the number of the file.
    pub(crate) imported: Vec<(Place, usize)>,
}

pub(crate) fn load(source: &str, resolve: Option<ResolveImport<'_>>, reports: &mut Reports) -> Sources {
    let files = vec![SourceFile { path: None, text: source.to_owned() }];
    let mut loader = Loader {
        resolve,
        reports,
        sources: Sources { files, trees: Vec::new(), imported: Vec::new() },
        seen: HashMap::new(),
        open: Vec::new(),
        bytes: source.len(),
    };
    loader.read(0, "");
    loader.sources
}

struct Loader<'a, 'r> {
    resolve: Option<ResolveImport<'a>>,
    reports: &'r mut Reports,
    sources: Sources,
    /// The paths met so far, with the number of the file where there is one.
    seen: HashMap<String, Option<usize>>,
    /// The files that led to the one being read.
    open: Vec<String>,
    bytes: usize,
}

impl Loader<'_, '_> {
    /// Parses a file and reads what it imports. `folder` is empty or ends in `/`. Recursion is bounded by the length
    /// of `open`.
    fn read(&mut self, file: usize, folder: &str) {
        let mut tree = parser::parse(&self.sources.files[file].text, file as u32, self.reports);
        let imports = std::mem::take(&mut tree.imports);
        self.sources.trees.push(tree);
        for import in imports {
            if let Err(message) = self.import(&import, folder) {
                self.reports.at(import.path.at, message);
            }
        }
    }

    fn import(&mut self, import: &Import, folder: &str) -> Result<(), String> {
        let written = &*import.path.text;
        let path = format!("{folder}{}", local_path(written)?);
        if self.open.contains(&path) {
            return Err(format!("`{written}` imports itself: {} -> {path}", self.open.join(" -> ")));
        }
        if let Some(file) = self.seen.get(&path) {
            self.sources.imported.extend(file.map(|file| (import.path.at, file)));
            return Ok(());
        }
        self.seen.insert(path.clone(), None);
        let resolve = self.resolve.ok_or_else(|| {
            format!("`{written}` cannot be imported here; fold the imports into one schema before it is written")
        })?;
        if self.seen.len() > FILES_MAX {
            return Err(format!("more than {FILES_MAX} files are imported"));
        }
        if self.open.len() >= NESTING_MAX {
            return Err(format!("imports are nested more than {NESTING_MAX} deep"));
        }
        let text = resolve(&path).map_err(|reason| format!("`{written}` cannot be imported: {reason}"))?;
        self.bytes = self.bytes.saturating_add(text.len());
        if self.bytes > SCHEMA_BYTES_MAX {
            return Err(format!("the schema and its imports have more than {SCHEMA_BYTES_MAX} bytes"));
        }
        let folder = &path[..path.rfind('/').map_or(0, |slash| slash + 1)];
        let file = self.sources.files.len();
        self.sources.files.push(SourceFile { path: Some(path.clone()), text });
        self.sources.imported.push((import.path.at, file));
        self.seen.insert(path.clone(), Some(file));
        self.open.push(path.clone());
        self.read(file, folder);
        self.open.pop();
        Ok(())
    }
}

/// The path without `.` and empty parts, if it stays within its folder.
fn local_path(path: &str) -> Result<String, String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let leaves = path.starts_with('/') || path.contains(['\\', ':', '\0']) || parts.contains(&"..");
    if leaves || parts.is_empty() {
        return Err(format!("`{path}` is not the path of a file below the folder of the file that imports it"));
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests;
