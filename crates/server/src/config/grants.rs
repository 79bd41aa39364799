//! Who is told of grants.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use crate::outbound::{PlaceError, place};

/// Webhooks at a time.
const WEBHOOKS_MAX: usize = 16;

/// Settings of grants.
#[derive(Debug, Clone, Args)]
pub struct GrantsConfig {
    /// URL that is told what becomes of grants, signed. Repeat the flag, or separate them by commas, for several.
    #[arg(long, env = "STONETOWN_GRANT_WEBHOOK", value_name = "URL", value_delimiter = ',')]
    pub grant_webhook: Vec<WebhookUrl>,

    /// File with the secret that messages to webhooks are signed with: `whsec_` and 24 to 64 bytes in base64. Several, one a line,
    /// sign each message while one takes the place of another.
    #[arg(long, env = "STONETOWN_GRANT_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub grant_webhook_secret_file: Option<PathBuf>,

    /// Whether webhooks may be at addresses that are not of the public internet: in one's own network.
    #[arg(long, env = "STONETOWN_GRANT_WEBHOOK_ALLOW_PRIVATE_ADDRESSES")]
    pub grant_webhook_allow_private_addresses: bool,
}

/// Where a webhook is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookUrl(String);

impl WebhookUrl {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for WebhookUrl {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        // Whether it is in one's own network is seen with the other settings.
        place(text, true).map(|_| WebhookUrl(text.to_owned()))
    }
}

impl GrantsConfig {
    /// Tests what no single setting can be tested for.
    pub(super) fn check(&self, read_only: bool) -> Result<(), String> {
        if self.grant_webhook.is_empty() {
            return Ok(());
        }
        if self.grant_webhook.len() > WEBHOOKS_MAX {
            return Err(format!("`grant-webhook` names {} URLs, more than {WEBHOOKS_MAX}", self.grant_webhook.len()));
        }
        if self.grant_webhook_secret_file.is_none() {
            return Err(
                "`grant-webhook` needs `grant-webhook-secret-file`: what nobody signed, anybody could send".to_owned()
            );
        }
        if read_only {
            return Err("`grant-webhook` is of no use with `datastore-readonly`, as grants do not change".to_owned());
        }
        for (at, url) in self.grant_webhook.iter().enumerate() {
            if self.grant_webhook[..at].contains(url) {
                return Err(format!("`grant-webhook` has a URL twice: the {}. one", at + 1));
            }
            place(url.as_str(), self.grant_webhook_allow_private_addresses).map_err(|why| {
                format!("the {}. `grant-webhook`: {why} (`grant-webhook-allow-private-addresses`)", at + 1)
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with(urls: &[&str]) -> GrantsConfig {
        GrantsConfig {
            grant_webhook: urls.iter().map(|url| url.parse().unwrap()).collect(),
            grant_webhook_secret_file: Some("secret".into()),
            grant_webhook_allow_private_addresses: false,
        }
    }

    #[test]
    fn webhooks_are_few_distinct_signed_and_in_public_places() {
        assert_eq!(with(&["https://hooks.example.com/grants", "https://8.8.8.8/"]).check(false), Ok(()));
        let many: Vec<_> = (0..=WEBHOOKS_MAX).map(|number| format!("https://{number}.example.com/")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(with(&many[1..]).check(false), Ok(()));
        for (config, why) in [
            (with(&many), "more than 16"),
            (
                with(&["https://a.example.com/", "https://b.example.com/", "https://a.example.com/"]),
                "twice: the 3. one",
            ),
            (with(&["https://a.example.com/", "https://169.254.169.254/"]), "the 2. `grant-webhook`"),
            (with(&["https://[::ffff:127.0.0.1]/"]), "not public"),
            (with(&["http://127.0.0.1:8080/"]), "not public"),
            (GrantsConfig { grant_webhook_secret_file: None, ..with(&many[1..]) }, "nobody signed"),
        ] {
            let refusal = config.check(false).unwrap_err();
            assert!(refusal.contains(why), "{refusal}");
        }
        let allowed = GrantsConfig { grant_webhook_allow_private_addresses: true, ..with(&["http://127.0.0.1:8080/"]) };
        assert_eq!(allowed.check(false), Ok(()));
        assert!(allowed.check(true).unwrap_err().contains("read"));
        for text in
            ["hooks.example.com", "http://hooks.example.com/", "ftp://8.8.8.8/", "https://u:p@hooks.example.com/"]
        {
            assert!(text.parse::<WebhookUrl>().is_err(), "{text}");
        }
    }
}
