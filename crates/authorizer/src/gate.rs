//! What a caller is about to do, and whoever judges whether it may: asked once at the start of every call, before anything is
//! read, so that a refusal says nothing about what there is.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stonetown_graph::Plan;
use stonetown_tuple::{ObjectRef, RelationshipFilter, Revision, StoreId, SubjectId, SubjectRef};

use crate::admission::{Permit, Weight};
use crate::moment::Freshness;
use crate::world::World;
use crate::{Acting, Authorizer, Call, Chain, Delegated, Error};

/// One power that a call needs. Types and relations are as the caller wrote them: there may be none of that name. A call that
/// names none at all, such as a write of nothing, takes the power over every one: see [`Act::CHECK_ALL`], [`Act::WRITE_ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act<'a> {
    /// To ask about single resources of a type.
    Check(&'a str),
    /// To see which resources, subjects or relationships of a type there are; `None` for every type. For a guarded type, and one
    /// that leads to it, what there is of every type.
    Enumerate(Option<&'a str>),
    /// To have what a lookup of a permission or relation lists. Of a guarded type, only what the schema lists.
    Lookup {
        /// The type of the resources.
        resource_type: &'a str,
        /// The permission or relation.
        permission: &'a str,
    },
    /// To write relationships of a type's relation.
    Write {
        /// The type.
        resource_type: &'a str,
        /// The relation.
        relation: &'a str,
    },
    /// To delete relationships of a type's relation; `None` for every one.
    Revoke {
        /// The type.
        resource_type: Option<&'a str>,
        /// The relation.
        relation: Option<&'a str>,
    },
    /// To read the schema.
    ReadSchema,
    /// To replace the schema.
    WriteSchema,
    /// To read the logs of decisions and of changes.
    Audit,
    /// To look after the store: its counters.
    Operate,
    /// To look after the whole server: copies, scrubs.
    OperateServer,
}

/// How much a store may hold and ask; 0 where nothing bounds it but the server itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Relationships. What is written at the same moment may go beyond it.
    #[serde(default)]
    pub relationships_max: u64,
    /// Bytes of the schema.
    #[serde(default)]
    pub schema_bytes_max: u64,
    /// Calls that run at the same time.
    #[serde(default)]
    pub calls_max: u32,
}

/// Judges callers. Must be quick: every call asks it.
pub trait Gate: Send + Sync {
    /// Lets a call go on that may do `act` in its store.
    ///
    /// # Errors
    /// [`Error::Denied`] when it may not, and whatever stands in the way of knowing: no error is a yes.
    fn judge(&self, call: &Call, act: Act<'_>) -> Result<(), Error>;

    /// Objects of a store that are cut off now, or were at a revision that has passed: no question of that time about one of them as
    /// subject is answered by yes, whatever revision it is put to. `None` when there are none.
    ///
    /// # Errors
    /// When it cannot be known.
    fn cut_off(&self, store: StoreId, then: Option<Revision>) -> Result<Option<Arc<CutOff>>, Error> {
        let _ = (store, then);
        Ok(None)
    }

    /// Lets a call name those who act for `subject` in its chain: who is the last of them, or may say such a thing.
    ///
    /// # Errors
    /// [`Error::Denied`], and whatever stands in the way of knowing.
    fn assert_chain(&self, call: &Call, subject: &SubjectRef) -> Result<(), Error> {
        let _ = subject;
        Err(call.caller.denied(&"say who acts for whom"))
    }

    /// The chain that the caller's proof itself says for a subject; empty where it says none.
    ///
    /// # Errors
    /// When it cannot be known.
    fn proven_chain(&self, call: &Call, subject: &SubjectRef) -> Result<Chain, Error> {
        let _ = (call, subject);
        Ok(Chain::default())
    }

    /// Whether each of a chain may act for the one before it, at one state and one time.
    ///
    /// # Errors
    /// When it cannot be known.
    fn acting(&self, delegated: &Delegated<'_>) -> Result<Acting, Error> {
        Ok(Acting { missing: Some(delegated.subject.clone()), until: None })
    }

    /// How much a store may hold and ask.
    fn quota(&self, store: StoreId) -> Quota {
        let _ = store;
        Quota::default()
    }
}

/// Objects that are cut off, each as a subject itself and not as a group of others.
pub type CutOff = HashSet<ObjectRef>;

impl Authorizer {
    /// Has every later call judged. Without a gate whoever holds this value may do everything, as a program that embeds it.
    ///
    /// # Errors
    /// Gives the gate back when there is one already.
    pub fn set_gate(&self, gate: Arc<dyn Gate>) -> Result<(), Arc<dyn Gate>> {
        self.gate.set(gate)
    }

