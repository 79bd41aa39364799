//! Who may call, and what with.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;

use super::Period;
use crate::outbound::place;

/// Issuers that are trusted at a time.
const ISSUERS_MAX: usize = 16;
/// The shortest time between two looks at the keys of an issuer.
const REFRESH_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Settings of principals and credentials.
#[derive(Debug, Clone, Args)]
pub struct IdentityConfig {
    /// Whether those who hold a preshared key get all powers of the default store back, and administer the server, if that was
    /// taken away from them. The way back in for who holds the machine.
    #[arg(long, env = "STONETOWN_REGAIN_CONTROL")]
    pub regain_control: bool,

    /// Longest time that a credential lasts.
    #[arg(long, env = "STONETOWN_CREDENTIAL_TTL_MAX", default_value = "24h", value_name = "TIME")]
    pub credential_ttl_max: Period,

    /// File that the credential of the first principal is written to, which only its owner can read. Not set: it is shown on
    /// standard output.
    #[arg(long, env = "STONETOWN_FIRST_CREDENTIAL_FILE", value_name = "FILE")]
    pub first_credential_file: Option<PathBuf>,

    /// Issuer of OpenID Connect whose tokens are accepted, and the audience that means this server, as
    /// `https://idp.example.com=stonetown`. Repeat the flag, or separate them by commas, for several.
    #[arg(long, env = "STONETOWN_OIDC_ISSUER", value_name = "URL=AUDIENCE", value_delimiter = ',')]
    pub oidc_issuer: Vec<AcceptedIssuer>,

    /// File with the keys of an issuer (a JSON Web Key Set), as `https://idp.example.com=keys.json`, instead of fetching them.
    /// Repeat the flag, or separate them by commas, for several.
    #[arg(long, env = "STONETOWN_OIDC_KEYS", value_name = "URL=FILE", value_delimiter = ',')]
    pub oidc_keys: Vec<IssuerKeys>,

    /// Time between two looks at the keys of an issuer.
    #[arg(long, env = "STONETOWN_OIDC_REFRESH_INTERVAL", default_value = "10m", value_name = "TIME")]
    pub oidc_refresh_interval: Period,

    /// Whether keys may be fetched from addresses that are not of the public internet: of issuers in one's own network.
    #[arg(long, env = "STONETOWN_OIDC_ALLOW_PRIVATE_ADDRESSES")]
    pub oidc_allow_private_addresses: bool,
}

/// An issuer, and an audience in its tokens that means this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedIssuer {
    /// The issuer, as its tokens have it.
    pub issuer: String,
    /// The audience.
    pub audience: String,
}

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerKeys {
    /// The issuer, as its tokens have it.
    pub issuer: String,
    /// The file.
    pub file: PathBuf,
}

impl FromStr for AcceptedIssuer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (issuer, audience) = issuer_and(text, "AUDIENCE")?;
        Ok(AcceptedIssuer { issuer, audience })
    }
}

impl FromStr for IssuerKeys {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (issuer, file) = issuer_and(text, "FILE")?;
        Ok(IssuerKeys { issuer, file: file.into() })
    }
}

/// An issuer and what follows it after the first `=`, which no issuer has in its name.
fn issuer_and(text: &str, what: &str) -> Result<(String, String), String> {
    let (issuer, rest) =
        text.split_once('=').filter(|(_, rest)| !rest.is_empty()).ok_or(format!("expected URL={what}"))?;
    // Whether it is in one's own network is seen when it is asked.
    place(issuer, true).map_err(|why| format!("the issuer cannot be asked: {why}"))?;
    if issuer.contains('?') {
        return Err("an issuer has no query".to_owned());
    }
    Ok((issuer.to_owned(), rest.to_owned()))
}

impl IdentityConfig {
    /// Tests what no single setting can be tested for.
    pub(super) fn check(&self) -> Result<(), String> {
        let mut issuers: Vec<_> = self.oidc_issuer.iter().map(|accepted| accepted.issuer.as_str()).collect();
        issuers.sort_unstable();
        issuers.dedup();
        if issuers.len() > ISSUERS_MAX {
            return Err(format!("`oidc-issuer` names {} issuers, more than {ISSUERS_MAX}", issuers.len()));
        }
        let mut with_keys = Vec::new();
        for IssuerKeys { issuer, .. } in &self.oidc_keys {
            if !issuers.contains(&issuer.as_str()) {
                return Err(format!("`oidc-keys` has keys of {issuer}, which `oidc-issuer` does not name"));
            }
            if with_keys.contains(&issuer) {
                return Err(format!("`oidc-keys` has two files for {issuer}"));
            }
            with_keys.push(issuer);
        }
        if self.oidc_refresh_interval.0 < REFRESH_INTERVAL_MIN {
            return Err("`oidc-refresh-interval` is shorter than a second".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_a_place_that_can_be_asked_and_comes_with_an_audience() {
        let accepted: AcceptedIssuer = "https://idp.example.com/realms/a=api://x=y".parse().unwrap();
        assert_eq!((&*accepted.issuer, &*accepted.audience), ("https://idp.example.com/realms/a", "api://x=y"));
        assert!("http://127.0.0.1:8080=here".parse::<AcceptedIssuer>().is_ok());
        for text in [
            "https://idp.example.com",
            "https://idp.example.com=",
            "=audience",
            "idp.example.com=audience",
            "http://idp.example.com=audience",
            "http://10.0.0.1=audience",
            "file:///etc/passwd=audience",
            "https://user:password@idp.example.com=audience",
            "https://idp.example.com/?query=audience",
            "https://idp.example.com/#fragment=audience",
        ] {
            assert!(text.parse::<AcceptedIssuer>().is_err(), "{text}");
        }
    }
}
