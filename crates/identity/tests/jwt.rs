//! Tokens of issuers: what is accepted, and everything that must not be.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA512,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};
use stonetown_authorizer::{Authorizer, Options};
use stonetown_identity::jwt::{Issuer, JwtError, KEYS_MAX, KeySet, KeysError, SET_BYTES_MAX, TOKEN_BYTES_MAX};
use stonetown_identity::manage::{Wanted, Why};
use stonetown_identity::principal::External;
use stonetown_identity::{Identity, PrincipalKind, Refusal, Start};
use stonetown_storage::MemoryDatastore;
use stonetown_tuple::Timestamp;

const ISSUER: &str = "https://idp.example.com";
/// Another issuer that the server accepts.
const OTHER: &str = "https://other.example.com";
const AUDIENCE: &str = "stonetown";
/// The time of all tests.
const NOW: i64 = 1_800_000_000;

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// An issuer's keys: one RSA, one of a curve, one of Edwards'.
struct Keys {
    rsa: RsaKeyPair,
    curve: EcdsaKeyPair,
    edwards: Ed25519KeyPair,
}

impl Keys {
    fn new() -> Keys {
        let random = SystemRandom::new();
        // A key of this test: making one takes longer than all of it.
        let rsa: String = include_str!("jwt/rsa.base64").split_whitespace().collect();
        let curve = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let edwards = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Keys {
            rsa: RsaKeyPair::from_pkcs8(&STANDARD.decode(rsa).unwrap()).unwrap(),
            curve: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, curve.as_ref(), &random).unwrap(),
            edwards: Ed25519KeyPair::from_pkcs8(edwards.as_ref()).unwrap(),
        }
    }

    fn published(&self) -> Value {
        let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        let point = self.curve.public_key().as_ref();
        json!({ "keys": [
            { "kty": "RSA", "kid": "rsa", "use": "sig", "n": text(n), "e": text(e) },
            { "kty": "EC", "crv": "P-256", "kid": "curve", "alg": "ES256", "x": text(&point[1..33]), "y": text(&point[33..]) },
            { "kty": "OKP", "crv": "Ed25519", "kid": "edwards", "x": text(self.edwards.public_key()) },
            // Of kinds that prove nothing here.
            { "kty": "oct", "kid": "shared", "k": text("shared secret") },
            { "kty": "RSA", "kid": "sealing", "use": "enc", "n": text("n"), "e": text("e") },
            { "kty": "unheard-of", "kid": "new" },
        ] })
    }

    fn set(&self) -> KeySet {
        KeySet::parse(self.published().to_string().as_bytes()).unwrap()
    }

    fn issuer(&self) -> Issuer {
        let issuer = Issuer::new(ISSUER, vec![AUDIENCE.to_owned()]);
        issuer.set_keys(self.set());
        issuer
    }

    /// A token with this header and these claims, as they are written, signed as `alg` says with the key of that kind.
    fn signed(&self, header: &str, claims: &str) -> String {
        let alg: Value = serde_json::from_str(header).unwrap_or_default();
        let message = format!("{}.{}", text(header), text(claims));
        let random = SystemRandom::new();
        let rsa = |how| {
            let mut made = vec![0; self.rsa.public().modulus_len()];
            self.rsa.sign(how, &random, message.as_bytes(), &mut made).unwrap();
            made
        };
        let made = match alg["alg"].as_str().unwrap_or_default() {
            "PS512" => rsa(&RSA_PSS_SHA512),
            "ES256" => self.curve.sign(&random, message.as_bytes()).unwrap().as_ref().to_vec(),
            "EdDSA" => self.edwards.sign(message.as_bytes()).as_ref().to_vec(),
            "none" => Vec::new(),
            _ => rsa(&RSA_PKCS1_SHA256),
        };
        format!("{message}.{}", text(made))
    }

    fn token(&self, claims: &Value) -> String {
        self.signed(r#"{"alg":"ES256","kid":"curve","typ":"JWT"}"#, &claims.to_string())
    }
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "build-7", "aud": AUDIENCE, "exp": NOW + 300, "iat": NOW, "act": { "sub": "agent:7" } })
}

