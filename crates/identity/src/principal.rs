//! Who can ask: what is kept about principals, and which of them are cut off.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stonetown_authorizer::Error;
use stonetown_authorizer::gate::CutOff;
use stonetown_tuple::{
    Consistency, ObjectRef, Relationship, RelationshipFilter, Revision, StoreId, SubjectRef, Timestamp,
};

use crate::credential::sha256;
use crate::system::{Kind, System, parsed};

/// What sort of caller a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrincipalKind {
    /// A program that serves others.
    Service,
    /// A program that acts by itself, or for somebody.
    Agent,
    /// A build or a deployment.
    Build,
    /// A person.
    Human,
    /// Whoever holds a preshared key; made by the server.
    Key,
}

/// What is kept about a principal beside its relationships.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// What sort of caller it is.
    pub kind: PrincipalKind,
    /// Who answers for it. Nobody has to for people and preshared keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Holder>,
    /// Labels for people and conditions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The subjects that stand for it in stores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<StandIn>,
    /// Other names that authentication knows it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub external: Vec<External>,
    /// Whether it is done with, for good.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retired: bool,
    /// When it was made.
    #[serde(with = "crate::moment")]
    pub created_at: Timestamp,
}

/// Who can hold a power, or answer for a principal.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holder {
    /// A principal.
    Principal(String),
    /// The members of a group.
    Group(String),
}

impl Holder {
    /// The subject of its relationships in the system store.
    #[must_use]
    pub fn subject(&self) -> String {
        match self {
            Holder::Principal(id) => format!("sys/principal:{id}"),
            Holder::Group(id) => format!("sys/group:{id}#member"),
        }
    }

    /// The holder of a relationship in the system store, if its subject is one.
    #[must_use]
    pub fn of(subject: &SubjectRef) -> Option<Holder> {
        let id = subject.object_id().as_str().to_owned();
        match (subject.object_type().as_str(), subject.relation()) {
            ("sys/principal", None) => Some(Holder::Principal(id)),
            ("sys/group", Some(_)) => Some(Holder::Group(id)),
            _ => None,
        }
    }
}

/// A subject that stands for a principal in a store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StandIn {
    /// The store.
    pub store: String,
    /// The subject, such as `agent:7`.
    pub subject: String,
}

/// A name that somebody else proves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum External {
    /// The SPIFFE id in a certificate, such as `spiffe://example.org/build`.
    Spiffe(String),
    /// A DNS name in a certificate.
    Dns(String),
    /// Who a token of an issuer is about.
    Oidc {
        /// The issuer, as its tokens have it.
        issuer: String,
        /// The subject.
        subject: String,
    },
}

impl External {
    /// The id of its relationship to the principal.
    pub(crate) fn alias(&self) -> String {
        match self {
            External::Spiffe(id) => alias(&["spiffe", id]),
            External::Dns(name) => alias(&["dns", &name.to_ascii_lowercase()]),
            External::Oidc { issuer, subject } => alias(&["oidc", issuer, subject]),
        }
    }
}

impl StandIn {
    /// The id of its relationship to the principal: `sys/alias:ID#principal`.
    #[must_use]
    pub fn alias(&self) -> String {
        alias(&["subject", &self.store, &self.subject])
    }
}

/// A digest of some texts that no other texts have.
fn alias(texts: &[&str]) -> String {
    let told_apart: String = texts.iter().map(|text| format!("{}:{text}", text.len())).collect();
    sha256(&told_apart)
}

impl Principal {
    /// The ids of the relationships by which it is found under its other names.
    pub(crate) fn aliases(&self) -> Vec<String> {
        self.external.iter().map(External::alias).chain(self.subjects.iter().map(StandIn::alias)).collect()
    }
}

/// The principal with another name, `None` if there is none.
pub(crate) fn by_alias(system: &System, alias: &str) -> Result<Option<String>, Error> {
    by_alias_at(system, alias, Consistency::FullyConsistent)
}

