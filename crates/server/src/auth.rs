//! Who calls, fail closed: by a preshared key or one of the server's own credentials, compared in constant time, by the token of an
//! issuer, or by the certificate of the connection. A stream ends when who opened it is no longer let in.

mod guard;

use std::sync::Arc;

use http::{HeaderMap, Request, header::AUTHORIZATION};
use stonetown_api::Method;
use stonetown_audit::Recorder;
use stonetown_authorizer::{Caller, Notes};
use stonetown_identity::jwt::JwtError;
use stonetown_identity::{CertificateNames, DEFAULT_STORE, Identity, NO_STORE, Refusal, credential};
use stonetown_tuple::StoreId;
use subtle::{Choice, ConstantTimeEq};
use tonic::Status;

use crate::config::Secret;
use crate::metrics::Metrics;
use crate::oidc::Issuers;
pub(crate) use guard::Guard;

/// Paths that need no key: health and reflection.
const OPEN_PREFIXES: [&str; 3] =
    ["/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/", "/grpc.reflection.v1alpha.ServerReflection/"];

/// Names the store that a call is in.
const STORE: &str = "stonetown-store";
/// Nothing was shown that could prove anything.
const MISSING: &str = "missing";
/// The call names a store that its caller's credential is not for.
const OTHER_STORE: &str = "other_store";

/// Why callers are not let in, as metrics and the log have it.
pub(crate) fn reasons() -> impl Iterator<Item = &'static str> {
    Refusal::REASONS.into_iter().chain([MISSING, OTHER_STORE])
}

/// Whether a path needs no key.
pub(crate) fn is_open(path: &str) -> bool {
    OPEN_PREFIXES.iter().any(|prefix| path.starts_with(prefix))
}

/// Proves who calls.
#[derive(Clone)]
pub(crate) struct Authentication(Arc<Inner>);

struct Inner {
    keys: Vec<Secret>,
    /// `None` where the server keeps no principals: whoever holds a key may do everything.
    identity: Option<Arc<Identity>>,
    issuers: Issuers,
}

/// Puts the [`Caller`] into each request, or refuses it.
pub(crate) struct Auth {
    pub(crate) authentication: Authentication,
    /// Where refusals are recorded, if they are.
    pub(crate) recorder: Option<Arc<Recorder>>,
    pub(crate) metrics: Metrics,
}

/// A caller who is not let in.
struct Refused {
    status: Status,
    reason: &'static str,
}

impl Authentication {
    pub(crate) fn new(keys: Vec<Secret>, identity: Option<Arc<Identity>>, issuers: Issuers) -> Authentication {
        Authentication(Arc::new(Inner { keys, identity, issuers }))
    }

    /// The caller that the headers prove, or, where they say nothing of it, the certificate of the connection.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` when nothing is shown and with a token that has ended, `PERMISSION_DENIED` with an unknown one: clients
    /// tell the two apart.
    // A status is large, but it is what goes over the wire.
    #[allow(clippy::result_large_err)]
    fn authenticate(&self, headers: &HeaderMap, certificate: Option<&CertificateNames>) -> Result<Caller, Refused> {
        let missing = |why: &str| Refused { status: Status::unauthenticated(why), reason: MISSING };
        let nothing = || missing("missing preshared key: send `authorization: Bearer KEY`");
        let Some(value) = headers.get(AUTHORIZATION) else {
            let shown = certificate.zip(self.0.identity.as_ref()).ok_or_else(nothing)?;
            return self.by_certificate(shown);
        };
        let value = value.as_bytes();
        let is_bearer = value.len() >= 7 && value[..7].eq_ignore_ascii_case(b"bearer ");
        if !is_bearer {
            return Err(missing("invalid preshared key: expected the scheme `Bearer`"));
        }
        let token = value[7..].trim_ascii();
        if token.is_empty() {
            return Err(nothing());
        }
        let caller = match (self.key_of(token), &self.0.identity) {
            (Some(number), None) => Ok(Caller::named(&format!("key-{number}"))),
            (Some(number), Some(identity)) => identity.by_key(number),
            (None, Some(identity)) => match std::str::from_utf8(token) {
                Ok(text) if text.starts_with(credential::PREFIX) => identity.by_token(text),
                Ok(text) => identity.by_jwt(text, certificate),
                Err(_) => Err(Refusal::Unknown),
            },
            (None, None) => Err(Refusal::Unknown),
        };
        caller.map_err(|refusal| {
            if matches!(refusal, Refusal::Jwt(JwtError::UnknownKey)) {
                self.0.issuers.ask();
            }
            Refused { status: refused(&refusal), reason: refusal.reason() }
        })
    }

    #[allow(clippy::result_large_err)]
    fn by_certificate(&self, (names, identity): (&CertificateNames, &Arc<Identity>)) -> Result<Caller, Refused> {
        identity.by_certificate(names).map_err(|refusal| {
            let status = match refusal {
                // It got the client onto the port, and need not mean more than that.
                Refusal::Unknown => Status::unauthenticated(
                    "missing preshared key: send `authorization: Bearer KEY`, as the client's certificate names no principal",
                ),
                _ => refused(&refusal),
            };
            Refused { status, reason: refusal.reason() }
        })
    }

