//! Making, changing, cutting off and retiring principals.

use std::collections::BTreeMap;

use stonetown_authorizer::{Caller, Error};
use stonetown_tuple::{ObjectRef, RelationshipFilter, SubjectFilter, SubjectId, SubjectRelationFilter, ZedToken};

use super::delegations::edge as delegation_edge;
use super::{LIST_MAX, Why, valid_id};
use crate::Identity;
use crate::principal::{self, External, Holder, Principal, PrincipalKind, StandIn, State};
use crate::system::{Change, Kind, parsed};

/// Bytes of a principal's id at most.
pub const ID_BYTES_MAX: usize = 128;
/// Labels of one principal at most.
pub const LABELS_MAX: usize = 64;
/// Bytes of a label's name, of its value, and of another name at most.
pub const TEXT_BYTES_MAX: usize = 512;
/// Subjects that stand for one principal at most, and other names of it.
pub const ALIASES_MAX: usize = 64;
/// Ids that mean somebody already.
const RESERVED: [&str; 2] = ["stonetown", "bootstrap"];

/// What a principal is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What sort of caller it is.
    pub kind: PrincipalKind,
    /// Who answers for it.
    pub owner: Option<Holder>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The subjects that stand for it in stores.
    pub subjects: Vec<StandIn>,
    /// Other names that authentication knows it by.
    pub external: Vec<External>,
}

/// A principal as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its id.
    pub id: String,
    /// What is kept about it.
    pub principal: Principal,
    /// Whether it may call.
    pub state: State,
}

/// What a retirement takes away, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retired {
    /// Its credentials.
    pub credentials: u64,
    /// What it held in the system store: powers, memberships, what it answers for.
    pub powers: u64,
    /// Relationships of the subjects that stand for it, in all stores.
    pub relationships: u64,
}

impl Identity {
    /// Makes a principal.
    ///
    /// # Errors
    /// [`Error::Denied`] for who does not administer the server, [`Error::Exists`] when the id or another name is taken,
    /// [`Error::Refused`] when nobody answers for one that is no human.
    pub fn create_principal(&self, caller: &Caller, id: &str, wanted: Wanted, why: &Why) -> Result<Described, Error> {
        let mut change = self.change_by(caller)?;
        self.require_administrator(caller, "make principals")?;
        check_id(id)?;
        if self.system().document::<Principal>(Kind::Principal, id)?.is_some() {
            return Err(Error::Exists(format!("principal `{id}`")));
        }
        let principal = self.principal_of(wanted, false)?;
        self.write_principal(&mut change, id, None, &principal)?;
        change.touch(&format!("sys/principal:{id}#parent@sys/root:self"))?;
        change.commit(caller, why.metadata("create principal")?)?;
        Ok(Described { id: id.to_owned(), principal, state: State::Active })
    }

    /// Replaces what is kept about a principal.
    ///
    /// # Errors
    /// As [`Identity::create_principal`]; [`Error::NoSuch`] when there is none.
    pub fn update_principal(&self, caller: &Caller, id: &str, wanted: Wanted, why: &Why) -> Result<Described, Error> {
        let mut change = self.change_by(caller)?;
        self.require_administrator(caller, "change principals")?;
        let before = self.described(id)?;
        if before.state == State::Retired {
            return Err(Error::Refused(format!("principal `{id}` is retired")));
        }
        let is_key = before.principal.kind == PrincipalKind::Key;
        let created_at = before.principal.created_at;
        let principal = Principal { created_at, ..self.principal_of(wanted, is_key)? };
        self.write_principal(&mut change, id, Some(&before.principal), &principal)?;
        change.commit(caller, why.metadata("update principal")?)?;
        Ok(Described { principal, ..before })
    }

    /// A principal.
    ///
    /// # Errors
    /// [`Error::Denied`] for who does not manage it and is not it, whether or not it exists; [`Error::NoSuch`].
    pub fn get_principal(&self, caller: &Caller, id: &str) -> Result<Described, Error> {
        self.require_self_or_manager(caller, "see principal", id)?;
        self.described(id)
    }

    /// Principals in the order of their ids, after one, at most [`LIST_MAX`].
    ///
    /// # Errors
    /// [`Error::Denied`] for who does not administer the server.
    pub fn list_principals(&self, caller: &Caller, after: &str, limit: usize) -> Result<Vec<Described>, Error> {
        self.require_administrator(caller, "list principals")?;
        let mut page: BTreeMap<String, ()> = BTreeMap::new();
        let limit = limit.clamp(1, LIST_MAX);
        let filter = RelationshipFilter {
            resource_type: Some(parsed(Kind::Principal.type_name())?),
            relation: Some(parsed("document")?),
            ..RelationshipFilter::default()
        };
        self.system().read(&filter, &mut |relationship| {
            let id = relationship.resource.object_id.as_str();
            if id > after && (page.len() < limit || page.last_key_value().is_some_and(|(last, ())| id < last.as_str()))
            {
                page.insert(id.to_owned(), ());
                if page.len() > limit {
                    page.pop_last();
                }
            }
        })?;
        page.into_keys().map(|id| self.described(&id)).collect()
    }