/// The claims with one of them replaced, or taken away.
fn but(name: &str, value: Option<Value>) -> Value {
    let mut claims = claims();
    match value {
        Some(value) => claims[name] = value,
        None => drop(claims.as_object_mut().unwrap().remove(name)),
    }
    claims
}

#[test]
fn tokens_of_each_accepted_kind_are_proved_and_their_claims_handed_on() {
    let keys = Keys::new();
    let issuer = keys.issuer();
    for header in [
        r#"{"alg":"RS256","kid":"rsa"}"#,
        r#"{"alg":"PS512","kid":"rsa","typ":"at+jwt"}"#,
        r#"{"alg":"ES256","kid":"curve","typ":"JWT"}"#,
        r#"{"alg":"EdDSA","kid":"edwards","typ":"application/at+jwt"}"#,
        // The only key of its kind need not be named.
        r#"{"alg":"ES256"}"#,
    ] {
        let verified = issuer.verify(&keys.signed(header, &claims().to_string()), at(NOW)).unwrap();
        assert_eq!(verified.subject, "build-7", "{header}");
        assert_eq!(verified.claims["act"]["sub"], "agent:7");
    }
    let several = but("aud", Some(json!(["elsewhere", AUDIENCE])));
    assert!(issuer.verify(&keys.token(&several), at(NOW)).is_ok());
}

#[test]
fn what_is_signed_otherwise_than_its_key_is_for_is_refused() {
    let (keys, claims) = (Keys::new(), claims().to_string());
    let issuer = keys.issuer();
    let refused = |token: &str, what: &str| match issuer.verify(token, at(NOW)) {
        Err(JwtError::Unknown | JwtError::UnknownKey) => {}
        other => panic!("{what}: {other:?}"),
    };
    // A shared secret that everybody knows: the public key, in each of the forms that it could be taken in.
    let n = text(RsaPublicKeyComponents::<Vec<u8>>::from(keys.rsa.public()).n);
    for secret in [keys.rsa.public().as_ref(), n.as_bytes(), keys.curve.public_key().as_ref(), b"shared secret", b""] {
        for kid in ["rsa", "curve", "shared"] {
            let message = format!("{}.{}", text(format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#)), text(&claims));
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
            let made = ring::hmac::sign(&key, message.as_bytes());
            refused(&format!("{message}.{}", text(made)), kid);
        }
    }
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"none","kid":"rsa"}"#,
        r#"{"alg":"None","kid":"rsa"}"#,
        r#"{"kid":"rsa"}"#,
        // Of another kind than the key, and of another than the key says.
        r#"{"alg":"RS256","kid":"curve"}"#,
        r#"{"alg":"ES256","kid":"rsa"}"#,
        r#"{"alg":"EdDSA","kid":"curve"}"#,
        r#"{"alg":"ES384","kid":"curve"}"#,
        r#"{"alg":"ES512","kid":"curve"}"#,
        // Signed otherwise than it says.
        r#"{"alg":"RS384","kid":"rsa"}"#,
        r#"{"alg":"PS256","kid":"rsa"}"#,
        // Keys that are not the issuer's, and places to fetch some from.
        r#"{"alg":"ES256","kid":"../../etc/passwd"}"#,
        r#"{"alg":"ES256","kid":"' OR 1=1 --"}"#,
        r#"{"alg":"ES256","kid":""}"#,
        r#"{"alg":"ES256","kid":"other","jku":"https://evil.example.com/keys"}"#,
        r#"{"alg":"RS256","kid":"sealing"}"#,
        // What would have to be understood, and what is no token of a caller.
        r#"{"alg":"ES256","kid":"curve","crit":["exp"]}"#,
        r#"{"alg":"ES256","kid":"curve","crit":["b64"],"b64":false}"#,
        r#"{"alg":"ES256","kid":"curve","crit":[]}"#,
        r#"{"alg":"ES256","kid":"curve","typ":"dpop+jwt"}"#,
        r#"{"alg":"ES256","kid":"curve","typ":"logout+jwt"}"#,
        // Two answers to one question.
        r#"{"alg":"none","alg":"ES256","kid":"curve"}"#,
        r#"{"alg":"ES256","kid":"curve","kid":"rsa"}"#,
        "[]",
    ] {
        refused(&keys.signed(header, &claims), header);
    }
    // A key that the token brings with it.
    let stranger = Keys::new();
    let brought = stranger.published()["keys"][1].clone();
    let header = json!({ "alg": "ES256", "kid": "curve", "jwk": brought }).to_string();
    refused(&stranger.signed(&header, &claims), "a key of its own");
    refused(&stranger.token(&self::claims()), "another's key");

    let good = keys.token(&self::claims());
    let [header, body, made] = [0, 1, 2].map(|part| good.split('.').nth(part).unwrap());
    refused(&format!("{header}.{body}."), "no signature");
    refused(&format!("{header}.{body}"), "two parts");
    refused(&format!("{good}.{made}"), "four parts");
    refused(&format!("{header}.{body}.{}", text([0; 64])), "zeros");
    refused(&format!("{header}.{}.{made}", text(but("sub", Some(json!("root"))).to_string())), "another body");
    refused(&format!("{header}.{body}=.{made}"), "padding");
    refused(&format!(" {good}"), "space");
    refused("", "nothing");
}

