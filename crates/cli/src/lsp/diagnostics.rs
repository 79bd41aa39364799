//! Errors and warnings of a schema.

use std::ops::Range;

use lsp_types::{Diagnostic, DiagnosticSeverity, NumberOrString};
use stonetown_schema::{CompileOptions, SchemaError, Warning, lint};

use super::View;

/// What is wrong or odd; an error of an import stands where it is imported.
pub(super) fn of(view: &View<'_>) -> Vec<Diagnostic> {
    if view.document.block().is_none() {
        return Vec::new();
    }
    let found = view
        .with_imports(|imports| lint(view.document.schema(), &CompileOptions { imports, ..CompileOptions::default() }));
    match found {
        Ok(warnings) => {
            warnings.iter().filter(|warning| warning.file.is_none()).map(|found| warning(view, found)).collect()
        }
        Err(errors) => {
            let outline = errors.iter().any(|error| error.file.is_some()).then(|| view.outline());
            let place = |file: &str| outline.as_ref().and_then(|outline| outline.import_of(file)).unwrap_or(0..0);
            errors.iter().map(|found| error(view, found, place)).collect()
        }
    }
}

fn error(view: &View<'_>, error: &SchemaError, import: impl Fn(&str) -> Range<usize>) -> Diagnostic {
    let (bytes, mut message) = match &error.file {
        None => (error.span.start_offset..error.span.end_offset, error.message.clone()),
        Some(file) => (import(file), error.to_string()),
    };
    if !error.expected.is_empty() && !error.message.starts_with("expected") {
        message.push_str(&format!("; expected {}", error.expected.join(" or ")));
    }
    diagnostic(view, bytes, DiagnosticSeverity::ERROR, message)
}

fn warning(view: &View<'_>, warning: &Warning) -> Diagnostic {
    let bytes = warning.span.start_offset..warning.span.end_offset;
    Diagnostic {
        code: Some(NumberOrString::String(warning.id.to_owned())),
        ..diagnostic(view, bytes, DiagnosticSeverity::WARNING, warning.message.clone())
    }
}

fn diagnostic(view: &View<'_>, bytes: Range<usize>, severity: DiagnosticSeverity, message: String) -> Diagnostic {
    Diagnostic {
        range: view.document.range(&bytes),
        severity: Some(severity),
        source: Some("stonetown".to_owned()),
        message,
        ..Diagnostic::default()
    }
}
