//! Whom a server lets in: holders of certificates, and of tokens of issuers. And that it keeps what it is told to itself.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Response;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, CertifiedKey, IsCa, KeyPair, SanType};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use stonetown_tests::answering::{Answering, Asked};
use stonetown_tests::certificates::localhost;
use stonetown_tests::home::{Home, err, out};
use stonetown_tests::http::ask_with_certificate;
use stonetown_tests::operated::{Operated, fails_to_serve};
use stonetown_tests::server::KEY;

const ISSUER: &str = "https://idp.example.com";
const TIMEOUT: Duration = Duration::from_secs(60);

/// A key of an issuer.
struct Signer(EcdsaKeyPair, &'static str);

impl Signer {
    fn new(id: &'static str) -> Signer {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Signer(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).unwrap(), id)
    }

    fn published(&self) -> String {
        let point = self.0.public_key().as_ref();
        let [x, y] = [&point[1..33], &point[33..]].map(|part| URL_SAFE_NO_PAD.encode(part));
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "kid": self.1, "x": x, "y": y }] }).to_string()
    }

    fn token(&self, issuer: &str, subject: &str, audience: &str) -> String {
        self.signed("ES256", &claims(issuer, subject, audience))
    }

    fn signed(&self, algorithm: &str, claims: &Value) -> String {
        let header = json!({ "alg": algorithm, "kid": self.1 }).to_string();
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims.to_string()));
        let made = self.0.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(made))
    }
}