#[test]
fn claims_that_are_not_for_this_server_now_are_refused() {
    let keys = Keys::new();
    let issuer = keys.issuer();
    let number = |number: f64| Some(json!(number));
    for (what, claims) in [
        ("no issuer", but("iss", None)),
        ("another issuer", but("iss", Some(json!("https://idp.example.com.evil.example")))),
        ("another issuer, nearly", but("iss", Some(json!("https://idp.example.com/")))),
        ("issuers", but("iss", Some(json!([ISSUER])))),
        ("no audience", but("aud", None)),
        ("another audience", but("aud", Some(json!("elsewhere")))),
        ("more than the audience", but("aud", Some(json!("stonetown2")))),
        ("other audiences", but("aud", Some(json!(["elsewhere", "Stonetown"])))),
        ("no audiences", but("aud", Some(json!([])))),
        ("an audience that is none", but("aud", Some(json!({ "stonetown": true })))),
        ("null", but("aud", Some(Value::Null))),
        ("no subject", but("sub", None)),
        ("an empty subject", but("sub", Some(json!("")))),
        ("a long subject", but("sub", Some(json!("a".repeat(513))))),
        ("a number", but("sub", Some(json!(7)))),
        ("no end", but("exp", None)),
        ("an end in words", but("exp", Some(json!("never")))),
        ("no end at all", but("exp", Some(Value::Null))),
        ("an end beyond time", but("exp", number(1e300))),
        ("an end before time", but("exp", number(-1.0))),
        ("not yet", but("nbf", Some(json!(NOW + 31)))),
        ("not yet, in words", but("nbf", Some(json!("now")))),
        ("issued tomorrow", but("iat", Some(json!(NOW + 86_400)))),
    ] {
        assert_eq!(issuer.verify(&keys.token(&claims), at(NOW)).unwrap_err(), JwtError::Unknown, "{what}");
    }
    // Two readers would see two different things.
    let header = r#"{"alg":"ES256","kid":"curve"}"#;
    for name in ["iss", "sub", "aud", "exp", "iat", "act"] {
        let (whole, value) = (claims().to_string(), claims()[name].to_string());
        let twice = format!(r#"{{"{name}":{value},{}"#, &whole[1..]);
        assert_eq!(issuer.verify(&keys.signed(header, &twice), at(NOW)).unwrap_err(), JwtError::Unknown, "{name}");
    }
    for body in ["[]", "null", "{", ""] {
        assert_eq!(issuer.verify(&keys.signed(header, body), at(NOW)).unwrap_err(), JwtError::Unknown, "{body}");
    }
    let huge = keys.token(&but("padding", Some(json!("a".repeat(TOKEN_BYTES_MAX)))));
    assert_eq!(issuer.verify(&huge, at(NOW)).unwrap_err(), JwtError::Unknown);
}

/// A token that says to which key it is bound (RFC 7800, RFC 8705) proves nothing without that key, and what cannot be proved here
/// is not passed over.
#[test]
fn what_a_token_is_bound_to_is_never_passed_over() {
    let keys = Keys::new();
    let issuer = keys.issuer();
    assert_eq!(issuer.verify(&keys.token(&claims()), at(NOW)).unwrap().certificate, None);
    let bound = |confirmation: Value| issuer.verify(&keys.token(&but("cnf", Some(confirmation))), at(NOW));
    let thumbprint = text([7; 32]);
    assert_eq!(bound(json!({ "x5t#S256": thumbprint })).unwrap().certificate, Some([7; 32]));
    for other in [
        json!({ "jkt": thumbprint }),
        json!({ "jwk": keys.published()["keys"][1] }),
        json!({ "kid": "curve" }),
        json!({ "x5t#S256": thumbprint, "jkt": thumbprint }),
        json!({ "x5t": thumbprint }),
        json!({ "x5t#S256": text([7; 20]) }),
        json!({ "x5t#S256": STANDARD.encode([7; 32]) }),
        json!({ "x5t#S256": [7] }),
        json!({ "x5t#S256": null }),
        json!({}),
        json!([]),
        json!(thumbprint),
        Value::Null,
    ] {
        assert_eq!(bound(other.clone()).unwrap_err(), JwtError::Bound, "{other}");
    }
}

#[test]
fn a_token_ends_when_it_says_with_half_a_minute_for_clocks_that_differ() {
    let keys = Keys::new();
    let issuer = keys.issuer();
    let token = keys.token(&but("nbf", Some(json!(NOW + 30))));
    let verified = issuer.verify(&token, at(NOW)).unwrap();
    assert_eq!(verified.expires_at, at(NOW + 330));
    // Also where it was proved before.
    assert!(issuer.verify(&token, at(NOW + 329)).is_ok());
    assert_eq!(issuer.verify(&token, at(NOW + 330)).unwrap_err(), JwtError::Expired);
    assert_eq!(keys.issuer().verify(&token, at(NOW + 330)).unwrap_err(), JwtError::Expired);
}

#[test]
fn keys_are_replaced_and_what_only_a_former_one_proves_is_refused() {
    let (first, second) = (Keys::new(), Keys::new());
    let issuer = Issuer::new(ISSUER, vec![AUDIENCE.to_owned()]);
    let (old, new) = (first.token(&claims()), second.token(&claims()));
    assert_eq!(issuer.verify(&old, at(NOW)).unwrap_err(), JwtError::NoKeys);
    issuer.set_keys(first.set());
    assert!(issuer.verify(&old, at(NOW)).is_ok());
    assert_eq!(issuer.verify(&new, at(NOW)).unwrap_err(), JwtError::Unknown);
    issuer.set_keys(second.set());
    assert!(issuer.verify(&new, at(NOW)).is_ok());
    assert_eq!(issuer.verify(&old, at(NOW)).unwrap_err(), JwtError::Unknown);
    issuer.forget_keys();
    assert_eq!(issuer.verify(&new, at(NOW)).unwrap_err(), JwtError::NoKeys);
}

#[test]
fn a_set_of_keys_is_bounded_and_has_one_that_can_prove_something() {
    let parse = |keys: &Value| KeySet::parse(json!({ "keys": keys }).to_string().as_bytes());
    let one = Keys::new().published()["keys"][1].clone();
    assert!(parse(&json!(vec![one.clone(); KEYS_MAX])).is_ok());
    assert!(matches!(parse(&json!(vec![one.clone(); KEYS_MAX + 1])), Err(KeysError::Large)));
    let long = format!("{}{}", json!({ "keys": [one] }), " ".repeat(SET_BYTES_MAX));
    assert!(matches!(KeySet::parse(long.as_bytes()), Err(KeysError::Large)));
    assert!(KeySet::parse(&long.as_bytes()[..SET_BYTES_MAX]).is_ok());
    for useless in [
        json!([]),
        json!([{ "kty": "oct", "k": text("secret") }]),
        json!([{ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }]),
        json!([{ "kty": "RSA", "use": "enc", "n": "AQAB", "e": "AQAB" }]),
        json!([{ "kty": "RSA", "key_ops": ["encrypt"], "n": "AQAB", "e": "AQAB" }]),
        json!([{ "kty": "RSA", "n": "not base64!", "e": "AQAB" }]),
    ] {
        assert!(matches!(parse(&useless), Err(KeysError::Empty)), "{useless}");
    }
    assert!(matches!(KeySet::parse(b"<html>"), Err(KeysError::Form(_))));
}

/// A server that takes tokens of two issuers, each with a `build-7` and an `agent:7`.
fn server(keys: &Keys) -> Identity {
    let options = Options { wall_clock: Some(|| at(NOW)), ..Options::default() };
    let authorizer = Arc::new(Authorizer::open(Arc::new(MemoryDatastore::new()), options).unwrap());
    let (identity, _) = Identity::open(authorizer, Start { keys: 1, ..Start::default() }).unwrap();
    let other = Issuer::new(OTHER, vec![AUDIENCE.to_owned()]);
    let key = identity.by_key(1).unwrap();
    for (issuer, sort) in [(ISSUER, "own"), (OTHER, "other")] {
        for subject in ["build-7", "agent:7"] {
            let external = vec![External::Oidc { issuer: issuer.to_owned(), subject: subject.to_owned() }];
            let (kind, labels) = (PrincipalKind::Human, BTreeMap::new());
            let wanted = Wanted { kind, owner: None, labels, subjects: Vec::new(), external };
            let id = format!("{sort}-{}", subject.replace(':', "-"));
            identity.create_principal(&key, &id, wanted, &Why::default()).unwrap();
        }
    }
    identity.with_issuers(vec![Arc::new(keys.issuer()), Arc::new(other)])
}

#[test]
fn an_issuer_says_nothing_about_who_another_knows() {
    let keys = Keys::new();
    let identity = server(&keys);
    let caller = |act: Value| identity.by_jwt(&keys.token(&but("act", Some(act))), None);
    assert_eq!(&*caller(json!({ "sub": "agent:7" })).unwrap().name, "own-agent-7");
    assert_eq!(&*caller(json!({ "sub": "agent:7", "iss": ISSUER })).unwrap().name, "own-agent-7");
    for act in [
        json!({ "sub": "agent:7", "iss": OTHER }),
        json!({ "sub": "agent:7", "act": { "sub": "build-7", "iss": OTHER } }),
        json!({ "sub": "agent:7", "iss": OTHER, "act": { "sub": "build-7" } }),
    ] {
        let refused = caller(act.clone());
        assert!(matches!(refused, Err(Refusal::Jwt(JwtError::Unknown))), "{act}: {refused:?}");
    }
}

#[test]
fn who_acts_for_one_who_was_cut_off_does_not_go_on() {
    let keys = Keys::new();
    let identity = server(&keys);
    let key = identity.by_key(1).unwrap();
    let agent = identity.by_jwt(&keys.token(&claims()), None).unwrap();
    identity.still(&agent).unwrap();
    identity.quarantine(&key, "own-build-7", &Why::default()).unwrap();
    assert!(matches!(identity.still(&agent), Err(Refusal::Quarantined)));
    identity.release(&key, "own-build-7", &Why::default()).unwrap();
    identity.still(&agent).unwrap();
    identity.retire(&key, "own-build-7", false, &Why::default()).unwrap();
    assert!(matches!(identity.still(&agent), Err(Refusal::Retired)));
}
