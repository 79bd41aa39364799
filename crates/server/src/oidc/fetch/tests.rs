#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::outbound::PlaceError;

const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// An issuer on this machine: what it answers, by path, and how often it was connected to.
struct Host {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl Host {
    /// `HERE` in an answer is the host's own URL.
    async fn serving(answers: &[(&'static str, &str, String)]) -> Host {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let whole = |(path, head, body): &(&'static str, &str, String)| {
            let body = body.replace("HERE", &url);
            let head = head.replace("HERE", &url);
            (*path, format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len()))
        };
        let answers: Vec<_> = answers.iter().map(whole).collect();
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut asked = vec![0; 4096];
                let length = stream.read(&mut asked).await.unwrap();
                let asked = String::from_utf8_lossy(&asked[..length]).into_owned();
                let path = asked.split(' ').nth(1).unwrap_or_default();
                let answer = answers.iter().find(|(known, _)| *known == path).map(|(_, answer)| answer.as_str());
                let answer = answer.unwrap_or("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Host { url, connections }
    }

    /// Of which the description and what lies at `/keys` are as given.
    async fn described(description: &str, head: &str, keys: &str) -> Host {
        Host::serving(&[(DISCOVERY, "200 OK", description.to_owned()), ("/keys", head, keys.to_owned())]).await
    }
}

const DESCRIPTION: &str = r#"{"issuer":"HERE","jwks_uri":"HERE/keys"}"#;

async fn fetched(host: &Host) -> Result<KeySet, String> {
    keys(&Outbound::new(true).unwrap(), &host.url).await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn keys_are_found_through_the_description_of_their_issuer() {
    let host = Host::described(DESCRIPTION, "200 OK", KEYS).await;
    assert_eq!(fetched(&host).await, Ok(KeySet::parse(KEYS.as_bytes()).unwrap()));
}

#[tokio::test]
async fn a_description_of_another_issuer_is_refused() {
    let other = r#"{"issuer":"https://idp.example.com","jwks_uri":"HERE/keys"}"#;
    let host = Host::described(other, "200 OK", KEYS).await;
    assert_eq!(fetched(&host).await.unwrap_err(), FetchError::OtherIssuer.to_string());
}

#[tokio::test]
async fn redirects_are_not_followed_and_long_answers_not_read() {
    let host = Host::described(DESCRIPTION, "302 Found\r\nLocation: HERE/elsewhere", "").await;
    assert_eq!(fetched(&host).await.unwrap_err(), "it answers 302 Found");
    assert_eq!(host.connections.load(Ordering::SeqCst), 2);

    let host = Host::described(DESCRIPTION, "200 OK", &" ".repeat(SET_BYTES_MAX + 1)).await;
    assert_eq!(fetched(&host).await.unwrap_err(), OutboundError::Large(SET_BYTES_MAX).to_string());
    let host = Host::described(&" ".repeat(DISCOVERY_BYTES_MAX + 1), "200 OK", KEYS).await;
    assert_eq!(fetched(&host).await.unwrap_err(), OutboundError::Large(DISCOVERY_BYTES_MAX).to_string());
}

#[tokio::test]
async fn neither_settings_nor_descriptions_lead_into_ones_own_network() {
    let host = Host::described(DESCRIPTION, "200 OK", KEYS).await;
    let guarded = Outbound::new(false).unwrap();
    assert!(matches!(
        keys(&guarded, &host.url).await,
        Err(FetchError::Outbound(OutboundError::Place(PlaceError::Private)))
    ));
    // By a name that leads here: seen when it is resolved, and nobody is connected to.
    let port = host.url.rsplit_once(':').unwrap().1;
    let refusal = keys(&guarded, &format!("https://localhost:{port}")).await.unwrap_err().to_string();
    assert!(refusal.contains(&PlaceError::Private.to_string()), "{refusal}");
    assert_eq!(host.connections.load(Ordering::SeqCst), 0);

    for place in ["http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "http://idp.example.com/keys"] {
        let description = format!(r#"{{"issuer":"HERE","jwks_uri":"{place}"}}"#);
        let host = Host::described(&description, "200 OK", KEYS).await;
        let refusal = fetched(&host).await.unwrap_err();
        assert!(
            refusal == PlaceError::Plain.to_string() || refusal == PlaceError::Form.to_string(),
            "{place}: {refusal}"
        );
    }
}
