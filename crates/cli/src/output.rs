//! What the commands print: text for people, JSON with `--json`.

use std::io::{ErrorKind, Write};

use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::schema::Refused;

/// The exit code when whoever read the output has left, as of a program that `SIGPIPE` ended.
const READER_LEFT: i32 = 141;

/// Prints a line. The program ends here if nobody reads it, or it cannot be written.
pub(crate) fn line(text: impl std::fmt::Display) {
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

/// Writes a line to standard error; where that fails the exit code has to do.
pub(crate) fn complain(line: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "{line}");
}

/// What happened, from the outside in, each part once; of a status only its text, or what to try in its place.
fn message(error: &anyhow::Error) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let status = cause.downcast_ref::<Status>();
        let part = match status {
            Some(status) => match hint(status) {
                Some(hint) if status.message().is_empty() => hint.to_owned(),
                Some(hint) => format!("{}: {hint}", status.message()),
                None => status.message().to_owned(),
            },
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
