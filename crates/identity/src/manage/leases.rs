//! Credentials: handed out, rotated and taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stonetown_authorizer::{Caller, Error, Scope};
use stonetown_tuple::{RelationshipFilter, SubjectFilter, SubjectId, SubjectRelationFilter, Timestamp, ZedToken};

use super::{Why, valid_id};
use crate::Identity;
use crate::authenticate::OWN;
use crate::credential::{Credential, Issued, TTL_DEFAULT, Token};
use crate::principal::State;
use crate::system::{Change, Kind, parsed};

/// Credentials of one principal that have not ended, at most.
pub const CREDENTIALS_MAX: usize = 100;
/// Alternatives of a scope at most, and names in each of their lists.
pub const SCOPE_ENTRIES_MAX: usize = 64;
/// How long a credential that has ended is kept, so that its holder is told so.
const KEPT_AFTER_END: Duration = Duration::from_secs(24 * 60 * 60);

/// A credential without what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub principal: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it ends, exclusively.
    pub expires_at: Timestamp,
    /// Whether it was taken back.
    pub revoked: bool,
    /// What it is narrowed to.
    pub scope: Option<Scope>,
    /// The one store that it is for.
    pub store: Option<String>,
}

/// What a credential is to be like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// How long it lasts; [`TTL_DEFAULT`] where it is not given.
    pub ttl: Option<Duration>,
    /// What it is narrowed to.
    pub scope: Option<Scope>,
    /// The one store that it is for; every store where it is not given.
    pub store: Option<String>,
}

impl Identity {
    /// Hands out a credential. A principal may hand out to itself what is narrower
    /// than what it calls with, and ends no later.
    ///
    /// # Errors
    /// [`Error::Denied`] for who neither manages the principal nor narrows its own, [`Error::NoSuch`], [`Error::Refused`] for a
    /// principal that may not call or has too many, [`Error::Invalid`] for a `ttl` above the server's.
    pub fn issue_credential(&self, caller: &Caller, principal: &str, terms: Terms, why: &Why) -> Result<Issued, Error> {
        let Terms { ttl, scope, store } = terms;
        let mut change = self.change_by(caller)?;
        let managed = self.require_manager(caller, "hand out credentials of principal", principal);
        let parent = match (managed, &scope, caller.proof.as_deref()) {
            (Err(Error::Denied { .. }), Some(scope), Some(proof))
                if *caller.name == *principal && narrows(caller, scope) =>
            {
                Some(proof)
            }
            (managed, ..) => managed.map(|()| None)?,
        };
        check_scope(scope.as_ref())?;
        let bound = parent.and_then(|proof| proof.store.as_deref());
        let store = store.or_else(|| bound.map(str::to_owned));
        if let Some(name) = &store
            && (bound.is_some_and(|bound| bound != name) || self.system().store_id(name).is_none())
        {
            return Err(Error::NoSuch(format!("store `{name}`")));
        }
        if self.described(principal)?.state != State::Active {
            return Err(Error::Refused(format!("principal `{principal}` is quarantined or retired")));
        }
        let left = match parent.and_then(|proof| proof.expires_at) {
            Some(ends) => Duration::try_from(ends.duration_since(self.system().now())).unwrap_or_default(),
            None => Duration::MAX,
        };
        if left.is_zero() {
            return Err(caller.denied(&"make another of a credential that has ended"));
        }
        let lease = Wanted {
            ttl: ttl.unwrap_or(TTL_DEFAULT).min(left),
            scope,
            store,
            parent: parent.map(|p| p.credential.to_string()),
            line: None,
        };
        let issued = self.add_credential(&mut change, principal, lease)?;
        change.commit(caller, why.metadata("issue credential")?)?;
        Ok(issued)
    }

