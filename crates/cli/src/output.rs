//! What the commands print: text for people, JSON with `--json`.

use serde_json::{Value, json};
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

    /// Prints why a command failed, with what the server says of the reason.
    pub(crate) fn error(self, error: &anyhow::Error) {
        let Some(status) = error.downcast_ref::<tonic::Status>() else {
            if self.json {
                let mut value = json!({ "message": format!("{error:#}") });
                if let Some(refused) = error.downcast_ref::<Refused>() {
                    value["problems"] = json!(refused.problems);
                }
                eprintln!("{}", json!({ "error": value }));
            } else {
                eprintln!("error: {error:#}");
            }
            return;
        };
        let info = status.get_details_error_info();
        let reason = info.as_ref().map_or("", |info| info.reason.as_str());
        if self.json {
            let metadata = info.as_ref().map(|info| &info.metadata);
            let code = format!("{:?}", status.code());
            let error = json!({ "code": code, "reason": reason, "message": status.message(), "metadata": metadata });
            eprintln!("{}", json!({ "error": error }));
            return;
        }
        eprintln!("error: {}", status.message());
        let reason = if reason.is_empty() { String::new() } else { format!(", {reason}") };
        eprintln!("  ({}{reason})", status.code());
    }
}
