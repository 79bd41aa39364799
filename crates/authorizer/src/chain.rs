//! Acting for another: a subject asks through others, all of whom have to be allowed as well, at one state and one time. A longer
//! chain never allows more than a shorter one.

use std::sync::Arc;

use stonetown_graph::{Answer, Membership};
use stonetown_tuple::{Revision, StoreId, SubjectId, SubjectRef, Timestamp};

use crate::question::Question;
use crate::{Authorizer, Call, Error};

/// Those who act for one subject at most.
pub const ACTORS_MAX: usize = 8;

/// Who acts for the subject of a question: the first for the subject, each other one for the one before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain(Option<Arc<[SubjectRef]>>);

/// What those who act do, of whom a delegation has to cover it.
#[derive(Debug, Clone, Copy)]
pub struct Delegated<'a> {
    /// The store of the question.
    pub store: StoreId,
    /// For whom the first of them acts.
    pub subject: &'a SubjectRef,
    /// Those who act.
    pub actors: &'a [SubjectRef],
    /// The type of the resource.
    pub resource_type: &'a str,
    /// The permission or relation.
    pub permission: &'a str,
    /// The state that everything is judged at.
    pub at: Revision,
    /// The time that everything is judged at.
    pub now: Timestamp,
}

/// Whether each of those who act may act for the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acting {
    /// The first of whom it does not hold; `None` where it holds of all.
    pub missing: Option<SubjectRef>,
    /// Until when (exclusively) it holds; `None` if nothing ends it.
    pub until: Option<Timestamp>,
}

/// What a chain made of an answer.
pub(crate) struct Through {
    /// Who took the yes back, in words for the record.
    pub(crate) refused_by: Option<String>,
    /// Whether that is because one of those who act is cut off.
    pub(crate) is_cut_off: bool,
    /// Until when all that the subject's own answer does not say holds.
    pub(crate) until: Option<Timestamp>,
}

impl Chain {
    /// A chain of these actors, the nearest to the subject first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for more than [`ACTORS_MAX`], for one who is in it twice, and for what is no single object.
    pub fn new(actors: Vec<SubjectRef>) -> Result<Chain, Error> {
        if actors.len() > ACTORS_MAX {
            return Err(Error::Invalid(format!("a chain has at most {ACTORS_MAX} actors")));
        }
        for (at, actor) in actors.iter().enumerate() {
            if actor.relation().is_some() || !matches!(actor.object_id(), SubjectId::Object(_)) {
                return Err(Error::Invalid(format!("`{actor}` cannot act: a chain is of single objects")));
            }
            if actors[..at].contains(actor) {
                return Err(Error::Invalid(format!("`{actor}` is twice in the chain")));
            }
        }
        Ok(Chain(Some(actors.into()).filter(|actors: &Arc<[SubjectRef]>| !actors.is_empty())))
    }

    /// Those who act, the nearest to the subject first.
    #[must_use]
    pub fn actors(&self) -> &[SubjectRef] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether nobody acts for the subject.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl Authorizer {
    /// The chain of a question: the one that the call names, where the caller may say so, else the one that its proof says.
    pub(crate) fn chain_of(&self, call: &Call, subject: &SubjectRef) -> Result<Chain, Error> {
        let proves = call.caller.proof.as_ref().is_some_and(|proof| !proof.acting_for.is_empty());
        match self.gate.get() {
            _ if call.chain.is_empty() && !proves => Ok(Chain::default()),
            _ if call.chain.actors().contains(subject) => {
                Err(Error::Invalid(format!("`{subject}` cannot act for itself")))
            }
            Some(gate) if call.chain.is_empty() => gate.proven_chain(call, subject),
            Some(gate) => gate.assert_chain(call, subject).map(|()| call.chain.clone()),
            None => Err(Error::Refused("there are no principals here who could act for each other".to_owned())),
        }
    }

    /// Asks what was asked of the subject of all who act for it, and whether each may: takes a yes back that does not hold of all.
    pub(crate) fn through_chain(&self, question: &Question<'_>, answer: &mut Answer) -> Result<Through, Error> {
        let Question { call, chain, world, evaluation, resource, permission, subject, freshness, .. } = question;
        let mut through = Through { refused_by: None, is_cut_off: false, until: None };
        let actors = chain.actors();
        for actor in actors {
            if answer.membership == Membership::NotMember {
                return Ok(through);
            }
            let mut also = stonetown_graph::check(evaluation, resource, permission, actor)?;
            call.note_work(&also.work);
            if also.membership == Membership::NotMember {
                through.refused_by = Some(format!("{actor} is not allowed"));
            }
            if self.is_cut_off(call.store, *freshness, world, actor)? {
                also.membership = Membership::NotMember;
                (through.is_cut_off, through.refused_by) = (true, Some(format!("{actor} is cut off")));
            }
            through.until = earliest(through.until, question.until(actor, &also));
            answer.membership = both(std::mem::replace(&mut answer.membership, Membership::NotMember), also.membership);
        }
        if actors.is_empty() || answer.membership == Membership::NotMember {
            return Ok(through);
        }
        let delegated = Delegated {
            store: call.store,
            subject,
            actors,
            resource_type: resource.object_type.as_str(),
            permission: permission.as_str(),
            at: world.token.revision,
            now: world.now,
        };
        let acting = match self.gate.get() {
            Some(gate) => gate.acting(&delegated)?,
            None => Acting { missing: Some((*subject).clone()), until: None },
        };
        if let Some(missing) = acting.missing {
            answer.membership = Membership::NotMember;
            through.refused_by = Some(format!("{missing} may not act here for the one before"));
        }
        through.until = earliest(through.until, acting.until);
        Ok(through)
    }
}

/// Both have to hold.
fn both(one: Membership, other: Membership) -> Membership {
    match (one, other) {
        (Membership::NotMember, _) | (_, Membership::NotMember) => Membership::NotMember,
        (Membership::Conditional(mut one), Membership::Conditional(other)) => {
            one.extend(other);
            Membership::Conditional(one)
        }
        (Membership::Conditional(missing), _) | (_, Membership::Conditional(missing)) => {
            Membership::Conditional(missing)
        }
        (Membership::Member, Membership::Member) => Membership::Member,
    }
}

/// The earlier of two ends, where `None` is none.
pub(crate) fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_of_few_single_objects_each_once() {
        let chain = |actors: &[&str]| Chain::new(actors.iter().map(|actor| actor.parse().unwrap()).collect());
        assert!(chain(&[]).unwrap().is_empty());
        let names: Vec<String> = (0..9).map(|number| format!("agent:{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(chain(&names[..8]).unwrap().actors().len(), ACTORS_MAX);
        for wrong in [&names[..], &["agent:1", "agent:2", "agent:1"], &["agent:*"], &["team:a#member"]] {
            assert!(matches!(chain(wrong), Err(Error::Invalid(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_yes_takes_all() {
        let conditional = |name: &str| Membership::Conditional([name.to_owned()].into());
        assert_eq!(both(Membership::Member, Membership::Member), Membership::Member);
        assert_eq!(both(Membership::Member, conditional("a")), conditional("a"));
        assert_eq!(both(conditional("a"), Membership::NotMember), Membership::NotMember);
        let merged = both(conditional("a"), conditional("b"));
        assert_eq!(merged, Membership::Conditional(["a".to_owned(), "b".to_owned()].into()));
    }
}