    /// Hands out a credential in the place of another, as long and as narrow, and lets the other end after `overlap`. Who holds
    /// a credential may rotate it, but not to a longer one.
    ///
    /// # Errors
    /// As [`Identity::issue_credential`]; [`Error::Refused`] for a credential that has ended, and for a longer one by who does
    /// not manage the principal.
    pub fn rotate_credential(
        &self,
        caller: &Caller,
        id: &str,
        ttl: Option<Duration>,
        overlap: Duration,
        why: &Why,
    ) -> Result<Issued, Error> {
        let mut change = self.change_by(caller)?;
        let mut old = self.owned_credential(caller, id, "rotate")?;
        let now = self.system().now();
        if old.revoked || old.expires_at <= now {
            return Err(Error::Refused("the credential has ended: have another issued".to_owned()));
        }
        if old.parent.is_some() {
            return Err(Error::Refused("its holder made it from another credential: make another".to_owned()));
        }
        let (same, manager) = (old.ttl(), "prolong credentials of principal");
        let ttl = ttl.unwrap_or(same);
        if ttl > same && self.require_manager(caller, manager, &old.principal).is_err() {
            let same = same.as_secs();
            return Err(Error::Refused(format!("who does not manage it rotates it to one of {same} s at most")));
        }
        // What its holder makes of it goes with it, or a revocation would come too late for who has stolen it.
        let by_holder = *caller.name == *old.principal;
        let line = by_holder.then(|| old.line.clone().unwrap_or_else(|| id.to_owned()));
        let lease = Wanted { ttl, scope: old.scope(), store: old.store.clone(), parent: None, line };
        let issued = self.add_credential(&mut change, &old.principal, lease)?;
        old.ttl_ms = u64::try_from(same.as_millis()).ok();
        let ends = now.checked_add(overlap).unwrap_or(old.expires_at);
        old.expires_at = old.expires_at.min(ends);
        old.revoked = overlap.is_zero();
        change.put(Kind::Credential, id, &old)?;
        change.commit(caller, why.metadata("rotate credential")?)?;
        Ok(issued)
    }

    /// Takes a credential back, and those that its holder made from it or rotated it to, but for the one that this is called with. No
    /// call that begins after this has returned is let in with them.
    ///
    /// # Errors
    /// [`Error::Denied`] for who neither manages its principal nor is it, whether or not it exists.
    pub fn revoke_credential(&self, caller: &Caller, id: &str, why: &Why) -> Result<ZedToken, Error> {
        let mut change = self.change_by(caller)?;
        let old = self.owned_credential(caller, id, "revoke")?;
        let leases: BTreeMap<_, _> = self.leases_of(&old.principal)?.into_iter().collect();
        let held = caller.proof.as_ref().and_then(|proof| proof.credential.strip_prefix(OWN));
        let (mut found, mut next) = (BTreeSet::from([id]), vec![id]);
        while let Some(id) = next.pop() {
            let Some(credential) = leases.get(id) else { continue };
            let (own, line) = (format!("{OWN}{id}"), credential.line.as_deref().unwrap_or(id));
            let comes_of = |other: &Credential| {
                let is_later = other.issued_at >= credential.issued_at;
                other.parent.as_ref() == Some(&own) || other.line.as_deref() == Some(line) && is_later
            };
            for (other, _) in leases.iter().filter(|(other, it)| held != Some(other.as_str()) && comes_of(it)) {
                if found.insert(other) {
                    next.push(other);
                }
            }
            if !credential.revoked {
                change.put(Kind::Credential, id, &Credential { revoked: true, ..credential.clone() })?;
            }
        }
        change.commit(caller, why.metadata("revoke credential")?)
    }

    /// Takes all credentials of a principal back, as [`Identity::revoke_credential`] does one.
    ///
    /// # Errors
    /// [`Error::Denied`] for who neither manages the principal nor is it, whether or not it exists.
    pub fn revoke_credentials(&self, caller: &Caller, principal: &str, why: &Why) -> Result<ZedToken, Error> {
        let mut change = self.change_by(caller)?;
        self.require_self_or_manager(caller, "revoke credentials of principal", principal)?;
        self.described(principal)?;
        for (id, credential) in self.leases_of(principal)? {
            change.put(Kind::Credential, &id, &Credential { revoked: true, ..credential })?;
        }
        change.commit(caller, why.metadata("revoke credentials")?)
    }

    /// The credentials of a principal, those that ended lately among them.
    ///
    /// # Errors
    /// [`Error::Denied`] for who neither manages the principal nor is it, whether or not it exists.
    pub fn list_credentials(&self, caller: &Caller, principal: &str) -> Result<Vec<Lease>, Error> {
        self.require_self_or_manager(caller, "see credentials of principal", principal)?;
        self.described(principal)?;
        let lease = |(id, credential): (String, Credential)| Lease {
            id,
            store: credential.store.clone(),
            scope: credential.scope(),
            principal: credential.principal,
            issued_at: credential.issued_at,
            expires_at: credential.expires_at,
            revoked: credential.revoked,
        };
        Ok(self.leases_of(principal)?.into_iter().map(lease).collect())
    }

    pub(super) fn require_self_or_manager(&self, caller: &Caller, act: &str, principal: &str) -> Result<(), Error> {
        if *caller.name == *principal && !caller.is_narrowed() {
            return Ok(());
        }
        self.require_manager(caller, act, principal)
    }

