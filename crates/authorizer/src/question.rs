//! What an answer of the engine becomes for whoever asked: nothing for who is cut off, and only what all who act are allowed.

use stonetown_graph::{Answer, Evaluation, Membership, Trace};
use stonetown_tuple::{ObjectRef, RelationName, SubjectRef, Timestamp};

use crate::chain::{Chain, earliest};
use crate::moment::Freshness;
use crate::recording::Recording;
use crate::world::World;
use crate::{Authorizer, Call, Error};

/// One question to the engine, and who asks it.
pub(crate) struct Question<'a> {
    pub(crate) call: &'a Call,
    /// Those who act for the subject.
    pub(crate) chain: &'a Chain,
    pub(crate) world: &'a World,
    pub(crate) evaluation: &'a Evaluation<'a>,
    pub(crate) resource: &'a ObjectRef,
    pub(crate) permission: &'a RelationName,
    pub(crate) subject: &'a SubjectRef,
    /// Of when the world is: who is cut off is a matter of then.
    pub(crate) freshness: Freshness,
    /// Whether it is to be found out until when the answer holds, which costs further checks.
    pub(crate) wants_until: bool,
}

/// The answer as it is given.
pub(crate) struct Concluded {
    pub(crate) answer: Answer,
    /// Why; `None` also where something else than what it tells was decisive.
    pub(crate) trace: Option<Trace>,
    /// Until when a member stays one.
    pub(crate) until: Option<Timestamp>,
    /// Whether the subject is cut off.
    pub(crate) is_cut_off: bool,
    /// Who took the yes to the subject back, in words.
    pub(crate) refused_by: Option<String>,
}

impl Question<'_> {
    /// Until when a subject with that answer stays a member.
    pub(crate) fn until(&self, subject: &SubjectRef, answer: &Answer) -> Option<Timestamp> {
        if self.wants_until { until(self.evaluation, (self.resource, self.permission, subject), answer) } else { None }
    }
}

/// Until when a subject with that answer stays a member.
pub(crate) fn until(
    evaluation: &Evaluation<'_>,
    (resource, permission, subject): (&ObjectRef, &RelationName, &SubjectRef),
    answer: &Answer,
) -> Option<Timestamp> {
    /// Moments that are looked at: each costs a check.
    const STEPS_MAX: usize = 8;
    if answer.membership != Membership::Member {
        return None;
    }
    stonetown_graph::member_until(evaluation, resource, permission, subject, answer, STEPS_MAX)
}

impl Authorizer {
    /// Concludes from what the engine says of the subject, and notes it for the record.
    pub(crate) fn conclude(
        &self,
        question: &Question<'_>,
        mut answer: Answer,
        mut trace: Option<Trace>,
        recording: &mut Recording<'_>,
    ) -> Result<Concluded, Error> {
        let Question { call, world, subject, freshness, .. } = question;
        call.note_work(&answer.work);
        let is_cut_off = self.is_cut_off(call.store, *freshness, world, subject)?;
        if is_cut_off {
            (answer.membership, trace) = (Membership::NotMember, None);
        }
        let own_until = question.until(subject, &answer);
        let through = self.through_chain(question, &mut answer)?;
        recording.decided(&answer.membership, trace.as_ref());
        if let Some(why) = &through.refused_by {
            recording.refused_in_chain(why);
            trace = None;
        }
        if is_cut_off || through.is_cut_off {
            recording.cut_off();
        }
        let until = earliest(own_until, through.until).filter(|_| answer.membership == Membership::Member);
        if let Some(trace) = &mut trace {
            trace.until = until;
        }
        Ok(Concluded { answer, trace, until, is_cut_off, refused_by: through.refused_by })
    }
}
