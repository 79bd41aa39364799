//! Who asks, and what that was proved by.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use stonetown_tuple::{RelationshipFilter, Timestamp};

use crate::Error;
use crate::gate::Act;

/// The name of the server as a caller.
const OWN_NAME: &str = "stonetown";

/// Who asks. Authentication makes it; the calls only carry it along. Callers of one name are one caller, whatever proved it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// How the caller is told apart in limits and records, such as `key-1`: the id of its principal. Never a secret.
    pub name: Arc<str>,
    /// What proved it; `None` for those that nobody had to prove.
    pub proof: Option<Arc<Proof>>,
    /// Whether it is the server itself, which no gate judges.
    internal: bool,
}

/// What proved who calls.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Proof {
    /// Which credential, for records: the id of one of the server's own, else a word for what it was. Never a secret.
    pub credential: Arc<str>,
    /// What the credential is narrowed to; `None` for all that its principal may do.
    pub scope: Option<Scope>,
    /// When it ends, exclusively; `None` for as long as it is known.
    pub expires_at: Option<Timestamp>,
    /// The one store that it is for; `None` for every store.
    pub store: Option<Arc<str>>,
    /// The principals that the caller acts for, as a token proves: who it is about first, the caller itself not among them.
    pub acting_for: Vec<Arc<str>>,
    /// The claims of a token that somebody else issued.
    pub claims: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What a credential is narrowed to: alternatives, one of which has to cover what is asked. It never adds to what the
/// principal may do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope(pub Vec<Narrowing>);

/// One alternative of a [`Scope`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrowing {
    /// The type of the resources.
    pub resource_type: String,
    /// Permissions and relations; none for all.
    pub permissions: Vec<String>,
    /// The ids of the resources; none for all.
    pub resource_ids: Vec<String>,
}

impl Caller {
    /// A caller of that name, with nothing known of its proof.
    #[must_use]
    pub fn named(name: &str) -> Caller {
        Caller { name: name.into(), proof: None, internal: false }
    }

    /// A caller of that name, as authentication has it.
    #[must_use]
    pub fn proved(name: &str, proof: Proof) -> Caller {
        Caller { name: name.into(), proof: Some(Arc::new(proof)), internal: false }
    }

    /// The server itself: what it asks on nobody's behalf is not judged by the gate. Never made from anything that a request
    /// holds.
    #[must_use]
    pub fn internal() -> Caller {
        Caller { name: OWN_NAME.into(), proof: None, internal: true }
    }

    /// The server itself on behalf of a caller that it has judged: what it does is put down to that caller.
    #[must_use]
    pub fn on_behalf_of(caller: &Caller) -> Caller {
        Caller { internal: true, ..caller.clone() }
    }

