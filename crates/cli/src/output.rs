//! What the commands print: text for people, JSON with `--json`.

use std::borrow::Cow;
use std::io::{ErrorKind, Write};

use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::schema::Refused;

/// The exit code when whoever read the output has left, as of a program that `SIGPIPE` ended.
const READER_LEFT: i32 = 141;

/// Prints a line, inert. The program ends here if nobody reads it, or it cannot be written.
pub(crate) fn line(text: impl std::fmt::Display) {
    verbatim(inert(&text.to_string()));
}

/// Prints a line as it is.
fn verbatim(text: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    // Flushed, so that what is piped on comes when it is said.
    let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) else { return };
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(READER_LEFT);
    }
    complain(&format!("error: standard output: {error}"));
    std::process::exit(1);
}

/// So many relationships.
pub(crate) fn relationships_text(count: u64) -> String {
    format!("{count} relationship{}", if count == 1 { "" } else { "s" })
}

/// How to print.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints one result: the text, or the value as one line of JSON.
    pub(crate) fn result(self, text: impl std::fmt::Display, value: impl FnOnce() -> Value) {
        if self.json { line(value()) } else { line(text) }
    }

    /// As [`Output::result`], for the text of a file, which is to stay as it is.
    pub(crate) fn file(self, text: &str, value: impl FnOnce() -> Value) {
        if self.json { line(value()) } else { verbatim(text) }
    }

    /// Prints why a command failed, with what the server says of the reason, and what to try where that is known.
    pub(crate) fn error(self, error: &anyhow::Error) {
        let status = error.downcast_ref::<Status>();
        let message = message(error);
        let info = status.and_then(Status::get_details_error_info);
        let reason = info.as_ref().map_or("", |info| info.reason.as_str());
        if self.json {
            let error = match status {
                None => match error.downcast_ref::<Refused>() {
                    Some(refused) => json!({ "message": message, "problems": refused.problems }),
                    None => json!({ "message": message }),
                },
                Some(status) => json!({
                    "code": format!("{:?}", status.code()),
                    "reason": reason,
                    "message": message,
                    "metadata": info.as_ref().map(|info| &info.metadata),
                }),
            };
            return complain(&json!({ "error": error }).to_string());
        }
        complain(&format!("error: {message}"));
        if let Some(status) = status {
            let reason = if reason.is_empty() { String::new() } else { format!(", {reason}") };
            complain(&format!("  ({:?}{reason})", status.code()));
        }
    }
}

/// Writes a line to standard error, inert; where that fails the exit code has to do.
pub(crate) fn complain(line: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "{}", inert(line));
}

/// The text without anything that a terminal would act on, but for the ends of lines and tabs: somebody else may have chosen it.
/// What is escaped is so in JSON's way, and stays the same text where it stands in JSON.
pub(crate) fn inert(text: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| acts(c) && c != '\n' && c != '\t';
    if !text.contains(is_escaped) {
        return Cow::Borrowed(text);
    }
    let escaped = |c: char| if is_escaped(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// The text on one line, without anything that a terminal would act on.
pub(crate) fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if acts(c) { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Whether a terminal does something else with a character than to show it: controls, and what turns the direction of text.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// What happened, from the outside in, each part once; of a status only its text, or what to try in its place.
fn message(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let status = cause.downcast_ref::<Status>();
        let part = match status {
            Some(status) => {
                // What begins a line is ours: a server's text can have somebody's in it.
                let text = status.message().replace('\n', "\n  ");
                match hint(status) {
                    Some(hint) if text.is_empty() => hint.to_owned(),
                    Some(hint) => format!("{text}: {hint}"),
                    None => text,
                }
            }
            None => cause.to_string(),
        };
        if !parts.iter().any(|said| said.contains(&part)) {
            parts.push(part);
        }
        if status.is_some() {
            break;
        }
    }
    parts.join(": ")
}

/// What to try.
fn hint(status: &Status) -> Option<&'static str> {
    let is_of_transport = std::error::Error::source(status).is_some();
    match status.code() {
        Code::PermissionDenied if status.message().contains("preshared key") => {
            Some("give another with --token, STONETOWN_TOKEN or a context")
        }
        Code::Unauthenticated => Some("give a token with --token, STONETOWN_TOKEN or a context"),
        Code::Unavailable | Code::Unknown if is_of_transport => Some(
            "the connection broke. If the server speaks TLS, give --certificate-path or leave --insecure out; if it does not, \
             give --insecure",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_that_somebody_else_chose_acts_on_a_terminal() {
        assert_eq!(super::inert("a\u{1b}[31m\tb\nc é\u{202e}\u{9b}"), "a\\u001b[31m\tb\nc é\\u202e\\u009b");
        assert_eq!(super::one_line("a\u{1b}[31mb\nc é\u{202e}"), r"a\u{1b}[31mb\nc é\u{202e}");
        let value = serde_json::json!({ "a\u{1b}": "\u{202e}\n\u{9b}é" });
        let text = value.to_string();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&super::inert(&text)).ok(), Some(value));
    }
}
