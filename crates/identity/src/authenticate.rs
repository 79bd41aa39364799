//! From what a caller shows to who it is. Every way ends at a principal that is active, and fails closed.

use std::sync::Arc;

use serde_json::{Map, Value};
use stonetown_authorizer::{ACTORS_MAX, Caller, Error, Proof};
use stonetown_tuple::Timestamp;

use crate::Identity;
use crate::credential::{self, Credential};
use crate::jwt::{self, JwtError};
use crate::principal::{self, External, State};
use crate::system::Kind;

/// How the proof of one of the server's own credentials begins, before its id.
pub(crate) const OWN: &str = "credential/";
/// The proof of a preshared key.
const KEY: &str = "preshared-key";
/// The proof of a certificate.
const CERTIFICATE: &str = "certificate";
/// The proof of an issuer's token.
const JWT: &str = "jwt";

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// What was shown is known to nobody here.
    #[error("unknown token")]
    Unknown,
    /// What was shown is one's own and has ended.
    #[error("the credential has expired")]
    Expired,
    /// What was shown is one's own and was taken back.
    #[error("the credential was revoked")]
    Revoked,
    /// The principal is cut off.
    #[error("the principal is quarantined")]
    Quarantined,
    /// The principal is done with.
    #[error("the principal is retired")]
    Retired,
    /// A token of an issuer that cannot be proved, or has ended.
    #[error(transparent)]
    Jwt(#[from] JwtError),
    /// It cannot be known.
    #[error(transparent)]
    Unavailable(#[from] Error),
}

impl Refusal {
    /// Every [`Refusal::reason`].
    pub const REASONS: [&str; 11] = [
        "unknown",
        "expired",
        "revoked",
        "quarantined",
        "retired",
        "token_unknown",
        "token_unknown_key",
        "token_expired",
        "token_bound",
        "issuer_without_keys",
        "unavailable",
    ];

    /// It in a word, for those who count.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Refusal::Unknown => "unknown",
            Refusal::Expired => "expired",
            Refusal::Revoked => "revoked",
            Refusal::Quarantined => "quarantined",
            Refusal::Retired => "retired",
            Refusal::Jwt(JwtError::Unknown) => "token_unknown",
            Refusal::Jwt(JwtError::UnknownKey) => "token_unknown_key",
            Refusal::Jwt(JwtError::Expired) => "token_expired",
            Refusal::Jwt(JwtError::Bound) => "token_bound",
            Refusal::Jwt(JwtError::NoKeys) => "issuer_without_keys",
            Refusal::Unavailable(_) => "unavailable",
        }
    }
}

/// What a certificate that an authority vouches for says of its holder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CertificateNames {
    /// SPIFFE ids, and beside one all other URIs: a certificate of SPIFFE has exactly one URI.
    pub spiffe: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// When it ends, exclusively.
    pub expires_at: Timestamp,
    /// The SHA-256 of all of it: what tokens are bound to it by.
    pub thumbprint: [u8; 32],
}

/// A credential as it is looked up by its id.
pub(crate) struct Known {
    credential: Credential,
    caller: Caller,
}

