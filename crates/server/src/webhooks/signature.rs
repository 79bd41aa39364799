//! The signature of a message, as Standard Webhooks (v1) has it: HMAC-SHA256 over id, time and body.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac::{HMAC_SHA256, Key, sign};

/// Before a secret in text form.
const PREFIX: &str = "whsec_";
/// Bytes of a secret, at least and at most.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Secrets that a message is signed with at most.
const SECRETS_MAX: usize = 4;
/// Bytes of the file at most.
const FILE_BYTES_MAX: u64 = 4 << 10;

/// What messages are signed with.
pub(crate) struct Secrets(Vec<Key>);

/// Why a file holds no secrets. Says nothing of what it holds.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It cannot be read.
    #[error("`{0}`: {1}")]
    File(String, std::io::Error),
    /// It has another form.
    #[error("`{0}`: {1}")]
    Form(String, &'static str),
}

impl Secrets {
    /// Reads a file with one a line.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub(crate) fn read(path: &Path) -> Result<Secrets, SecretError> {
        let name = || path.display().to_string();
        let mut text = String::new();
        let file = File::open(path).map_err(|error| SecretError::File(name(), error))?;
        let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| SecretError::File(name(), error))?;
        Secrets::parse(&text).map_err(|why| SecretError::Form(name(), why))
    }

    fn parse(text: &str) -> Result<Secrets, &'static str> {
        let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        if lines.is_empty() || lines.len() > SECRETS_MAX {
            return Err("one to four secrets are expected, one a line");
        }
        let key = |line: &&str| {
            let secret = line.strip_prefix(PREFIX).and_then(|encoded| STANDARD.decode(encoded).ok());
            let secret = secret.filter(|secret| SECRET_BYTES.contains(&secret.len()));
            secret
                .map(|secret| Key::new(HMAC_SHA256, &secret))
                .ok_or("a secret is `whsec_` and 24 to 64 bytes in base64")
        };
        Ok(Secrets(lines.iter().map(key).collect::<Result<_, _>>()?))
    }

    /// The signatures of a message, by each secret.
    pub(crate) fn sign(&self, id: &str, second: i64, body: &str) -> String {
        let message = format!("{id}.{second}.{body}");
        let signatures = self.0.iter().map(|key| format!("v1,{}", STANDARD.encode(sign(key, message.as_bytes()))));
        signatures.collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_signed_as_others_verify_it() {
        // The example of the libraries of Standard Webhooks.
        let secrets = Secrets::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        let signed = secrets.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both = format!("whsec_{}\n\nwhsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", STANDARD.encode([7; 32]));
        let both = Secrets::parse(&both).unwrap().sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            r#"{"test": 2432232314}"#,
        );
        assert!(both.starts_with("v1,") && both.ends_with(&format!(" {signed}")), "{both}");
    }

    #[test]
    fn what_is_no_secret_is_refused_and_not_repeated() {
        let secret = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        assert!(Secrets::parse(&secret(24)).is_ok() && Secrets::parse(&secret(64)).is_ok());
        assert!(Secrets::parse(&vec![secret(32); SECRETS_MAX].join("\n")).is_ok());
        for text in [
            String::new(),
            "\n \n".to_owned(),
            secret(23),
            secret(65),
            secret(32).replace("whsec_", ""),
            "whsec_canary!".to_owned(),
            format!("{}\ncanary", secret(32)),
            vec![secret(32); SECRETS_MAX + 1].join("\n"),
        ] {
            let why = Secrets::parse(&text).err().unwrap();
            assert!(!why.contains("canary"), "{why}");
        }
    }
}
