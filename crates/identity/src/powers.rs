//! What a caller may do, from the relationships of its principal in the system store.
//!
//! A power over a type or relation is held by a relationship on the type or relation itself, or by one on its store, which
//! covers all: `sys/type:STORE|TYPE`, `sys/rel:STORE|TYPE|RELATION` and `sys/store:STORE` are asked.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hashbrown::Equivalent;
use stonetown_authorizer::gate::CutOff;
use stonetown_authorizer::{Act, Acting, Call, Chain, Delegated, Error, Gate, Membership, Quota};
use stonetown_tuple::{CaveatContext, Consistency, ObjectRef, Revision, StoreId, SubjectRef, Timestamp};

use crate::chain;
use crate::memo::Memo;
use crate::principal;
use crate::system::{Changed, Kind, System, parsed};

/// How long a refusal is known at most: a power may begin by the passing of time.
const REFUSED_FOR: Duration = Duration::from_secs(1);

/// The gate of a server with a system store.
pub struct Powers {
    /// The engine holds the gate, and the system store the engine.
    system: Weak<System>,
    changed: Changed,
    memo: Memo<Asked<Box<str>>, Verdict>,
    cut_off: ArcSwapOption<AllCutOff>,
}

/// What is cut off in all stores, at a revision.
struct AllCutOff {
    at: Revision,
    by_store: HashMap<StoreId, Arc<CutOff>>,
}

/// One caller and one act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked<T> {
    store: StoreId,
    caller: T,
    power: Power,
    resource_type: T,
    relation: T,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Power {
    Check,
    Enumerate,
    EnumerateAll,
    Write,
    Revoke,
    RevokeAll,
    ReadSchema,
    WriteSchema,
    Audit,
    Operate,
    OperateServer,
}

#[derive(Debug, Clone, Copy)]
struct Verdict {
    allowed: bool,
    /// Until when, exclusively.
    until: Option<Timestamp>,
}

impl Powers {
    pub(crate) fn new(system: &Arc<System>) -> Powers {
        Powers {
            system: Arc::downgrade(system),
            changed: system.changed().clone(),
            memo: Memo::default(),
            cut_off: ArcSwapOption::empty(),
        }
    }

    fn allows(&self, asked: Asked<&str>) -> Result<bool, Error> {
        if let Some(verdict) = self.memo.get(&asked, self.changed.at()) {
            match verdict.until {
                None => return Ok(verdict.allowed),
                Some(until) if self.system()?.now() < until => return Ok(verdict.allowed),
                Some(_) => {}
            }
        }
        let (at, verdict) = find_out(&*self.system()?, asked)?;
        self.memo.put(asked.owned(), at, verdict);
        Ok(verdict.allowed)
    }

    /// Whether a credential is for where the call is: one for a store is for that store, and not for the server.
    fn is_within_reach(&self, call: &Call, act: Act<'_>) -> Result<bool, Error> {
        let Some(store) = call.caller.bound_to() else { return Ok(true) };
        Ok(act != Act::OperateServer && *self.system()?.store_name(call.store) == *store)
    }

    fn system(&self) -> Result<Arc<System>, Error> {
        self.system.upgrade().ok_or_else(|| Error::Internal("the system store is closed".to_owned()))
    }
}

impl Gate for Powers {
    fn judge(&self, call: &Call, act: Act<'_>) -> Result<(), Error> {
        let (power, resource_type, relation) = match act {
            Act::Check(resource_type) => (Power::Check, resource_type, ""),
            Act::Enumerate(Some(resource_type)) | Act::Lookup { resource_type, .. } => {
                (Power::Enumerate, resource_type, "")
            }
            Act::Enumerate(None) => (Power::EnumerateAll, "", ""),
            Act::Write { resource_type, relation } => (Power::Write, resource_type, relation),
            Act::Revoke { resource_type: Some(resource_type), relation: Some(relation) } => {
                (Power::Revoke, resource_type, relation)
            }
            Act::Revoke { .. } => (Power::RevokeAll, "", ""),
            Act::ReadSchema => (Power::ReadSchema, "", ""),
            Act::WriteSchema => (Power::WriteSchema, "", ""),
            Act::Audit => (Power::Audit, "", ""),
            Act::Operate => (Power::Operate, "", ""),
            Act::OperateServer => (Power::OperateServer, "", ""),
        };
        let asked = Asked { store: call.store, caller: &*call.caller.name, power, resource_type, relation };
        // Nothing of the system store is done or seen through ordinary calls.
        let is_reached = call.store != StoreId::SYSTEM && self.is_within_reach(call, act)?;
        if is_reached && self.allows(asked)? { Ok(()) } else { Err(call.caller.denied(&act)) }
    }