fn by_alias_at(system: &System, alias: &str, consistency: Consistency) -> Result<Option<String>, Error> {
    let filter = RelationshipFilter {
        resource_type: Some(parsed("sys/alias")?),
        resource_id: Some(parsed(alias)?),
        ..RelationshipFilter::default()
    };
    let mut found = None;
    let mut visit = |relationship: &Relationship| found = Some(relationship.subject.object_id().as_str().to_owned());
    system.read_at(&filter, consistency, &mut visit)?;
    Ok(found)
}

/// The subjects that stand for a principal in a store; none if there is no such principal, or it is retired: they may be another's
/// by now.
///
/// # Errors
/// When the system store cannot be read.
pub fn stand_ins(system: &System, id: &str, store: StoreId) -> Result<Vec<String>, Error> {
    let store = system.store_name(store);
    let principal = system.document::<Principal>(Kind::Principal, id)?;
    let active = principal.into_iter().filter(|principal| !principal.retired);
    let subjects = active.flat_map(|principal| principal.subjects);
    Ok(subjects.filter(|stand_in| *stand_in.store == *store).map(|stand_in| stand_in.subject).collect())
}

/// The principal that a subject of a store stands for, `None` if it is nobody's.
///
/// # Errors
/// When the system store cannot be read.
pub fn behind(system: &System, subject: &SubjectRef, store: StoreId) -> Result<Option<String>, Error> {
    behind_at(system, subject, store, Consistency::FullyConsistent)
}

/// As [`behind`], of another state.
pub(crate) fn behind_at(
    system: &System,
    subject: &SubjectRef,
    store: StoreId,
    consistency: Consistency,
) -> Result<Option<String>, Error> {
    let stand_in = StandIn { store: system.store_name(store).to_string(), subject: subject.to_string() };
    by_alias_at(system, &stand_in.alias(), consistency)
}

/// Whether a principal may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It may.
    Active,
    /// It is cut off until somebody lets it in again.
    Quarantined,
    /// It is done with.
    Retired,
}

/// A principal's state, `None` if there is no such principal.
///
/// # Errors
/// When the system store cannot be read.
pub fn state(system: &System, id: &str) -> Result<Option<State>, Error> {
    let Some(principal) = system.document::<Principal>(Kind::Principal, id)? else { return Ok(None) };
    let mut quarantined = false;
    let filter = RelationshipFilter { resource_id: Some(Kind::Principal.object(id)?.object_id), ..quarantines()? };
    system.read(&filter, &mut |_| quarantined = true)?;
    Ok(Some(match (principal.retired, quarantined) {
        (true, _) => State::Retired,
        (false, true) => State::Quarantined,
        (false, false) => State::Active,
    }))
}

/// Everything that quarantined principals are cut off as at some state, and the revision it is of.
pub(crate) fn cut_off(
    system: &System,
    consistency: Consistency,
) -> Result<(Revision, HashMap<StoreId, Arc<CutOff>>), Error> {
    let mut principals = Vec::new();
    let at = system
        .read_at(&quarantines()?, consistency, &mut |relationship| principals.push(relationship.resource.clone()))?;
    let mut found: HashMap<StoreId, CutOff> = HashMap::new();
    for principal in principals {
        let document = system.document_at::<Principal>(Kind::Principal, principal.object_id.as_str(), consistency)?;
        for StandIn { store, subject } in document.into_iter().flat_map(|document| document.subjects) {
            // A store that is gone has nobody in it.
            if let Some(store) = system.store_id(&store) {
                found.entry(store).or_default().insert(parsed::<ObjectRef>(&subject)?);
            }
        }
        found.entry(StoreId::SYSTEM).or_default().insert(principal);
    }
    Ok((at.revision, found.into_iter().map(|(store, objects)| (store, Arc::new(objects))).collect()))
}

fn quarantines() -> Result<RelationshipFilter, Error> {
    Ok(RelationshipFilter {
        resource_type: Some(parsed("sys/principal")?),
        relation: Some(parsed("quarantined")?),
        ..RelationshipFilter::default()
    })
}