    /// Whether it is the server itself.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.internal
    }

    /// Whether it is the server itself, on nobody's behalf.
    pub(crate) fn is_itself(&self) -> bool {
        self.internal && *self.name == *OWN_NAME
    }

    /// What the caller's credential is narrowed to, where it is.
    #[must_use]
    pub fn scope(&self) -> Option<&Scope> {
        self.proof.as_ref().filter(|_| !self.internal)?.scope.as_ref()
    }

    /// The one store that the caller's credential is for, where it is for one.
    #[must_use]
    pub fn bound_to(&self) -> Option<&str> {
        self.proof.as_ref().filter(|_| !self.internal)?.store.as_deref()
    }

    /// Whether the caller's credential is for less than its principal may do.
    #[must_use]
    pub fn is_narrowed(&self) -> bool {
        self.scope().is_some() || self.bound_to().is_some()
    }

    /// Refuses what the caller's credential does not cover: a permission or relation of one resource.
    ///
    /// # Errors
    /// [`Error::Denied`].
    pub fn within_scope(&self, resource_type: &str, permission: &str, resource_id: &str) -> Result<(), Error> {
        match self.scope() {
            Some(scope) if !scope.covers(resource_type, permission, resource_id) => {
                Err(self.denied(&format!("use `{resource_type}#{permission}` of that resource with this credential")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a deletion by filter of what the caller's credential does not cover.
    pub(crate) fn within_scope_of_filter(&self, filter: &RelationshipFilter) -> Result<(), Error> {
        let Some(scope) = self.scope() else { return Ok(()) };
        let asked = Narrowing {
            resource_type: filter.resource_type.as_ref().map(ToString::to_string).unwrap_or_default(),
            permissions: filter.relation.iter().map(ToString::to_string).collect(),
            resource_ids: filter.resource_id.iter().map(ToString::to_string).collect(),
        };
        if scope.contains(&Scope(vec![asked])) {
            return Ok(());
        }
        Err(self.denied(&"delete what that filter matches with this credential"))
    }

    /// The refusal of an act.
    #[must_use]
    pub fn denied(&self, act: &dyn std::fmt::Display) -> Error {
        Error::Denied { caller: Arc::clone(&self.name), act: act.to_string() }
    }
}

impl Scope {
    /// Whether it covers a permission or relation of one resource.
    #[must_use]
    pub fn covers(&self, resource_type: &str, permission: &str, resource_id: &str) -> bool {
        let is_in = |names: &[String], name: &str| names.is_empty() || names.iter().any(|found| found == name);
        self.of_type(resource_type)
            .any(|entry| is_in(&entry.permissions, permission) && is_in(&entry.resource_ids, resource_id))
    }

    /// Whether an act can be within it at all. Acts on single resources are looked at once more, with the resource: see
    /// [`Caller::within_scope`]. What shows or changes more than single resources needs an alternative without bounds.
    #[must_use]
    pub(crate) fn allows(&self, act: Act<'_>) -> bool {
        let whole = |entry: &Narrowing| entry.permissions.is_empty() && entry.resource_ids.is_empty();
        match act {
            Act::Check(resource_type) => self.of_type(resource_type).next().is_some(),
            Act::Enumerate(Some(resource_type)) | Act::Lookup { resource_type, .. } => {
                self.of_type(resource_type).any(whole)
            }
            Act::Write { resource_type, .. } => self.of_type(resource_type).next().is_some(),
            Act::Revoke { resource_type: Some(resource_type), .. } => self.of_type(resource_type).next().is_some(),
            Act::Enumerate(None) | Act::Revoke { resource_type: None, .. } => false,
            Act::ReadSchema | Act::WriteSchema | Act::Audit | Act::Operate | Act::OperateServer => false,
        }
    }

    /// Whether everything that `other` covers is within this, so that `other` may be made from it.
    #[must_use]
    pub fn contains(&self, other: &Scope) -> bool {
        let within = |wide: &[String], narrow: &[String]| {
            wide.is_empty() || (!narrow.is_empty() && narrow.iter().all(|name| wide.contains(name)))
        };
        other.0.iter().all(|narrow| {
            self.of_type(&narrow.resource_type).any(|wide| {
                within(&wide.permissions, &narrow.permissions) && within(&wide.resource_ids, &narrow.resource_ids)
            })
        })
    }

    fn of_type<'a>(&'a self, resource_type: &'a str) -> impl Iterator<Item = &'a Narrowing> {
        self.0.iter().filter(move |entry| entry.resource_type == resource_type)
    }
}

impl PartialEq for Caller {
    fn eq(&self, other: &Caller) -> bool {
        (&self.name, self.internal) == (&other.name, other.internal)
    }
}

impl Eq for Caller {}

impl Hash for Caller {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.name, self.internal).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(resource_type: &str, permissions: &[&str], resource_ids: &[&str]) -> Narrowing {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (permissions, resource_ids) = (owned(permissions), owned(resource_ids));
        Narrowing { resource_type: resource_type.to_owned(), permissions, resource_ids }
    }

    #[test]
    fn a_scope_covers_what_one_of_its_alternatives_does() {
        let scope = Scope(vec![entry("doc", &["view"], &["a"]), entry("folder", &[], &[])]);
        assert!(scope.covers("doc", "view", "a") && scope.covers("folder", "edit", "x"));
        assert!(!scope.covers("doc", "edit", "a") && !scope.covers("doc", "view", "b"));
        assert!(!scope.covers("user", "view", "a") && !Scope::default().covers("doc", "view", "a"));
        assert!(scope.allows(Act::Enumerate(Some("folder"))) && !scope.allows(Act::Enumerate(Some("doc"))));
        assert!(!scope.allows(Act::Enumerate(None)) && !scope.allows(Act::Operate));
    }

    #[test]
    fn a_scope_contains_only_what_is_narrower() {
        let wide = Scope(vec![entry("doc", &["view", "edit"], &[])]);
        assert!(wide.contains(&wide) && wide.contains(&Scope(vec![entry("doc", &["view"], &["a"])])));
        for other in [entry("doc", &[], &[]), entry("doc", &["delete"], &[]), entry("folder", &["view"], &[])] {
            assert!(!wide.contains(&Scope(vec![other])));
        }
        let one = Scope(vec![entry("doc", &[], &["a"])]);
        assert!(!one.contains(&Scope(vec![entry("doc", &[], &[])])));
    }

    #[test]
    fn the_server_itself_has_no_scope() {
        let proof = Proof { scope: Some(Scope::default()), ..Proof::default() };
        let caller = Caller::proved("agent", proof);
        assert!(caller.within_scope("doc", "view", "a").is_err());
        assert!(Caller::on_behalf_of(&caller).within_scope("doc", "view", "a").is_ok());
        assert!(Caller::named("agent").within_scope("doc", "view", "a").is_ok());
    }
}