    /// A credential that a caller holds, or whose principal it is or manages.
    fn owned_credential(&self, caller: &Caller, id: &str, act: &str) -> Result<Credential, Error> {
        let act = format!("{act} credential `{id}`");
        valid_id(id)?;
        let credential = self.system().document::<Credential>(Kind::Credential, id)?;
        let held = caller.proof.as_ref().and_then(|proof| proof.credential.strip_prefix(OWN));
        let Some(credential) = credential else {
            self.require_administrator(caller, &act)?;
            return Err(Error::NoSuch(format!("credential `{id}`")));
        };
        let is_own = *caller.name == *credential.principal && (!caller.is_narrowed() || held == Some(id));
        if !is_own {
            let object = Kind::Principal.object(&credential.principal)?;
            self.require(caller, &act, &[(object, "manage"), (super::root()?, "administer")])?;
        }
        Ok(credential)
    }

    /// The credentials of a principal, by id.
    pub(super) fn leases_of(&self, principal: &str) -> Result<Vec<(String, Credential)>, Error> {
        let object = Kind::Principal.object(principal)?;
        let filter = RelationshipFilter {
            resource_type: Some(parsed("sys/credential")?),
            relation: Some(parsed("principal")?),
            subject: Some(SubjectFilter {
                subject_type: object.object_type,
                subject_id: Some(SubjectId::Object(object.object_id)),
                relation: SubjectRelationFilter::Any,
            }),
            ..RelationshipFilter::default()
        };
        let mut ids = Vec::new();
        self.system().read(&filter, &mut |relationship| ids.push(relationship.resource.object_id.to_string()))?;
        let mut found = Vec::new();
        for id in ids {
            if let Some(credential) = self.system().document(Kind::Credential, &id)? {
                found.push((id, credential));
            }
        }
        Ok(found)
    }

    fn add_credential(&self, change: &mut Change<'_>, principal: &str, wanted: Wanted) -> Result<Issued, Error> {
        let Wanted { ttl, scope, store, parent, line } = wanted;
        if ttl.is_zero() || ttl > self.ttl_max {
            return Err(Error::Invalid(format!(
                "a credential lasts at most {} s, and longer than 0",
                self.ttl_max.as_secs()
            )));
        }
        let now = self.system().now();
        let forgotten = now.checked_sub(KEPT_AFTER_END).unwrap_or(Timestamp::MIN);
        let mut live = 0;
        for (id, credential) in self.leases_of(principal)? {
            live += usize::from(!credential.revoked && credential.expires_at > now);
            if credential.expires_at <= forgotten {
                change.take(Kind::Credential, &id)?;
                change.delete(&format!("sys/credential:{id}#principal@sys/principal:{principal}"))?;
            }
        }
        if live >= CREDENTIALS_MAX {
            return Err(Error::Refused(format!("principal `{principal}` has {CREDENTIALS_MAX} credentials already")));
        }
        let (id, token) = Token::new()?;
        let mut credential = Credential { parent, store, line, ..Credential::new(principal, &token, now, ttl)? };
        if let Some(scope) = scope {
            credential.narrow(scope);
        }
        change.put(Kind::Credential, &id, &credential)?;
        change.touch(&format!("sys/credential:{id}#principal@sys/principal:{principal}"))?;
        Ok(Issued { id, token, expires_at: credential.expires_at })
    }
}

/// A credential as it is to be, once all of it has been looked at.
struct Wanted {
    ttl: Duration,
    scope: Option<Scope>,
    store: Option<String>,
    parent: Option<String>,
    line: Option<String>,
}

/// Whether a scope is within what a caller's credential covers.
fn narrows(caller: &Caller, scope: &Scope) -> bool {
    caller.scope().is_none_or(|wide| wide.contains(scope))
}

fn check_scope(scope: Option<&Scope>) -> Result<(), Error> {
    let Some(Scope(entries)) = scope else { return Ok(()) };
    let is_long = |names: &[String]| {
        names.len() > SCOPE_ENTRIES_MAX || names.iter().any(|name| name.is_empty() || name.len() > 1_024)
    };
    let is_wrong = |entry: &stonetown_authorizer::Narrowing| {
        entry.resource_type.is_empty()
            || entry.resource_type.len() > 128
            || is_long(&entry.permissions)
            || is_long(&entry.resource_ids)
    };
    if entries.is_empty() || entries.len() > SCOPE_ENTRIES_MAX || entries.iter().any(is_wrong) {
        return Err(Error::Invalid(format!(
            "a scope has 1 to {SCOPE_ENTRIES_MAX} entries, each with a type and at most so many permissions and ids"
        )));
    }
    Ok(())
}