    /// The store that a call is in: the one that it names, or that its credential is for, or else the default one. A name that no
    /// store has leads to where nobody may do anything.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` for another store than the credential's, and for two names: who stands between may have added one of them.
    #[allow(clippy::result_large_err)]
    fn store(&self, headers: &HeaderMap, caller: &Caller) -> Result<StoreId, Refused> {
        let denied = |why: &str| Err(Refused { status: Status::permission_denied(why), reason: OTHER_STORE });
        let own = caller.proof.as_ref().and_then(|proof| proof.store.as_deref());
        let mut names = headers.get_all(STORE).iter();
        let named = names.next().map(|name| name.to_str().unwrap_or_default());
        if names.next().is_some() {
            return denied("the call names its store more than once");
        }
        if let (Some(named), Some(own)) = (named, own)
            && named != own
        {
            return denied(&format!("this credential is for store `{own}` alone"));
        }
        match (named.or(own), &self.0.identity) {
            (None, _) => Ok(StoreId::DEFAULT),
            (Some(name), Some(identity)) => Ok(identity.system().store_id(name).unwrap_or(NO_STORE)),
            (Some(DEFAULT_STORE), None) => Ok(StoreId::DEFAULT),
            (Some(_), None) => denied("this server keeps no other store than the default one"),
        }
    }

    /// The number of a preshared key, counted from 1. Callers are told apart by it, never by the key.
    fn key_of(&self, token: &[u8]) -> Option<usize> {
        // Every key is compared, so that the time does not tell which one was close.
        let mut found = None;
        for (at, key) in self.0.keys.iter().enumerate() {
            let equal: Choice = key.as_bytes().ct_eq(token);
            if equal.into() {
                found = Some(at + 1);
            }
        }
        found
    }

    /// What ends a call that lasts.
    fn guard(&self, method: &Method, caller: &Caller) -> Option<Guard> {
        let identity = self.0.identity.as_ref().filter(|_| method.lasts())?;
        Some(Guard::new(Arc::clone(identity), caller.clone()))
    }
}

/// A refusal as clients are told of it.
fn refused(refusal: &Refusal) -> Status {
    match refusal {
        Refusal::Unknown => Status::permission_denied("invalid preshared key: unknown token"),
        Refusal::Expired
        | Refusal::Revoked
        | Refusal::Jwt(JwtError::Expired | JwtError::UnknownKey | JwtError::Bound) => {
            Status::unauthenticated(refusal.to_string())
        }
        Refusal::Jwt(JwtError::Unknown) => Status::permission_denied(refusal.to_string()),
        Refusal::Jwt(JwtError::NoKeys) => Status::unavailable(refusal.to_string()),
        Refusal::Quarantined | Refusal::Retired => Status::permission_denied(refusal.to_string()),
        Refusal::Unavailable(error) => {
            tracing::error!(why = ?error, "it cannot be known who calls");
            Status::unavailable("it cannot be known who calls")
        }
    }
}

impl Auth {
    /// Lets a call in whose caller is proved, with what ends it where it lasts.
    pub(crate) fn let_in<B>(&self, request: &mut Request<B>, method: &Method) -> Result<Option<Guard>, Box<Status>> {
        let path = request.uri().path();
        if is_open(path) {
            return Ok(None);
        }
        let authentication = &self.authentication;
        let certificate = request.extensions().get::<Arc<CertificateNames>>();
        let caller = authentication.authenticate(request.headers(), certificate.map(|names| &**names));
        match caller.and_then(|caller| Ok((authentication.store(request.headers(), &caller)?, caller))) {
            Ok((store, caller)) => {
                if let Some(notes) = request.extensions().get::<Arc<Notes>>() {
                    notes.set_caller(&caller);
                }
                let guard = authentication.guard(method, &caller);
                request.extensions_mut().insert(caller);
                request.extensions_mut().insert(store);
                Ok(guard)
            }
            Err(Refused { status, reason }) => {
                self.metrics.refuse_log_in(reason);
                if let Some(recorder) = &self.recorder {
                    recorder.record_refused_log_in(reason, path);
                }
                Err(Box::new(status))
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tonic::Code;

    use super::*;

    fn authenticate(value: Option<&str>) -> Result<String, Code> {
        let keys = vec!["first".parse().unwrap(), "second".parse().unwrap()];
        let keys = Authentication::new(keys, None, Issuers::default());
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
        }
        let caller = keys.authenticate(&headers, None).map(|caller| caller.name.to_string());
        caller.map_err(|refused| refused.status.code())
    }

    #[test]
    fn only_a_known_key_names_a_caller() {
        assert_eq!(authenticate(Some("Bearer first")), Ok("key-1".to_owned()));
        assert_eq!(authenticate(Some("bearer second")), Ok("key-2".to_owned()));
        assert_eq!(authenticate(Some("Bearer third")), Err(Code::PermissionDenied));
        assert_eq!(authenticate(Some("Bearer firs")), Err(Code::PermissionDenied));
        assert_eq!(authenticate(Some("Bearer ")), Err(Code::Unauthenticated));
        assert_eq!(authenticate(Some("Basic first")), Err(Code::Unauthenticated));
        assert_eq!(authenticate(Some("first")), Err(Code::Unauthenticated));
        assert_eq!(authenticate(None), Err(Code::Unauthenticated));
    }

    #[test]
    fn a_key_is_never_printed() {
        let key: Secret = "very-secret".parse().unwrap();
        assert!(!format!("{key:?}").contains("very-secret"));
    }
}
