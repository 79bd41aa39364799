//! "Who stands behind this permission?" as a tree (Zanzibar §2.4.5): usersets stay leaves, arrows are followed.

use stonetown_graph::ExpandTree;
use stonetown_tuple::{CaveatContext, Consistency, ObjectRef, RelationName, ZedToken};

use crate::admission::Weight;
use crate::gate::Act;
use crate::recording::Asked;
use crate::{Authorizer, Call, Error};

/// Which tree is asked for.
#[derive(Debug, Clone)]
pub struct ExpandRequest {
    /// How fresh the answer must be.
    pub consistency: Consistency,
    /// The resource.
    pub resource: ObjectRef,
    /// A permission or relation of its type.
    pub permission: RelationName,
}

impl Authorizer {
    /// Expands a permission one level of usersets deep.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn expand(&self, call: &Call, request: &ExpandRequest) -> Result<(ZedToken, ExpandTree), Error> {
        let asked = Asked::of("expand").resource(&request.resource).permission(&request.permission);
        self.recorded(call, asked, |recording| {
            let _permit =
                self.admit(call, Weight::Heavy, &[Act::Enumerate(Some(request.resource.object_type.as_ref()))])?;
            let world = self.world(call, request.consistency)?;
            recording.see(&world);
            let context = CaveatContext::new();
            let evaluation = world.evaluation(call, &context, None, &self.options.limits.graph)?;
            let tree = stonetown_graph::expand(&evaluation, &request.resource, &request.permission)?;
            Ok((world.token, tree))
        })
    }
}
