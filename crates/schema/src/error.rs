//! What is wrong with a schema, and where.

use std::fmt;

use crate::limits::{ERRORS_MAX, EXCERPT_CHARACTERS_MAX, MESSAGE_CHARACTERS_MAX};

/// A part of a text. Lines and columns count from 0, columns in characters; offsets are in bytes. The end is exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// Line of the first character.
    pub start_line: usize,
    /// Column of the first character.
    pub start_column: usize,
    /// Line of the end.
    pub end_line: usize,
    /// Column after the last character.
    pub end_column: usize,
    /// Byte offset of the first character.
    pub start_offset: usize,
    /// Byte offset after the last character.
    pub end_offset: usize,
}

impl Span {
    /// The line that it starts in, numbered, with carets below what it spans there. Of a long line only the part around the
    /// start, [`EXCERPT_CHARACTERS_MAX`] characters; nothing if `source` has no such line.
    #[must_use]
    pub fn excerpt(&self, source: &str) -> String {
        let Some(line) = source.lines().nth(self.start_line) else { return String::new() };
        let length = line.chars().count();
        let skipped = if length > EXCERPT_CHARACTERS_MAX {
            self.start_column.min(length).saturating_sub(EXCERPT_CHARACTERS_MAX / 2)
        } else {
            0
        };
        let shown = line.chars().skip(skipped).take(EXCERPT_CHARACTERS_MAX);
        // Carets stay below their characters only if tabs are as wide in both lines.
        let before = shown.clone().take(self.start_column.saturating_sub(skipped));
        let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let end = if self.end_line == self.start_line { self.end_column } else { length };
        let end = end.min(skipped + EXCERPT_CHARACTERS_MAX);
        let carets = "^".repeat(end.saturating_sub(self.start_column).max(1));
        let (margin, number) = (self.margin(), self.start_line + 1);
        format!("{margin} |\n{number} | {}\n{margin} | {indent}{carets}\n", shown.collect::<String>())
    }

    /// As wide as the number of the line.
    fn margin(&self) -> String {
        " ".repeat((self.start_line + 1).to_string().len())
    }
}

/// At which stage a schema was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaErrorKind {
    /// The text cannot be read: characters, syntax, names, doubled definitions, caveat expressions, imports, partials.
    /// `INVALID_ARGUMENT` on the wire.
    Parse,
    /// The text can be read, but what it says does not fit together. `FAILED_PRECONDITION` on the wire.
    Type,
}

/// One thing that is wrong with a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// The stage. All errors of one compilation are of the same kind, since types are checked only once all can be read.
    pub kind: SchemaErrorKind,
    /// The imported file that the error is in; `None` for the text that was compiled.
    pub file: Option<String>,
    /// Where.
    pub span: Span,
    /// What is wrong, in lower case, user input in backticks; cut to [`crate::MESSAGE_CHARACTERS_MAX`] characters.
    pub message: String,
    /// The offending text, cut likewise.
    pub source_code: String,
    /// The definition, partial or caveat that the error is in.
    pub definition: Option<String>,
    /// The relation or permission that the error is in.
    pub member: Option<String>,
    /// What would have been accepted, for errors of syntax.
    pub expected: Vec<&'static str>,
}

impl SchemaError {
    /// The error for people: position counted from 1, the line with carets below the offending part, and what was
    /// expected. `source` is the text that the error is in: the compiled one, or that of [`SchemaError::file`].
    #[must_use]
    pub fn render(&self, source: &str) -> String {
        let mut out = format!("{self}\n{}", self.span.excerpt(source));
        if !self.expected.is_empty() {
            out.push_str(&format!("{} = expected {}\n", self.span.margin(), self.expected.join(" or ")));
        }
        out
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        write!(f, "{}:{}: {}", self.span.start_line + 1, self.span.start_column + 1, self.message)
    }
}

impl std::error::Error for SchemaError {}

/// Bytes `start..end` of one of the files of a compilation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) file: u32,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Place {
    /// From the start of `self` to the end of `last`.
    pub(crate) fn to(self, last: Place) -> Place {
        Place { end: last.end, ..self }
    }
}

/// An error before its position has been worked out.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) at: Place,
    pub(crate) message: String,
    pub(crate) expected: Vec<&'static str>,
    pub(crate) definition: Option<String>,
    pub(crate) member: Option<String>,
}

/// Collects reports, up to [`ERRORS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Reports(Vec<Report>);

impl Reports {
    pub(crate) fn push(&mut self, report: Report) {
        if self.0.len() < ERRORS_MAX {
            let Report { message, definition, member, .. } = report;
            self.0.push(Report {
                message: cut(&message),
                definition: definition.as_deref().map(cut),
                member: member.as_deref().map(cut),
                ..report
            });
        }
    }

    /// Reports a problem that belongs to no definition.
    pub(crate) fn at(&mut self, at: Place, message: String) {
        self.push(Report { at, message, expected: Vec::new(), definition: None, member: None });
    }

    /// Reports a problem inside a definition or caveat, and perhaps one of its members.
    pub(crate) fn within(&mut self, at: Place, definition: &str, member: Option<&str>, message: String) {
        let (definition, member) = (Some(definition.to_owned()), member.map(str::to_owned));
        self.push(Report { at, message, expected: Vec::new(), definition, member });
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The errors in the order of the text.
    pub(crate) fn into_errors(mut self, kind: SchemaErrorKind, files: &[SourceFile]) -> Vec<SchemaError> {
        self.0.sort_by_key(|report| report.at);
        self.0.into_iter().map(|report| report.into_error(kind, files)).collect()
    }
}

impl Report {
    fn into_error(self, kind: SchemaErrorKind, files: &[SourceFile]) -> SchemaError {
        let file = files.get(self.at.file as usize);
        let text = file.map_or("", |file| file.text.as_str());
        let offending = text.get(self.at.start as usize..self.at.end as usize).unwrap_or("");
        SchemaError {
            kind,
            file: file.and_then(|file| file.path.clone()),
            span: file.map(|file| file.span(self.at)).unwrap_or_default(),
            message: self.message,
            source_code: cut(offending),
            definition: self.definition,
            member: self.member,
            expected: self.expected,
        }
    }
}

/// Names and paths are as long as the text lets them be; a message must not be.
fn cut(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARACTERS_MAX - 1) {
        Some((end, last)) if end + last.len_utf8() < text.len() => format!("{}…", &text[..end]),
        _ => text.to_owned(),
    }
}

/// One text of a compilation: the schema itself, or an import.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// The path by which it was imported; `None` for the schema itself.
    pub(crate) path: Option<String>,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn span(&self, at: Place) -> Span {
        let (start_offset, end_offset) = (at.start as usize, at.end as usize);
        let (start_line, start_column) = self.line_and_column(start_offset);
        let (end_line, end_column) = self.line_and_column(end_offset);
        Span { start_line, start_column, end_line, end_column, start_offset, end_offset }
    }

    fn line_and_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count();
        (line, before[line_start..].chars().count())
    }
}
