//! Letting one principal act for another.

use std::time::Duration;

use serde_json::json;
use stonetown_authorizer::{Caller, Error};
use stonetown_tuple::{CaveatContext, CaveatRef, Operation, Relationship, RelationshipFilter, Timestamp, ZedToken};

use super::{Why, principal_object, valid_id};
use crate::Identity;
use crate::principal::State;
use crate::system::{Kind, parsed};

/// Principals that may act for one at most.
pub const DELEGATIONS_MAX: usize = 1_000;
/// Types, and permissions, of one delegation at most.
pub const DELEGATED_NAMES_MAX: usize = 64;

/// That one principal may act for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// For whom.
    pub principal: String,
    /// Who may act.
    pub actor: String,
    /// Types of resources that it covers; `*` for all.
    pub types: Vec<String>,
    /// Permissions that it covers; `*` for all.
    pub permissions: Vec<String>,
    /// When it ends, exclusively; `None` for when it is taken back.
    pub expires_at: Option<Timestamp>,
}

/// What a delegation is to cover, and for how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mandate {
    /// See [`Delegation::types`].
    pub types: Vec<String>,
    /// See [`Delegation::permissions`].
    pub permissions: Vec<String>,
    /// How long it lasts.
    pub ttl: Option<Duration>,
}

impl Identity {
    /// Lets `actor` act for `principal`, in the place of what it was let before.
    ///
    /// # Errors
    /// [`Error::Denied`] for who is not the principal and does not manage it, whether or not it exists; [`Error::NoSuch`],
    /// [`Error::Invalid`] for an empty or a large mandate, [`Error::Refused`] for one who is retired and above [`DELEGATIONS_MAX`].
    pub fn delegate(
        &self,
        caller: &Caller,
        principal: &str,
        actor: &str,
        mandate: &Mandate,
        why: &Why,
    ) -> Result<Delegation, Error> {
        let mut change = self.change_by(caller)?;
        self.require_self_or_manager(caller, "let others act for principal", principal)?;
        let names = [&mandate.types, &mandate.permissions];
        if names.iter().any(|names| names.is_empty() || names.len() > DELEGATED_NAMES_MAX) {
            return Err(Error::Invalid(format!(
                "a delegation covers 1 to {DELEGATED_NAMES_MAX} types and as many permissions; `*` is all of them"
            )));
        }
        if names.iter().any(|names| names.iter().any(|name| name.is_empty() || name.len() > 128)) {
            return Err(Error::Invalid("a name of a delegation has 1 to 128 bytes".to_owned()));
        }
        if principal == actor {
            return Err(Error::Invalid("nobody acts for oneself".to_owned()));
        }
        for id in [principal, actor] {
            valid_id(id)?;
            if self.described(id)?.state == State::Retired {
                return Err(Error::Refused(format!("principal `{id}` is retired")));
            }
        }
        let given = self.delegations_to(principal)?;
        if given.len() >= DELEGATIONS_MAX && given.iter().all(|delegation| delegation.actor != actor) {
            return Err(Error::Refused(format!("{DELEGATIONS_MAX} principals act for `{principal}` already")));
        }
        let expires_at = match mandate.ttl {
            Some(ttl) => {
                let ends = self.system().now().checked_add(ttl);
                Some(ends.map_err(|_| Error::Invalid("the delegation would never end".to_owned()))?)
            }
            None => None,
        };
        let context = CaveatContext::from_iter([
            ("types".to_owned(), json!(mandate.types)),
            ("perms".to_owned(), json!(mandate.permissions)),
        ]);
        let caveat = Some(CaveatRef { name: parsed("sys/scope")?, context });
        let edge = edge(principal, actor)?;
        change.update(Operation::Touch, Relationship { caveat, expires_at, ..edge });
        change.commit(caller, why.metadata("delegate")?)?;
        Ok(Delegation {
            principal: principal.to_owned(),
            actor: actor.to_owned(),
            types: mandate.types.clone(),
            permissions: mandate.permissions.clone(),
            expires_at,
        })
    }

    /// Takes a delegation back, if it is there. From the returned state on the actor does not act for the principal.
    ///
    /// # Errors
    /// [`Error::Denied`] for who is neither of them and does not manage the principal.
    pub fn undelegate(&self, caller: &Caller, principal: &str, actor: &str, why: &Why) -> Result<ZedToken, Error> {
        let mut change = self.change_by(caller)?;
        if *caller.name != *actor || caller.is_narrowed() {
            self.require_self_or_manager(caller, "take back who acts for principal", principal)?;
        }
        change.update(Operation::Delete, edge(principal, actor)?);
        change.commit(caller, why.metadata("undelegate")?)
    }

    /// Who may act for a principal, by name. What has expired is not among them.
    ///
    /// # Errors
    /// [`Error::Denied`] for who is not the principal and does not manage it, whether or not it exists.
    pub fn delegations(&self, caller: &Caller, principal: &str) -> Result<Vec<Delegation>, Error> {
        self.require_self_or_manager(caller, "see who acts for principal", principal)?;
        self.described(principal)?;
        let mut found = self.delegations_to(principal)?;
        found.sort_by(|one, other| one.actor.cmp(&other.actor));
        Ok(found)
    }

    pub(super) fn delegations_to(&self, principal: &str) -> Result<Vec<Delegation>, Error> {
        let filter = RelationshipFilter {
            resource_type: Some(parsed(Kind::Principal.type_name())?),
            resource_id: Some(principal_object(principal)?.object_id),
            relation: Some(parsed("delegate")?),
            ..RelationshipFilter::default()
        };
        let mut found = Vec::new();
        self.system().read(&filter, &mut |relationship| found.extend(delegation(relationship)))?;
        Ok(found)
    }
}

/// The relationship that lets one act for another.
pub(super) fn edge(principal: &str, actor: &str) -> Result<Relationship, Error> {
    let actor = stonetown_tuple::SubjectRef::object(principal_object(actor)?);
    Ok(Relationship::new(principal_object(principal)?, parsed("delegate")?, actor))
}

fn delegation(relationship: &Relationship) -> Option<Delegation> {
    let context = &relationship.caveat.as_ref()?.context;
    let names = |parameter: &str| {
        let names = context.get(parameter)?.as_array()?.iter();
        Some(names.filter_map(|name| name.as_str().map(str::to_owned)).collect::<Vec<_>>())
    };
    Some(Delegation {
        principal: relationship.resource.object_id.to_string(),
        actor: relationship.subject.object_id().as_str().to_owned(),
        types: names("types")?,
        permissions: names("perms")?,
        expires_at: relationship.expires_at,
    })
}