/// What a good token says, for ten minutes.
fn claims(issuer: &str, subject: &str, audience: &str) -> Value {
    json!({ "iss": issuer, "sub": subject, "aud": audience, "exp": now() + 600 })
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What a command at a server said, and whether it succeeded.
async fn said(home: &Home, server: &Operated, token: &str, args: &[&str]) -> Result<String, String> {
    home.said(&server.grpc, token, args).await
}

async fn make_build(home: &Home, server: &Operated, name: &[&str]) {
    make(home, server, "build", name).await;
}

async fn make(home: &Home, server: &Operated, principal: &str, name: &[&str]) {
    let reason = ["--kind", "human", "--reason", "test"];
    said(home, server, KEY, &[&["principal", "create", principal], &reason[..], name].concat()).await.unwrap();
}

/// Waits until who calls with a token is let in.
async fn until_let_in(home: &Home, server: &Operated, token: &str) -> String {
    let waiting = async {
        loop {
            match said(home, server, token, &["whoami"]).await {
                Ok(who) => return who,
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    };
    tokio::time::timeout(TIMEOUT, waiting).await.expect("let in")
}

#[tokio::test]
async fn a_token_of_an_issuer_is_its_principal_and_its_keys_can_change() {
    let (home, first, second) = (Home::new(), Signer::new("first"), Signer::new("second"));
    let file = home.write("keys.json", &first.published());
    let (issuer, keys) = (format!("{ISSUER}=stonetown"), format!("{ISSUER}={file}"));
    let flags = ["--oidc-issuer", &issuer, "--oidc-keys", &keys, "--oidc-refresh-interval", "1s"];
    let server = Operated::start(&[&["--datastore-engine", "memory"], &flags[..]].concat()).await.unwrap();
    make_build(&home, &server, &["--oidc", &format!("{ISSUER}#repo:acme")]).await;

    let token = first.token(ISSUER, "repo:acme", "stonetown");
    let who = said(&home, &server, &token, &["whoami"]).await.unwrap();
    assert!(who.starts_with("build") && who.contains("proved by jwt"), "{who}");

    let good = claims(ISSUER, "repo:acme", "stonetown");
    let [mut over, mut early, mut long] = [good.clone(), good.clone(), good.clone()];
    over["exp"] = json!(now() - 60);
    early["nbf"] = json!(now() + 600);
    long["padding"] = json!("a".repeat(16 << 10));
    let later = second.token(ISSUER, "repo:acme", "stonetown");
    for (what, token, why) in [
        ("another subject", first.token(ISSUER, "repo:evil", "stonetown"), "unknown token"),
        ("another audience", first.token(ISSUER, "repo:acme", "elsewhere"), "unknown token"),
        ("another issuer", first.token("https://evil.example.com", "repo:acme", "stonetown"), "unknown token"),
        ("a key that is not known", later.clone(), "key is not known"),
        ("one that is over", first.signed("ES256", &over), "has expired"),
        ("one that is not yet", first.signed("ES256", &early), "unknown token"),
        ("a key of another kind", first.signed("RS256", &good), "key is not known"),
        ("no signature", first.signed("none", &good), "unknown token"),
        ("a shared secret", first.signed("HS256", &good), "key is not known"),
        ("too long", first.signed("ES256", &long), "unknown token"),
    ] {
        let refusal = said(&home, &server, &token, &["whoami"]).await.unwrap_err();
        assert!(refusal.contains(why), "{what}: {refusal}");
    }
    assert_eq!(server.metric("stonetown_log_ins_refused_total{reason=\"token_unknown\"}").await.unwrap(), 3.0);
    assert_eq!(server.metric("stonetown_log_ins_refused_total{reason=\"token_unknown_key\"}").await.unwrap(), 3.0);
    assert_eq!(server.metric("stonetown_log_ins_refused_total{reason=\"unknown\"}").await.unwrap(), 3.0);

    home.write("keys.json", "no keys");
    server.until("stonetown_oidc_key_refreshes_failed_total", |failed| failed >= 1.0).await.unwrap();
    assert!(said(&home, &server, &token, &["whoami"]).await.is_ok(), "the former keys go on");
    home.write("keys.json", &second.published());
    assert!(until_let_in(&home, &server, &later).await.starts_with("build"));
    assert!(said(&home, &server, &token, &["whoami"]).await.is_err(), "a key that was taken back");
    assert!(server.metric("stonetown_oidc_keys_age_seconds").await.unwrap() < 60.0);

    said(&home, &server, KEY, &["principal", "quarantine", "build", "--reason", "test"]).await.unwrap();
    assert!(said(&home, &server, &later, &["whoami"]).await.unwrap_err().contains("quarantined"));
    assert!(!server.log().unwrap().contains(&later), "a token in the log");
}

/// An issuer on this machine that publishes these keys.
async fn issuer(tls: Option<&CertifiedKey<KeyPair>>, keys: String) -> Answering {
    let answer = move |asked: Asked| {
        let description = json!({ "issuer": asked.url, "jwks_uri": format!("{}/keys", asked.url) }).to_string();
        Response::new(if asked.path == "/keys" { keys.clone() } else { description })
    };
    Answering::start(tls, answer).await.unwrap()
}

#[tokio::test]
async fn keys_are_fetched_and_without_them_a_server_starts_and_refuses() {
    let (home, signer) = (Home::new(), Signer::new("only"));
    let at = issuer(None, signer.published()).await;
    let issuer = &at.url;
    let token = signer.token(issuer, "repo:acme", "stonetown");
    let accepted = format!("{issuer}=stonetown");
    let flags = ["--datastore-engine", "memory", "--oidc-refresh-interval", "1s", "--oidc-issuer", &accepted];

    let server = Operated::start(&[&flags[..], &["--oidc-allow-private-addresses"]].concat()).await.unwrap();
    make_build(&home, &server, &["--oidc", &format!("{issuer}#repo:acme")]).await;
    assert!(until_let_in(&home, &server, &token).await.starts_with("build"));
    drop(server);

    // In its own network, and nobody said that it may be asked there.
    let server = Operated::start(&flags).await.unwrap();
    server.until("stonetown_oidc_key_refreshes_failed_total", |failed| failed >= 1.0).await.unwrap();
    let refusal = said(&home, &server, &token, &["whoami"]).await.unwrap_err();
    assert!(refusal.contains("not known yet"), "{refusal}");
    assert!(server.log().unwrap().contains("not public"), "{}", server.log().unwrap());
}

#[tokio::test]
async fn keys_come_from_whom_the_authorities_of_the_machine_vouch_for() {
    let (home, signer) = (Home::new(), Signer::new("only"));
    let (own, other) = (localhost().unwrap(), localhost().unwrap());
    let [trusted, wrong] =
        [("trusted", &own), ("wrong", &other)].map(|(name, pair)| home.write(name, &pair.cert.pem()));
    let at = issuer(Some(&own), signer.published()).await;
    let token = signer.token(&at.url, "repo:acme", "stonetown");
    let accepted = format!("{}=stonetown", at.url);
    let mut flags = vec!["--datastore-engine", "memory", "--oidc-allow-private-addresses"];
    flags.extend(["--oidc-refresh-interval", "1s", "--oidc-issuer", &accepted]);

    let server = Operated::start_in(&[("SSL_CERT_FILE", &trusted)], &flags).await.unwrap();
    make_build(&home, &server, &["--oidc", &format!("{}#repo:acme", at.url)]).await;
    assert!(until_let_in(&home, &server, &token).await.starts_with("build"));
    drop(server);

    let server = Operated::start_in(&[("SSL_CERT_FILE", &wrong)], &flags).await.unwrap();
    server.until("stonetown_oidc_key_refreshes_failed_total", |failed| failed >= 1.0).await.unwrap();
    assert!(said(&home, &server, &token, &["whoami"]).await.unwrap_err().contains("not known yet"));
    assert!(server.log().unwrap().contains("certificate"), "{}", server.log().unwrap());
}

/// Of a token about somebody for whom another acts (RFC 8693) the caller is who acts, and all whom it names have to be known.
#[tokio::test]
async fn of_a_token_in_which_another_acts_that_one_calls() {
    let (home, signer) = (Home::new(), Signer::new("only"));
    let file = home.write("keys.json", &signer.published());
    let (issuer, keys) = (format!("{ISSUER}=stonetown"), format!("{ISSUER}={file}"));
    let flags = ["--datastore-engine", "memory", "--oidc-issuer", &issuer, "--oidc-keys", &keys];
    let server = Operated::start(&flags).await.unwrap();
    make_build(&home, &server, &["--oidc", &format!("{ISSUER}#repo:acme")]).await;
    make(&home, &server, "fixer", &["--oidc", &format!("{ISSUER}#fixer")]).await;

    let token = |act: Value| {
        let mut claims = claims(ISSUER, "repo:acme", "stonetown");
        claims["act"] = act;
        signer.signed("ES256", &claims)
    };
    let who = said(&home, &server, &token(json!({ "sub": "fixer" })), &["whoami"]).await.unwrap();
    assert!(who.starts_with("fixer") && who.contains("proved by jwt"), "{who}");
    let who = said(&home, &server, &token(json!({ "sub": "fixer", "act": { "sub": "repo:acme" } })), &["whoami"]).await;
    assert!(who.unwrap().starts_with("fixer"), "the outermost is who acts now");
    for act in [
        json!({ "sub": "nobody" }),
        json!({ "sub": "fixer", "act": { "sub": "nobody" } }),
        json!({ "sub": "fixer", "iss": "https://evil.example.com" }),
        json!({ "iss": ISSUER }),
        json!({ "sub": ["fixer"] }),
        json!("fixer"),
        Value::Null,
    ] {
        let refusal = said(&home, &server, &token(act.clone()), &["whoami"]).await.unwrap_err();
        assert!(refusal.contains("unknown token"), "{act}: {refusal}");
    }
    said(&home, &server, KEY, &["principal", "quarantine", "build", "--reason", "test"]).await.unwrap();
    let refusal = said(&home, &server, &token(json!({ "sub": "fixer" })), &["whoami"]).await.unwrap_err();
    assert!(refusal.contains("quarantined"), "nobody acts for who is cut off: {refusal}");
}

#[tokio::test]
async fn a_certificate_is_its_principal_unless_a_token_says_otherwise() {
    let home = Home::new();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let made = |names: Vec<SanType>| {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &authority).unwrap().pem(), key.serialize_pem())
    };
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let uri = |name: &str| SanType::URI(name.try_into().unwrap());
    let own = made(vec![dns("localhost")]);
    let [ca, cert, key] =
        [("ca", authority.pem()), ("cert", own.0), ("key", own.1)].map(|(name, text)| home.write(name, &text));
    let mut flags = vec!["--datastore-engine", "memory", "--grpc-tls-client-ca-path", &ca];
    flags.extend(["--grpc-tls-cert-path", &cert, "--grpc-tls-key-path", &key]);
    let server = Operated::start(&flags).await.unwrap();

    let (home, server, authority) = (&home, &server, authority.pem());
    let endpoint = format!("localhost:{}", server.grpc.rsplit_once(':').unwrap().1);
    let run = async |(cert, key): &(String, String), token: Option<&str>, args: &[&str]| {
        let (cert, key) = (home.write("own-cert", cert), home.write("own-key", key));
        let tls = ["--certificate-path", &ca, "--client-cert-path", &cert, "--client-key-path", &key];
        let mut command = home.command(&[args, &tls[..], &["--endpoint", &endpoint, "--max-retries", "0"]].concat());
        if let Some(token) = token {
            command.env("STONETOWN_TOKEN", token);
        }
        let output = command.output().await.unwrap();
        if output.status.success() { Ok(out(&output)) } else { Err(err(&output)) }
    };
    let build = made(vec![uri("spiffe://example.org/build")]);
    let create = ["principal", "create", "build", "--kind", "human", "--spiffe", "spiffe://example.org/build"];
    run(&build, Some(KEY), &[&create[..], &["--dns", "build.example.org"]].concat()).await.unwrap();

    let who = run(&build, None, &["whoami"]).await.unwrap();
    assert!(who.starts_with("build") && who.contains("proved by certificate"), "{who}");
    let who = run(&made(vec![dns("Build.example.org")]), None, &["whoami"]).await.unwrap();
    assert!(who.starts_with("build"), "{who}");
    let who = run(&build, Some(KEY), &["whoami"]).await.unwrap();
    assert!(who.starts_with("key-1"), "an explicit key goes before: {who}");
    assert!(run(&build, Some("wrong"), &["whoami"]).await.is_err(), "a wrong key is not made up for");
    for names in [
        vec![uri("spiffe://example.org/other")],
        // With a SPIFFE id, that is the name.
        vec![uri("spiffe://example.org/other"), dns("build.example.org")],
        vec![uri("spiffe://example.org/build"), uri("https://example.org")],
        vec![dns("*.example.org")],
        vec![dns("localhost")],
    ] {
        let refusal = run(&made(names.clone()), None, &["whoami"]).await.unwrap_err();
        assert!(refusal.contains("names no principal"), "{names:?}: {refusal}");
    }
    assert_eq!(server.metric("stonetown_log_ins_refused_total{reason=\"unknown\"}").await.unwrap(), 6.0);

    // Over HTTP/JSON as well.
    let shown = Some((build.0.as_str(), build.1.as_str()));
    let path = "/stonetown/v1/principal/who-am-i";
    let answer = ask_with_certificate(&server.grpc, &authority, shown, "POST", path, &[], "{}").await.unwrap();
    let who: Value = answer.json().unwrap();
    assert_eq!((answer.code, &who["principal"]["id"]), (200, &json!("build")), "{who}");
}

/// A token that its issuer bound to a certificate (RFC 8705) lets in who shows that certificate, and is worth nothing to whoever has
/// copied it.
#[tokio::test]
async fn a_token_that_is_bound_counts_with_its_certificate_alone() {
    let (home, signer) = (Home::new(), Signer::new("only"));
    let file = home.write("keys.json", &signer.published());
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let made = |names: Vec<SanType>| {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &authority).unwrap();
        let sha256 = ring::digest::digest(&ring::digest::SHA256, made.der());
        (made.pem(), key.serialize_pem(), URL_SAFE_NO_PAD.encode(sha256))
    };
    let own = made(vec![SanType::DnsName("localhost".try_into().unwrap())]);
    let [ca, cert, key] =
        [("ca", authority.pem()), ("cert", own.0), ("key", own.1)].map(|(name, text)| home.write(name, &text));
    let (issuer, keys) = (format!("{ISSUER}=stonetown"), format!("{ISSUER}={file}"));
    let common = ["--datastore-engine", "memory", "--oidc-issuer", &issuer, "--oidc-keys", &keys];
    let tls = ["--grpc-tls-client-ca-path", &ca, "--grpc-tls-cert-path", &cert, "--grpc-tls-key-path", &key];
    let server = Operated::start(&[&common[..], &tls[..]].concat()).await.unwrap();

    let token = |confirmation: Option<Value>| {
        let mut claims = claims(ISSUER, "repo:acme", "stonetown");
        if let Some(confirmation) = confirmation {
            claims["cnf"] = confirmation;
        }
        signer.signed("ES256", &claims)
    };
    let (agent, thief) = (made(Vec::new()), made(Vec::new()));
    let authority = authority.pem();
    let call = async |shown: &(String, String, String), token: &str, path: &str, body: &str| {
        let bearer = format!("Bearer {token}");
        let shown = Some((shown.0.as_str(), shown.1.as_str()));
        let headers = [("authorization", bearer.as_str())];
        let answer = ask_with_certificate(&server.grpc, &authority, shown, "POST", path, &headers, body).await.unwrap();
        (answer.code, answer.body)
    };
    let name = json!({ "oidc": { "issuer": ISSUER, "subject": "repo:acme" } });
    let build = json!({ "id": "build", "kind": "PRINCIPAL_KIND_HUMAN", "externalIds": [name] });
    let create = json!({ "principal": build, "why": { "reason": "test" } }).to_string();
    let answer = call(&agent, KEY, "/stonetown/v1/principal/create-principal", &create).await;
    assert_eq!(answer.0, 200, "{answer:?}");

    let whoami = async |shown, token: &str| call(shown, token, "/stonetown/v1/principal/who-am-i", "{}").await;
    let bound = token(Some(json!({ "x5t#S256": agent.2 })));
    let answer = whoami(&agent, &bound).await;
    assert!(answer.0 == 200 && answer.1.contains("build"), "{answer:?}");
    // It was proved before, and is still worth nothing to another.
    let answer = whoami(&thief, &bound).await;
    assert!(answer.0 == 401 && answer.1.contains("bound to a key"), "{answer:?}");
    assert_eq!(whoami(&agent, &token(Some(json!({ "jkt": agent.2 })))).await.0, 401, "a key that nobody proves");
    assert_eq!(whoami(&thief, &token(None)).await.0, 200, "what is not bound is a bearer's");
    assert_eq!(server.metric("stonetown_log_ins_refused_total{reason=\"token_bound\"}").await.unwrap(), 2.0);
    drop(server);

    // Where no connection has a certificate, nobody shows one.
    let server = Operated::start(&common).await.unwrap();
    make_build(&home, &server, &["--oidc", &format!("{ISSUER}#repo:acme")]).await;
    assert!(said(&home, &server, &bound, &["whoami"]).await.unwrap_err().contains("bound to a key"));
    assert!(said(&home, &server, &token(None), &["whoami"]).await.is_ok());
}