    /// Cuts a principal off: from the returned state on its calls are refused, and nobody is told yes about the subjects that
    /// stand for it.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::NoSuch`], [`Error::Refused`] when nobody could administer any more.
    pub fn quarantine(&self, caller: &Caller, id: &str, why: &Why) -> Result<ZedToken, Error> {
        let mut change = self.change_by(caller)?;
        self.require_manager(caller, "quarantine principal", id)?;
        self.described(id)?;
        change.touch(&quarantine_of(id))?;
        change.commit(caller, why.metadata("quarantine principal")?)
    }

    /// Lets a principal in again.
    ///
    /// # Errors
    /// [`Error::Denied`] for who does not administer the server: who answers for a principal cannot undo what others did.
    pub fn release(&self, caller: &Caller, id: &str, why: &Why) -> Result<ZedToken, Error> {
        let mut change = self.change_by(caller)?;
        self.require_administrator(caller, "let quarantined principals in again")?;
        if self.described(id)?.state == State::Retired {
            return Err(Error::Refused(format!("principal `{id}` is retired: that is for good")));
        }
        change.delete(&quarantine_of(id))?;
        change.commit(caller, why.metadata("release principal")?)
    }

    /// Is done with a principal for good: takes its credentials, powers and other names away, then the relationships of the
    /// subjects that stand for it. One that was cut short can be repeated. With `dry_run` nothing changes.
    ///
    /// # Errors
    /// [`Error::Denied`], before anything changes, for who does not manage it, or may not delete relationships of every relation
    /// in the stores where subjects stand for it; [`Error::NoSuch`]; [`Error::Refused`] when nobody could administer any more.
    pub fn retire(&self, caller: &Caller, id: &str, dry_run: bool, why: &Why) -> Result<Retired, Error> {
        let (mut retired, subjects) = {
            let mut change = self.change_by(caller)?;
            self.require_manager(caller, "retire principal", id)?;
            let Described { principal, .. } = self.described(id)?;
            // In a store that is gone there is nothing left of it.
            let is_there = |stand_in: &&StandIn| self.system().store_id(&stand_in.store).is_some();
            let subjects: Vec<_> = principal.subjects.iter().filter(is_there).cloned().collect();
            let mut retired = Retired::default();
            for (credential, _) in self.leases_of(id)? {
                retired.credentials += 1;
                change.take(Kind::Credential, &credential)?;
            }
            for held in self.held_by(id)? {
                if !["sys/credential", "sys/alias"].contains(&held.resource.object_type.as_str()) {
                    retired.powers += 1;
                }
                change.update(stonetown_tuple::Operation::Delete, held);
            }
            for delegation in self.delegations_to(id)? {
                retired.powers += 1;
                change.update(stonetown_tuple::Operation::Delete, delegation_edge(id, &delegation.actor)?);
            }
            if dry_run {
                for stand_in in &subjects {
                    retired.relationships += self.relationships_of(caller, stand_in)?;
                }
                return Ok(retired);
            }
            subjects.iter().try_for_each(|stand_in| self.check_retirement(caller, stand_in, why))?;
            change.put(Kind::Principal, id, &Principal { retired: true, ..principal })?;
            change.commit(caller, why.metadata("retire principal")?)?;
            (retired, subjects)
        };
        for stand_in in &subjects {
            retired.relationships += self.delete_relationships_of(caller, stand_in, why)?;
        }
        Ok(retired)
    }

    /// A principal that has to be there.
    pub(super) fn described(&self, id: &str) -> Result<Described, Error> {
        valid_id(id)?;
        let no_such = || Error::NoSuch(format!("principal `{id}`"));
        let principal = self.system().document::<Principal>(Kind::Principal, id)?.ok_or_else(no_such)?;
        let state = principal::state(self.system(), id)?.ok_or_else(no_such)?;
        Ok(Described { id: id.to_owned(), principal, state })
    }

    /// Everything in the system store that a principal is the subject of.
    pub(super) fn held_by(&self, id: &str) -> Result<Vec<stonetown_tuple::Relationship>, Error> {
        let ObjectRef { object_type, object_id } = Kind::Principal.object(id)?;
        let filter = RelationshipFilter {
            subject: Some(SubjectFilter {
                subject_type: object_type,
                subject_id: Some(SubjectId::Object(object_id)),
                relation: SubjectRelationFilter::Any,
            }),
            ..RelationshipFilter::default()
        };
        let mut held = Vec::new();
        self.system().read(&filter, &mut |relationship| held.push(relationship.clone()))?;
        Ok(held)
    }

