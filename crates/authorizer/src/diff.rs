//! What another schema would change.

use std::sync::Arc;

use stonetown_graph::Plan;
use stonetown_schema::{CompileOptions, Difference, RelationChange, Schema, diff};
use stonetown_tuple::{Consistency, ZedToken};

use crate::admission::Weight;
use crate::gate::Act;
use crate::recording::Asked;
use crate::{Authorizer, Call, Error};

/// Two schemas to compare.
#[derive(Debug)]
pub struct DiffAnswer {
    /// The revision that the schema in force was read at.
    pub at: ZedToken,
    in_force: Arc<Plan>,
    comparison: Schema,
}

impl DiffAnswer {
    /// What the comparison schema would change of the one in force.
    #[must_use]
    pub fn differences(&self) -> Vec<Difference<'_>> {
        diff(self.in_force.schema(), &self.comparison)
    }
}

impl Authorizer {
    /// Compares a schema with the one in force. Where none was written, everything is new.
    ///
    /// # Errors
    /// [`Error::Schema`] when the comparison schema does not compile, [`Error::WorkLimit`] when the answer would be larger
    /// than [`crate::Limits::diff_types_max`] allows, and see [`Error`].
    pub fn diff_schema(&self, call: &Call, consistency: Consistency, comparison: &str) -> Result<DiffAnswer, Error> {
        self.recorded(call, Asked::of("diff_schema"), |recording| {
            let _permit = self.admit(call, Weight::Heavy, &[Act::ReadSchema])?;
            let comparison = Schema::compile(comparison, &CompileOptions::default()).map_err(Error::Schema)?;
            call.check_alive()?;
            let world = self.world(call, consistency)?;
            recording.see(&world);
            let answer = DiffAnswer { at: world.token, in_force: world.plan, comparison };
            let max = self.options.limits.diff_types_max;
            if answer.differences().iter().map(types_of).sum::<u64>() > max {
                return Err(Error::WorkLimit { limit: "diff_types_max", max });
            }
            Ok(answer)
        })
    }
}

/// How many types a change of one type comes with: all of its relation.
fn types_of(difference: &Difference<'_>) -> u64 {
    match difference {
        Difference::Relation(_, relation, RelationChange::TypeAdded(_) | RelationChange::TypeRemoved(_)) => {
            relation.allowed.len() as u64
        }
        _ => 0,
    }
}
