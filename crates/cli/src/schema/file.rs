//! A schema in a file, with what it imports.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};
use stonetown_schema::{CompileOptions, SCHEMA_BYTES_MAX, Schema, SchemaError, Span, Warning, lint};

use super::{is_standard_input, read_text};

/// The text of a schema, where its imports are looked for, and those that were read so far.
pub(crate) struct SchemaFile {
    /// How messages call it.
    pub(crate) name: String,
    pub(crate) text: String,
    folder: PathBuf,
    imported: RefCell<BTreeMap<String, String>>,
}

impl SchemaFile {
    /// Reads a file, or standard input for `-`, whose imports are relative to the working directory.
    pub(crate) fn read(path: &Path) -> anyhow::Result<SchemaFile> {
        let folder = if is_standard_input(path) { None } else { path.parent() };
        let name = if is_standard_input(path) { "standard input".to_owned() } else { path.display().to_string() };
        Ok(SchemaFile::new(name, read_text(path)?, folder.unwrap_or(Path::new("")).to_owned()))
    }

    /// A text from elsewhere, whose imports are looked for in `folder`.
    pub(crate) fn new(name: String, text: String, folder: PathBuf) -> SchemaFile {
        SchemaFile { name, text, folder, imported: RefCell::default() }
    }

    pub(crate) fn compile(&self) -> Result<Schema, Refused> {
        self.with_imports(|options| Schema::compile(&self.text, options))
    }

    pub(crate) fn lint(&self) -> Result<Vec<Warning>, Refused> {
        self.with_imports(|options| lint(&self.text, options))
    }

    /// Whether something was imported.
    pub(crate) fn has_imports(&self) -> bool {
        !self.imported.borrow().is_empty()
    }

    /// The warning with its file, and the line it is about.
    pub(crate) fn render(&self, warning: &Warning) -> String {
        let file = warning.file.as_deref();
        self.named(file, self.with_text(file, |text| warning.render(text)))
    }

    fn with_imports<T>(
        &self,
        work: impl FnOnce(&CompileOptions<'_>) -> Result<T, Vec<SchemaError>>,
    ) -> Result<T, Refused> {
        let resolve = |path: &str| self.import(path);
        let options = CompileOptions { imports: Some(&resolve), ..CompileOptions::default() };
        work(&options).map_err(|errors| self.refused(&errors))
    }

    /// The path has no `..` and stays below the folder.
    fn import(&self, path: &str) -> Result<String, String> {
        let text = read_bounded(&self.folder.join(path)).map_err(|error| error.to_string())?;
        self.imported.borrow_mut().insert(path.to_owned(), text.clone());
        Ok(text)
    }

    pub(crate) fn refused(&self, errors: &[SchemaError]) -> Refused {
        let rendered = errors.iter().map(|error| {
            let file = error.file.as_deref();
            self.named(file, self.with_text(file, |text| error.render(text)))
        });
        let problems = errors.iter().map(|error| {
            let mut problem = self.place(error.file.as_deref(), &error.span);
            problem["message"] = json!(error.message);
            problem["definition"] = json!(error.definition);
            problem["member"] = json!(error.member);
            problem["expected"] = json!(error.expected);
            problem
        });
        Refused { name: self.name.clone(), rendered: rendered.collect(), problems: problems.collect() }
    }

    /// Where something is, as JSON; lines and columns from 1.
    pub(crate) fn place(&self, file: Option<&str>, span: &Span) -> Value {
        json!({
            "file": file.map_or_else(|| self.name.clone(), |file| self.folder.join(file).display().to_string()),
            "line": span.start_line + 1,
            "column": span.start_column + 1,
            "endLine": span.end_line + 1,
            "endColumn": span.end_column + 1,
        })
    }

    /// Messages name imported files only, and those by the path of their import.
    fn named(&self, file: Option<&str>, message: String) -> String {
        match file {
            None => format!("{}:{message}", self.name),
            Some(_) => format!("{}{message}", self.folder.join("").display()),
        }
    }

    fn with_text<T>(&self, file: Option<&str>, work: impl FnOnce(&str) -> T) -> T {
        match file {
            None => work(&self.text),
            Some(file) => work(self.imported.borrow().get(file).map_or("", String::as_str)),
        }
    }
}

/// A schema that does not compile: its errors for people and for programs.
#[derive(Debug)]
pub(crate) struct Refused {
    name: String,
    rendered: String,
    pub(crate) problems: Vec<Value>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the schema of {} does not compile\n{}", self.name, self.rendered.trim_end())
    }
}

impl std::error::Error for Refused {}

/// The text of a file that may be part of a schema. Never waits, as reading from a pipe might.
pub(crate) fn read_bounded(path: &Path) -> std::io::Result<String> {
    if !path.metadata()?.is_file() {
        return Err(std::io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    File::open(path)?.take(SCHEMA_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(std::io::Error::other(format!("it has more than {SCHEMA_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Replaces a file as a whole: it is never seen half written, whatever interrupts this.
pub(crate) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    // What a link points to is replaced, not the link.
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = target.file_name().with_context(|| format!("`{}` is no file", path.display()))?.to_owned();
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(".stonetown-new");
    let beside = target.with_file_name(beside);
    let written = || -> std::io::Result<()> {
        let mut file = File::create(&beside)?;
        if let Ok(old) = target.metadata() {
            file.set_permissions(old.permissions())?;
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &target)
    };
    written().inspect_err(|_| _ = std::fs::remove_file(&beside)).with_context(|| format!("`{}`", path.display()))
}
