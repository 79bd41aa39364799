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
use crate::plan::{NodeId, TypeIndex};
use crate::relations::Relations;
use crate::resource_set::ResourceSet;
use flow::Flow;
use network::Network;

/// All resources of a type that `subject` has the relation or permission on, or may have it on. For each the answer is
/// that of [`crate::check()`]; one that has no answer fails the whole lookup.
///
/// # Errors
/// See [`GraphError`].
pub fn lookup_resources(
    evaluation: &Evaluation<'_>,
    resource_type: &ObjectType,
    permission: &RelationName,
    subject: &SubjectRef,
) -> Result<FoundResources, GraphError> {
    let object_type = evaluation.plan.find_type(resource_type)?;
    resources(evaluation, object_type, evaluation.plan.find_node(object_type, permission)?, subject)
}

/// As [`lookup_resources`], but where the schema names what lists the relation or permission, only those that `subject` has both
/// on.
///
/// # Errors
/// See [`GraphError`].
pub fn listed_resources(
    evaluation: &Evaluation<'_>,
    resource_type: &ObjectType,
    permission: &RelationName,
    subject: &SubjectRef,
) -> Result<FoundResources, GraphError> {
    let object_type = evaluation.plan.find_type(resource_type)?;
    resources(evaluation, object_type, evaluation.plan.find_listing(object_type, permission)?, subject)
}

fn resources(
    evaluation: &Evaluation<'_>,
    object_type: TypeIndex,
    node: NodeId,
    subject: &SubjectRef,
) -> Result<FoundResources, GraphError> {
    let plan = evaluation.plan;
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
    Ok(FoundResources { listing, work: checker.work(), changes_at: checker.conditions().changes_at() })
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