    fn principal_of(&self, wanted: Wanted, is_key: bool) -> Result<Principal, Error> {
        let Wanted { kind, owner, labels, subjects, external } = wanted;
        let kind = if is_key { PrincipalKind::Key } else { kind };
        if kind == PrincipalKind::Key && !is_key {
            return Err(Error::Invalid("principals of preshared keys are made by the server".to_owned()));
        }
        if owner.is_none() && !matches!(kind, PrincipalKind::Human | PrincipalKind::Key) {
            return Err(Error::Refused(
                "somebody has to answer for a principal that is no human: give an owner".to_owned(),
            ));
        }
        if let Some(owner) = &owner {
            self.holder_exists(owner)?;
        }
        let texts = labels.iter().flat_map(|(name, value)| [name, value]);
        if labels.len() > LABELS_MAX || texts.into_iter().any(|text| text.len() > TEXT_BYTES_MAX) {
            return Err(Error::Invalid(format!(
                "more than {LABELS_MAX} labels, or one of more than {TEXT_BYTES_MAX} bytes"
            )));
        }
        if subjects.len() > ALIASES_MAX || external.len() > ALIASES_MAX {
            return Err(Error::Invalid(format!("more than {ALIASES_MAX} subjects or other names")));
        }
        for stand_in in &subjects {
            if self.system().store_id(&stand_in.store).is_none() {
                return Err(Error::NoSuch(format!("store `{}`", stand_in.store)));
            }
            stand_in.subject.parse::<ObjectRef>().map_err(|error| Error::Invalid(error.to_string()))?;
        }
        external.iter().try_for_each(check_external)?;
        let created_at = self.system().now();
        Ok(Principal { kind, owner, labels, subjects, external, retired: false, created_at })
    }

    fn write_principal(
        &self,
        change: &mut Change<'_>,
        id: &str,
        before: Option<&Principal>,
        principal: &Principal,
    ) -> Result<(), Error> {
        if let Some(before) = before {
            for alias in before.aliases() {
                change.delete(&format!("sys/alias:{alias}#principal@sys/principal:{id}"))?;
            }
            if let Some(owner) = &before.owner {
                change.delete(&format!("sys/principal:{id}#owner@{}", owner.subject()))?;
            }
        }
        for alias in principal.aliases() {
            if principal::by_alias(self.system(), &alias)?.is_some_and(|known| known != id) {
                return Err(Error::Exists("a principal with one of these subjects or other names".to_owned()));
            }
            change.touch(&format!("sys/alias:{alias}#principal@sys/principal:{id}"))?;
        }
        if let Some(owner) = &principal.owner {
            change.touch(&format!("sys/principal:{id}#owner@{}", owner.subject()))?;
        }
        change.put(Kind::Principal, id, principal)?;
        Ok(())
    }

    /// Refuses a principal that is not there or retired, and a group that nobody is in.
    pub(super) fn holder_exists(&self, holder: &Holder) -> Result<(), Error> {
        match holder {
            Holder::Principal(id) => match self.described(id)?.state {
                State::Retired => Err(Error::Refused(format!("principal `{id}` is retired"))),
                State::Active | State::Quarantined => Ok(()),
            },
            Holder::Group(id) => {
                valid_id(id)?;
                let filter = RelationshipFilter {
                    resource_type: Some(parsed("sys/group")?),
                    resource_id: Some(parsed(id)?),
                    relation: Some(parsed("member")?),
                    ..RelationshipFilter::default()
                };
                let mut is_there = false;
                self.system().read(&filter, &mut |_| is_there = true)?;
                if is_there { Ok(()) } else { Err(Error::NoSuch(format!("group `{id}` with members"))) }
            }
        }
    }
}

fn quarantine_of(id: &str) -> String {
    format!("sys/principal:{id}#quarantined@sys/root:self")
}

fn check_id(id: &str) -> Result<(), Error> {
    valid_id(id)?;
    let is_key = id.strip_prefix("key-").is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    if id.len() > ID_BYTES_MAX || is_key || RESERVED.contains(&id) {
        return Err(Error::Invalid(format!("`{id}` is reserved, or has more than {ID_BYTES_MAX} bytes")));
    }
    Ok(())
}

fn check_external(name: &External) -> Result<(), Error> {
    let (texts, is_right) = match name {
        External::Spiffe(id) => (vec![id], id.starts_with("spiffe://")),
        External::Dns(name) => (vec![name], !name.contains('*')),
        External::Oidc { issuer, subject } => (vec![issuer, subject], true),
    };
    if is_right && texts.iter().all(|text| !text.is_empty() && text.len() <= TEXT_BYTES_MAX) {
        return Ok(());
    }
    Err(Error::Invalid("another name is empty, too long, no SPIFFE id, or a wildcard".to_owned()))
}