#[tokio::test]
async fn secrets_in_settings_are_told_to_nobody() {
    const CANARY: &str = "canary-5d1f0a";
    let home = Home::new();
    // Good ones, wherever they come from.
    let file = home.write("config.yaml", &format!("grpc-preshared-key: [{CANARY}-file]\ndatastore-engine: memory\n"));
    let flagged = format!("{CANARY}-flag");
    for flags in [vec!["--datastore-engine", "memory", "--grpc-preshared-key", &flagged], vec!["--config", &file]] {
        let server = Operated::start(&[&flags[..], &["--log-calls", "all"]].concat()).await.unwrap();
        for token in [CANARY, &format!("stonetown_{CANARY}"), &format!("{CANARY}.{CANARY}.{CANARY}")] {
            let refusal = said(&home, &server, token, &["whoami"]).await.unwrap_err();
            assert!(!refusal.contains(CANARY), "{refusal}");
        }
        assert!(said(&home, &server, KEY, &["whoami"]).await.is_ok());
        assert!(!server.scrape().await.unwrap().contains(CANARY), "metrics");
        server.signal("TERM").unwrap();
        let ended = server.ended().await.unwrap();
        assert!(!ended.stderr.contains(CANARY), "{}", ended.stderr);
    }
    let shown = home.run(&["config", "--grpc-preshared-key", &flagged, "--config", &file]).await;
    assert!(!format!("{}{}", out(&shown), err(&shown)).contains(CANARY));
    // And bad ones.
    for (name, text) in [
        ("mapping", format!("grpc-preshared-key: {{ {CANARY}: {CANARY} }}\n")),
        ("nested", format!("grpc-preshared-key: [[{CANARY}], {{ a: {CANARY} }}]\n")),
        ("open", format!("grpc-preshared-key: [{CANARY}\n")),
        ("misspelled", format!("grpc-preshared-kee: {CANARY}\n")),
        ("elsewhere", format!("grpc-preshared-key: {CANARY}\ngrpc-addr: nowhere\n")),
        ("empty", format!("grpc-preshared-key: [\"\", {CANARY}]\n")),
    ] {
        let file = home.write(name, &text);
        let ended = fails_to_serve(&["--datastore-engine", "memory", "--config", &file]).await.unwrap();
        assert_ne!(ended.code, Some(0), "{name}");
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(CANARY), "{name}: {}", ended.stderr);
    }
    for flags in [
        vec!["--grpc-preshared-key", &flagged, "--grpc-addr", "nowhere"],
        vec!["--grpc-preshared-key", "", "--grpc-preshared-key", &flagged],
        vec!["--grpc-preshared-key", &flagged, "--oidc-keys", "https://idp.example.com=keys.json"],
    ] {
        let ended = fails_to_serve(&[&["--datastore-engine", "memory"], &flags[..]].concat()).await.unwrap();
        assert_ne!(ended.code, Some(0), "{flags:?}");
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(CANARY), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn issuers_that_cannot_be_trusted_are_an_error_at_the_start() {
    let home = Home::new();
    let bad = home.write("bad.json", r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#);
    let (issuer, none) = (format!("{ISSUER}=stonetown"), format!("{ISSUER}={}", home.path("none.json").display()));
    let bad = format!("{ISSUER}={bad}");
    for (flags, why) in [
        (vec!["--oidc-issuer", ISSUER], "expected URL=AUDIENCE"),
        (vec!["--oidc-issuer", "http://idp.example.com=stonetown"], "not https"),
        (vec!["--oidc-keys", &none], "`oidc-issuer` does not name"),
        (vec!["--oidc-issuer", &issuer, "--oidc-keys", &none], "No such file"),
        (vec!["--oidc-issuer", &issuer, "--oidc-keys", &bad], "no key for signatures"),
        (vec!["--oidc-issuer", &issuer, "--oidc-refresh-interval", "10ms"], "shorter than a second"),
    ] {
        let ended = fails_to_serve(&[&["--datastore-engine", "memory"], &flags[..]].concat()).await.unwrap();
        assert!(ended.code != Some(0) && ended.stderr.contains(why), "{flags:?}: {}", ended.stderr);
    }
}
