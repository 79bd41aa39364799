//! Why something is changed: flags of all commands that change something.

use clap::Args;
use stonetown_api::proto::stonetown::v1 as pb;
use tonic::Request;
use tonic::metadata::MetadataValue;

/// Why something is changed.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Why {
    /// Why, in words; kept with the change.
    #[arg(long, default_value = "", value_name = "TEXT", hide_default_value = true)]
    reason: String,
    /// Where it was asked for; kept with the change.
    #[arg(long, default_value = "", value_name = "ID", hide_default_value = true)]
    ticket: String,
}

impl Why {
    /// As messages of the product's own calls have it.
    pub(crate) fn into_wire(self) -> pb::Why {
        pb::Why { reason: self.reason, ticket: self.ticket }
    }

    /// A request that says so in its metadata, as calls that write relationships take it.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (text, name, binary) in [
            (&self.reason, "stonetown-reason", "stonetown-reason-bin"),
            (&self.ticket, "stonetown-ticket", "stonetown-ticket-bin"),
        ] {
            // What is read as one line of ASCII arrives as it is; anything else as bytes.
            let plain = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
            match text.parse() {
                _ if text.is_empty() => {}
                Ok(ascii) if plain && text.trim() == text => {
                    request.metadata_mut().insert(name, ascii);
                }
                _ => {
                    request.metadata_mut().insert_bin(binary, MetadataValue::from_bytes(text.as_bytes()));
                }
            }
        }
        request
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn any_text_arrives() {
        for reason in ["moved to another team", "Prüfung", " \t", "two\nlines", "é", "\u{7f}"] {
            let request = Why { reason: reason.to_owned(), ticket: String::new() }.request(());
            let metadata = request.metadata();
            let said = match metadata.get("stonetown-reason") {
                Some(plain) => plain.to_str().unwrap().to_owned(),
                None => {
                    let bytes = metadata.get_bin("stonetown-reason-bin").unwrap().to_bytes().unwrap();
                    String::from_utf8(bytes.to_vec()).unwrap()
                }
            };
            assert_eq!(said, reason);
            assert!(metadata.get("stonetown-ticket").is_none() && metadata.get_bin("stonetown-ticket-bin").is_none());
        }
    }
}