    /// Lets a call in that may do all of `acts`, while there is room for it.
    pub(crate) fn admit(&self, call: &Call, weight: Weight, acts: &[Act<'_>]) -> Result<Permit, Error> {
        if !call.chain.is_empty() {
            return Err(Error::Invalid("only checks take a chain of those who act for another".to_owned()));
        }
        self.admit_with_chain(call, weight, acts)
    }

    /// As [`Authorizer::admit`], for the calls that ask everybody in the chain.
    pub(crate) fn admit_with_chain(&self, call: &Call, weight: Weight, acts: &[Act<'_>]) -> Result<Permit, Error> {
        acts.iter().try_for_each(|act| self.judge(call, *act))?;
        self.admission.admit(&call.caller, weight, (call.store, self.quota(call.store).calls_max))
    }

    /// Lets a call in that another part of the server judges, for as long as the permit lives.
    ///
    /// # Errors
    /// [`Error::TooManyCalls`], [`Error::MemoryPressure`] or [`Error::AboveQuota`], all worth a retry, later; [`Error::Invalid`] with a
    /// chain.
    pub fn let_in(&self, call: &Call, weight: Weight) -> Result<Permit, Error> {
        self.admit(call, weight, &[])
    }

    /// How much a store may hold and ask.
    pub(crate) fn quota(&self, store: StoreId) -> Quota {
        self.gate.get().map(|gate| gate.quota(store)).unwrap_or_default()
    }

    /// Refuses to write `more` relationships into a store that would hold more than it may then.
    pub(crate) fn within_quota(&self, store: StoreId, more: usize) -> Result<(), Error> {
        let Quota { relationships_max: limit, .. } = self.quota(store);
        if limit > 0 && more > 0 && self.relationships_in(store)?.saturating_add(more as u64) > limit {
            return Err(Error::AboveQuota { what: "relationships", limit });
        }
        Ok(())
    }

    /// Asks the gate whether a caller may do something, for calls that are built on others.
    ///
    /// # Errors
    /// As [`Gate::judge`].
    pub fn judge(&self, call: &Call, act: Act<'_>) -> Result<(), Error> {
        let Some(gate) = self.gate.get().filter(|_| !call.caller.is_internal()) else { return Ok(()) };
        let judge = |act| match call.caller.scope() {
            Some(scope) if !scope.allows(act) => Err(call.caller.denied(&act)),
            _ => gate.judge(call, act),
        };
        judge(act)?;
        let Some(of) = self.shows_guarded(call.store, act)? else { return Ok(()) };
        judge(Act::Enumerate(None)).map_err(|error| match error {
            Error::Denied { caller, act } => {
                let act = format!("{act}, which `{of}` takes: it, or what it leads to, is guarded by `enumerate_as`");
                Error::Denied { caller, act }
            }
            other => other,
        })
    }

    /// The type of an act that tells of objects of a guarded type what the schema of now does not list.
    fn shows_guarded<'a>(&self, store: StoreId, act: Act<'a>) -> Result<Option<&'a str>, Error> {
        Ok(match act {
            Act::Enumerate(Some(of)) => self.plan_now(store)?.leads_to_guarded(of).then_some(of),
            Act::Lookup { resource_type, permission } => {
                let plan = self.plan_now(store)?;
                let definition = plan.schema().definition(resource_type);
                definition.filter(|definition| !definition.is_listable(permission)).map(|_| resource_type)
            }
            _ => None,
        })
    }

