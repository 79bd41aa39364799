//! What the commands print: text for people, JSON with `--json`.

use std::io::Write;

use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::schema::Refused;

/// How to print.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints one result: the text, or the value as one line of JSON.
    pub(crate) fn result(self, text: impl std::fmt::Display, value: impl FnOnce() -> Value) {
        if self.json {
            println!("{}", value());
        } else {
            println!("{text}");
        }
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
            complain(&format!("  ({}{reason})", status.code()));
        }
    }
}

/// Writes a line to standard error; where that fails the exit code has to do.
pub(crate) fn complain(line: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "{line}");
}

/// What happened, from the outside in; of a status only its text.
fn message(error: &anyhow::Error) -> String {
    let mut parts = Vec::new();
    for cause in error.chain() {
        match cause.downcast_ref::<Status>() {
            Some(status) => {
                parts.push(match hint(status) {
                    Some(hint) => format!("{}: {hint}", status.message()),
                    None => status.message().to_owned(),
                });
                break;
            }
            None => parts.push(cause.to_string()),
        }
    }
    parts.join(": ")
}

/// What to try.
fn hint(status: &Status) -> Option<&'static str> {
    let is_of_transport = std::error::Error::source(status).is_some();
    match status.code() {
        Code::PermissionDenied if status.message().contains("preshared key") => {
            Some("the server does not know this token; give another with --token, STONETOWN_TOKEN or a context")
        }
        Code::Unauthenticated => Some("the server wants a token; give one with --token, STONETOWN_TOKEN or a context"),
        Code::Unavailable | Code::Unknown if is_of_transport => Some(
            "the connection broke. If the server speaks TLS, give --certificate-path or leave --insecure out; if it does not, \
             give --insecure",
        ),
        _ => None,
    }
}
