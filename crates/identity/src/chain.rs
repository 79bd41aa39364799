//! Who acts for whom. That `A` may act for `P` is the relationship `sys/principal:P#delegate@sys/principal:A` in the system store,
//! with the types and permissions that it covers; who a chain names are subjects of a store, and the principals that they stand for
//! are looked up in it. RFC 8693 calls the ones who act *actors*, and has them in a token's claim `act`.

use stonetown_authorizer::moment::Freshness;
use stonetown_authorizer::{Acting, Call, Chain, Delegated, Error, Membership};
use stonetown_tuple::{CaveatContext, Consistency, StoreId, SubjectRef};

use crate::principal::{behind_at, stand_ins};
use crate::system::{Kind, System};

/// Lets the last of those who act say so, and who holds `chain_asserter` on the store.
pub(crate) fn assert(system: &System, call: &Call, subject: &SubjectRef) -> Result<(), Error> {
    let caller = &*call.caller.name;
    let last = call.chain.actors().last();
    let stands_for = last.map(|last| behind_at(system, last, call.store, Consistency::FullyConsistent)).transpose()?;
    if stands_for.flatten().as_deref() == Some(caller) {
        return Ok(());
    }
    let store = Kind::Store.object(&system.store_name(call.store))?;
    let principal = Kind::Principal.object(caller).map(SubjectRef::object);
    if call.caller.scope().is_none()
        && let Ok(principal) = principal
        && system.holds(&store, "assert_chain", &principal, CaveatContext::new())?
    {
        return Ok(());
    }
    Err(call.caller.denied(&format!("say who acts for `{subject}`")))
}

/// Whether each may act for the one before, at one state and one time.
pub(crate) fn acting(system: &System, delegated: &Delegated<'_>) -> Result<Acting, Error> {
    let state = Consistency::AtExactSnapshot(system.token(delegated.at));
    let freshness = Freshness::Exactly(delegated.at, delegated.now);
    let behind = |subject: &SubjectRef| behind_at(system, subject, delegated.store, state);
    let mut until = None;
    let mut before = behind(delegated.subject)?;
    for actor in delegated.actors {
        let missing = || Ok(Acting { missing: Some(actor.clone()), until: None });
        let (Some(principal), Some(acts)) = (before, behind(actor)?) else { return missing() };
        // Only the question fills these in: no caller's context comes here.
        let context = CaveatContext::from_iter([
            ("type".to_owned(), delegated.resource_type.into()),
            ("perm".to_owned(), delegated.permission.into()),
        ]);
        let (object, acts_as) = (Kind::Principal.object(&principal)?, Kind::Principal.object(&acts)?);
        let answer = system.ask_at(&object, "act_as", &SubjectRef::object(acts_as), context, freshness)?;
        if answer.membership != Membership::Member {
            return missing();
        }
        until = until.into_iter().chain(answer.until).min();
        before = Some(acts);
    }
    Ok(Acting { missing: None, until })
}

/// The chain that the caller's token proves for a subject: that of a token about the principal that the subject stands for, in which
/// others act. Empty where the token proves none.
pub(crate) fn proven(system: &System, call: &Call, subject: &SubjectRef) -> Result<Chain, Error> {
    let Some(proof) = call.caller.proof.as_ref().filter(|proof| !proof.acting_for.is_empty()) else {
        return Ok(Chain::default());
    };
    let behind = behind_at(system, subject, call.store, Consistency::FullyConsistent)?;
    if behind.as_deref() != proof.acting_for.first().map(AsRef::as_ref) {
        return Ok(Chain::default());
    }
    let actors = proof.acting_for.iter().skip(1).chain([&call.caller.name]);
    let actors = actors.map(|principal| only_stand_in(system, principal, call.store)).collect::<Result<_, _>>()?;
    Chain::new(actors)
}

/// The subject that stands for a principal, which a chain has to name.
fn only_stand_in(system: &System, principal: &str, store: StoreId) -> Result<SubjectRef, Error> {
    let refused =
        |why: &str| Error::Refused(format!("the token says that `{principal}` acts, and {why} stands for it"));
    match stand_ins(system, principal, store)?.as_slice() {
        [subject] => subject.parse().map_err(|_| Error::Internal(format!("`{subject}` is no subject"))),
        [] => Err(refused("no subject of this store")),
        _ => Err(refused("more than one subject")),
    }
}