    /// Asks the gate once more about a lookup, in a world whose schema may be an earlier one, which listed more.
    pub(crate) fn judge_lookup(
        &self,
        call: &Call,
        world: &World,
        resource_type: &str,
        permission: &str,
    ) -> Result<(), Error> {
        let lister =
            |plan: &Plan| plan.schema().definition(resource_type).and_then(|it| it.lister(permission).cloned());
        let now = lister(world.newest());
        if now.is_some() && now != lister(&world.plan) { self.judge(call, Act::Enumerate(None)) } else { Ok(()) }
    }

    /// What is cut off in a store for a question about that world, asked of so fresh a state: a question about the past is answered
    /// as it was then. What was cut off when a decision was made is not known from the state that it was made by.
    pub(crate) fn cut_off(
        &self,
        store: StoreId,
        freshness: Freshness,
        world: &World,
    ) -> Result<Option<Arc<CutOff>>, Error> {
        let Some(gate) = self.gate.get() else { return Ok(None) };
        match freshness {
            Freshness::Of(_) => gate.cut_off(store, None),
            Freshness::At(_) => gate.cut_off(store, Some(world.token.revision)),
            Freshness::Exactly(..) => Ok(None),
        }
    }

    /// Whether a subject is cut off; see [`Authorizer::cut_off`].
    pub(crate) fn is_cut_off(
        &self,
        store: StoreId,
        freshness: Freshness,
        world: &World,
        subject: &SubjectRef,
    ) -> Result<bool, Error> {
        Ok(self.cut_off(store, freshness, world)?.is_some_and(|cut_off| names(&cut_off, subject)))
    }
}

/// Whether a subject is one of the objects that are cut off.
pub(crate) fn names(cut_off: &CutOff, subject: &SubjectRef) -> bool {
    match subject.object_id() {
        SubjectId::Object(id) if subject.relation().is_none() => {
            cut_off.contains(&ObjectRef { object_type: subject.object_type().clone(), object_id: id.clone() })
        }
        _ => false,
    }
}

/// What it takes to see what matches a filter. One that names no resource type asks for every type.
pub(crate) fn enumerating(filter: &RelationshipFilter) -> Act<'_> {
    Act::Enumerate(filter.resource_type.as_ref().map(AsRef::as_ref))
}

impl Act<'_> {
    /// To ask about resources of every type.
    pub const CHECK_ALL: Act<'static> = Act::Check("");
    /// To write relationships of every relation.
    pub const WRITE_ALL: Act<'static> = Act::Write { resource_type: "", relation: "" };
}

impl std::fmt::Display for Act<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let any = |name: &Option<&str>| name.unwrap_or("*").to_owned();
        match self {
            Act::Check("") => f.write_str("check permissions on every type"),
            Act::Check(resource_type) => write!(f, "check permissions on `{resource_type}`"),
            Act::Enumerate(None) => f.write_str("list what there is of every type"),
            Act::Enumerate(Some(resource_type)) | Act::Lookup { resource_type, .. } => {
                write!(f, "list what there is of `{resource_type}`")
            }
            Act::Write { resource_type: "", .. } => f.write_str("write relationships of every relation"),
            Act::Write { resource_type, relation } => write!(f, "write relationships of `{resource_type}#{relation}`"),
            Act::Revoke { resource_type: None, relation: None } => {
                f.write_str("delete relationships of every relation")
            }
            Act::Revoke { resource_type, relation } => {
                write!(f, "delete relationships of `{}#{}`", any(resource_type), any(relation))
            }
            Act::ReadSchema => f.write_str("read the schema"),
            Act::WriteSchema => f.write_str("write the schema"),
            Act::Audit => f.write_str("read the audit logs"),
            Act::Operate => f.write_str("operate the store"),
            Act::OperateServer => f.write_str("operate the server"),
        }
    }
}