    fn assert_chain(&self, call: &Call, subject: &SubjectRef) -> Result<(), Error> {
        chain::assert(&*self.system()?, call, subject)
    }

    fn proven_chain(&self, call: &Call, subject: &SubjectRef) -> Result<Chain, Error> {
        chain::proven(&*self.system()?, call, subject)
    }

    fn acting(&self, delegated: &Delegated<'_>) -> Result<Acting, Error> {
        chain::acting(&*self.system()?, delegated)
    }

    fn quota(&self, store: StoreId) -> Quota {
        // The default store has none, and is not looked up.
        let system = if store == StoreId::DEFAULT { None } else { self.system.upgrade() };
        system.map(|system| system.quota(store)).unwrap_or_default()
    }

    fn cut_off(&self, store: StoreId, then: Option<Revision>) -> Result<Option<Arc<CutOff>>, Error> {
        if let Some(then) = then {
            let system = self.system()?;
            let (_, mut by_store) = principal::cut_off(&system, Consistency::AtExactSnapshot(system.token(then)))?;
            return Ok(by_store.remove(&store));
        }
        let known = self.cut_off.load();
        if let Some(known) = known.as_ref().filter(|known| known.at >= self.changed.at()) {
            return Ok(known.by_store.get(&store).cloned());
        }
        let (at, by_store) = principal::cut_off(&*self.system()?, Consistency::FullyConsistent)?;
        let found = by_store.get(&store).cloned();
        self.cut_off.store(Some(Arc::new(AllCutOff { at, by_store })));
        Ok(found)
    }
}

fn find_out(system: &System, asked: Asked<&str>) -> Result<(Revision, Verdict), Error> {
    let refused = |at| {
        let until = system.now().checked_add(REFUSED_FOR).ok();
        (at, Verdict { allowed: false, until })
    };
    // A name that no principal can have has no power.
    let Ok(caller) = Kind::Principal.object(asked.caller).map(SubjectRef::object) else {
        return Ok(refused(Revision::default()));
    };
    let mut oldest = None;
    for (object, permission) in questions(system, asked)? {
        let answer = system.ask(&object, permission, &caller, CaveatContext::new())?;
        let at = *oldest.get_or_insert(answer.at.revision);
        if answer.membership == Membership::Member {
            return Ok((at, Verdict { allowed: true, until: answer.until }));
        }
    }
    Ok(refused(oldest.unwrap_or_default()))
}

/// Where a power can come from.
fn questions(system: &System, asked: Asked<&str>) -> Result<Vec<(ObjectRef, &'static str)>, Error> {
    let Asked { store, power, resource_type, relation, .. } = asked;
    let store = system.store_name(store);
    let of_type = || parsed(&format!("sys/type:{store}|{resource_type}"));
    let of_relation = || parsed(&format!("sys/rel:{store}|{resource_type}|{relation}"));
    let (own, everywhere) = match power {
        Power::Check => (Some((of_type()?, "check")), "check_all"),
        Power::Enumerate => (Some((of_type()?, "enumerate")), "enumerate_all"),
        Power::EnumerateAll => (None, "enumerate_all"),
        Power::Write => (Some((of_relation()?, "write")), "write_all"),
        Power::Revoke => (Some((of_relation()?, "revoke")), "revoke_all"),
        Power::RevokeAll => (None, "revoke_all"),
        Power::ReadSchema => (None, "read_schema"),
        Power::WriteSchema => (None, "write_schema"),
        Power::Audit => (None, "audit"),
        Power::Operate => (None, "operate"),
        Power::OperateServer => return Ok(vec![(parsed("sys/root:self")?, "administer")]),
    };
    Ok(own.into_iter().chain([(Kind::Store.object(&store)?, everywhere)]).collect())
}

impl Asked<&str> {
    fn owned(self) -> Asked<Box<str>> {
        let Asked { store, caller, power, resource_type, relation } = self;
        Asked { store, caller: caller.into(), power, resource_type: resource_type.into(), relation: relation.into() }
    }
}

impl<T: AsRef<str>> Hash for Asked<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let texts = [&self.caller, &self.resource_type, &self.relation].map(AsRef::as_ref);
        (self.store, self.power, texts).hash(state);
    }
}

impl Equivalent<Asked<Box<str>>> for Asked<&str> {
    fn equivalent(&self, other: &Asked<Box<str>>) -> bool {
        let Asked { store, caller, power, resource_type, relation } = other;
        *self == Asked { store: *store, caller, power: *power, resource_type, relation }
    }
}