impl Identity {
    /// Who shows a token of the server's own.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn by_token(&self, text: &str) -> Result<Caller, Refusal> {
        let id = credential::id_of(text).ok_or(Refusal::Unknown)?;
        let known = self.known(id)?.filter(|known| known.credential.is_proved_by(text)).ok_or(Refusal::Unknown)?;
        self.holds(&known)?;
        Ok(known.caller.clone())
    }

    /// Who shows the preshared key of that number, counted from 1.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn by_key(&self, number: usize) -> Result<Caller, Refusal> {
        let caller = number.checked_sub(1).and_then(|at| self.keys.get(at)).ok_or(Refusal::Unknown)?;
        self.is_active(&caller.name)?;
        Ok(caller.clone())
    }

    /// Who shows a certificate: the principal of its SPIFFE id, or where it has none, of its DNS names.
    ///
    /// # Errors
    /// See [`Refusal`]; [`Refusal::Unknown`] also for names of several principals.
    pub fn by_certificate(&self, names: &CertificateNames) -> Result<Caller, Refusal> {
        let external: Vec<_> = match names.spiffe.as_slice() {
            [] => names.dns.iter().cloned().map(External::Dns).collect(),
            [id] => vec![External::Spiffe(id.clone())],
            _ => return Err(Refusal::Unknown),
        };
        let mut found: Option<Arc<str>> = None;
        for name in external {
            match (self.by_name(&name)?, &found) {
                (Some(another), Some(one)) if another != *one => return Err(Refusal::Unknown),
                (Some(one), _) => found = Some(one),
                (None, _) => {}
            }
        }
        let name = found.ok_or(Refusal::Unknown)?;
        self.not_over(Some(names.expires_at))?;
        self.is_active(&name)?;
        let proof = Proof { credential: CERTIFICATE.into(), expires_at: Some(names.expires_at), ..Proof::default() };
        Ok(Caller::proved(&name, proof))
    }

    /// Who shows a token of an issuer, over a connection with this certificate. A token that is bound to one counts with that
    /// alone, and no longer than it lasts.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn by_jwt(&self, text: &str, certificate: Option<&CertificateNames>) -> Result<Caller, Refusal> {
        let claimed = jwt::claimed_issuer(text).ok_or(Refusal::Unknown)?;
        let issuer = self.issuers.iter().find(|issuer| issuer.name() == claimed).ok_or(Refusal::Unknown)?;
        let verified = issuer.verify(text, self.system().now())?;
        let mut expires_at = verified.expires_at;
        if let Some(bound_to) = verified.certificate {
            let shown = certificate.filter(|shown| shown.thumbprint == bound_to).ok_or(JwtError::Bound)?;
            self.not_over(Some(shown.expires_at))?;
            expires_at = expires_at.min(shown.expires_at);
        }
        let mut parties = vec![External::Oidc { issuer: claimed.clone(), subject: verified.subject.clone() }];
        parties.extend(actors(&claimed, &verified.claims)?);
        let mut names = Vec::new();
        for party in &parties {
            let name = self.by_name(party)?.ok_or(Refusal::Unknown)?;
            self.is_active(&name)?;
            names.push(name);
        }
        // Who is current is who calls: the powers are its own, whomever it acts for.
        let name = names.pop().ok_or(Refusal::Unknown)?;
        let (expires_at, claims) = (Some(expires_at), Some(verified.claims.clone()));
        let proof = Proof { credential: JWT.into(), expires_at, claims, acting_for: names, ..Proof::default() };
        Ok(Caller::proved(&name, proof))
    }

    /// Whether tokens of issuers are accepted.
    #[must_use]
    pub fn has_issuers(&self) -> bool {
        !self.issuers.is_empty()
    }

    /// Whether one who was let in still would be, and all whom it acts for.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn still(&self, caller: &Caller) -> Result<(), Refusal> {
        let proof = caller.proof.as_deref();
        if let Some(id) = proof.and_then(|proof| proof.credential.strip_prefix(OWN)) {
            return self.holds(&*self.known(id)?.ok_or(Refusal::Revoked)?);
        }
        self.not_over(proof.and_then(|proof| proof.expires_at))?;
        let parties = proof.into_iter().flat_map(|proof| &proof.acting_for).chain([&caller.name]);
        parties.into_iter().try_for_each(|party| self.is_active(party))
    }

    fn holds(&self, known: &Known) -> Result<(), Refusal> {
        if known.credential.revoked {
            return Err(Refusal::Revoked);
        }
        self.not_over(Some(known.credential.expires_at))?;
        self.is_active(&known.credential.principal)
    }

    fn not_over(&self, expires_at: Option<Timestamp>) -> Result<(), Refusal> {
        match expires_at {
            Some(expires_at) if expires_at <= self.system().now() => Err(Refusal::Expired),
            _ => Ok(()),
        }
    }

    fn is_active(&self, principal: &str) -> Result<(), Refusal> {
        let changed = self.system().changed().at();
        let state = match self.states.get(principal, changed) {
            Some(state) => state,
            None => {
                let at = self.system().head();
                let state = principal::state(self.system(), principal)?;
                self.states.put(principal.into(), at, state);
                state
            }
        };
        match state {
            Some(State::Active) => Ok(()),
            Some(State::Quarantined) => Err(Refusal::Quarantined),
            Some(State::Retired) => Err(Refusal::Retired),
            None => Err(Refusal::Unknown),
        }
    }

    /// The principal that somebody else's name means.
    fn by_name(&self, name: &External) -> Result<Option<Arc<str>>, Error> {
        let alias = name.alias();
        if let Some(found) = self.aliases.get(&*alias, self.system().changed().at()) {
            return Ok(found);
        }
        let at = self.system().head();
        let found = principal::by_alias(self.system(), &alias)?.map(Arc::from);
        self.aliases.put(alias.into(), at, found.clone());
        Ok(found)
    }

    /// A credential by its id. What is not known is looked for each time, so that nobody fills the memory with guesses.
    fn known(&self, id: &str) -> Result<Option<Arc<Known>>, Error> {
        if let Some(known) = self.credentials.get(id, self.system().changed().at()) {
            return Ok(Some(known));
        }
        let at = self.system().head();
        let Some(credential) = self.system().document::<Credential>(Kind::Credential, id)? else { return Ok(None) };
        let proof = Proof {
            credential: format!("{OWN}{id}").into(),
            scope: credential.scope(),
            expires_at: Some(credential.expires_at),
            store: credential.store.as_deref().map(Arc::from),
            acting_for: Vec::new(),
            claims: None,
        };
        let caller = Caller::proved(&credential.principal, proof);
        let known = Arc::new(Known { credential, caller });
        self.credentials.put(id.into(), at, Arc::clone(&known));
        Ok(Some(known))
    }
}

/// Those who act for whom a token is about, the nearest first: its claim `act` nests them the other way round (RFC 8693, 4.1). All
/// are of the token's own issuer: none vouches for whom another knows.
fn actors(issuer: &str, claims: &Map<String, Value>) -> Result<Vec<External>, JwtError> {
    let mut found = Vec::new();
    let mut outer = claims;
    while let Some(act) = outer.get("act") {
        let act = act.as_object().filter(|_| found.len() < ACTORS_MAX).ok_or(JwtError::Unknown)?;
        let named = |name: &str| act.get(name).map(|value| value.as_str().ok_or(JwtError::Unknown)).transpose();
        let subject = named("sub")?.ok_or(JwtError::Unknown)?.to_owned();
        if named("iss")?.is_some_and(|other| other != issuer) {
            return Err(JwtError::Unknown);
        }
        found.push(External::Oidc { issuer: issuer.to_owned(), subject });
        outer = act;
    }
    found.reverse();
    Ok(found)
}

/// Who shows each of so many preshared keys.
pub(crate) fn keys(count: usize) -> Vec<Caller> {
    let proof = || Proof { credential: KEY.into(), ..Proof::default() };
    (1..=count).map(|number| Caller::proved(&key_name(number), proof())).collect()
}

/// The principal of the preshared key of that number, counted from 1.
pub(crate) fn key_name(number: usize) -> String {
    format!("key-{number}")
}
