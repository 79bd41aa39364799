//! On which resources of a type does this subject have that permission?
//!
//! The walk goes upwards from the subject, a set at a time, through the relations and arrows that lead to the permission
//! ([`network`], [`flow`]). What reachability proves is certain. What lies behind a condition or an `all`, or behind an
//! operator of which only one side was worth computing, is checked one by one.

mod flow;
mod network;
use roaring::RoaringBitmap;
use stonetown_storage::Ordinal;
use stonetown_tuple::{ObjectType, RelationName, SubjectRef};

use crate::check::Checker;
use crate::error::GraphError;
use crate::evaluation::Evaluation;
use crate::fault::{PlantedFault, planted};
use crate::found::{FoundResources, Listing, insert};
use crate::limits::Meter;
use crate::membership::Membership;
use crate::plan::NodeId;
use crate::relations::Relations;
use crate::resource_set::ResourceSet;
use flow::Flow;
use network::Network;

/// All resources of a type that `subject` has the relation or permission on, or may have it on. For each the answer is
/// that of [`crate::check()`], and where the schema names what lists it, what both answers come to; one that has no answer fails
/// the whole lookup.
///
/// # Errors
/// See [`GraphError`].
pub fn lookup_resources(
    evaluation: &Evaluation<'_>,
    resource_type: &ObjectType,
    permission: &RelationName,
    subject: &SubjectRef,
) -> Result<FoundResources, GraphError> {
    let plan = evaluation.plan;
    let object_type = plan.find_type(resource_type)?;
    let node = plan.find_listing(object_type, permission)?;
    let mut relations = Relations::new(evaluation);
    let (class, object) = relations.subject(subject)?;
    let meter = Meter::for_lookup(evaluation.limits, evaluation.deadline, evaluation.cancel);
    let mut checker = Checker::new(evaluation, relations, class, object).with_meter(meter);
    checker.meter().edges_seen(1)?;
    let mut set = ResourceSet::default();
    if plan.can_hold(node, class) {
        let (network, root) = Network::new(plan, (class, object), node);
        set = Flow::new(&mut checker, &network).fill(root)?;
    }
    let parts = decide(&mut checker, node, set)?;
    let listing = Listing::new(plan, checker.relations(), object_type, parts)?;
    Ok(FoundResources { listing, work: checker.work() })
}

/// Checks what is doubtful.
fn decide(
    checker: &mut Checker<'_>,
    node: NodeId,
    set: ResourceSet,
) -> Result<Vec<(Membership, RoaringBitmap)>, GraphError> {
    let mut parts = vec![(Membership::Member, set.certain)];
    for resource in set.doubtful {
        let value = checker.member(node, Ordinal(resource))?;
        let membership = checker.membership(&value)?;
        match if planted(PlantedFault::DoubtTakenForCertainty) { Membership::Member } else { membership } {
            Membership::NotMember => {}
            membership => insert(&mut parts, membership, resource),
        }
    }
    Ok(parts)
}
