//! Answers questions about who may do what: check, explain, expand, lookup of resources and of subjects.
//!
//! A schema is compiled onto the tables of a store ([`Plan`]); relationships come from a snapshot or from the same in
//! memory ([`Index`]), perhaps with some that hold for one question only ([`Overlay`]). A question is one function call
//! over integers: it does no I/O but reading the snapshot, reads no clock but for its deadline, and ends in an answer or
//! in an error, never in a guess ([`GraphError`]).
//!
//! Reading order: [`membership`], [`plan`], [`edges`], [`relations`], [`conditions`], then the questions: [`check()`],
//! [`explain()`], [`expand()`], [`lookup_resources()`], [`lookup_subjects()`]; then [`sets`],
//! which tells how answers change; and [`index`], which none of them depends on for being right.

mod attributes;
mod check;
pub mod conditions;
pub mod edges;
mod error;
mod evaluation;
mod expand;
mod explain;
mod fault;
mod found;
pub mod index;
mod limits;
mod lookup_resources;
mod lookup_subjects;
pub mod membership;
mod named;
mod overlay;
pub mod plan;
mod reasons;
pub mod reference;
pub mod relations;
mod resource_set;
pub mod sets;
mod subject_set;
#[cfg(test)]
mod testing;

pub use attributes::attribute_table;
pub use check::{Answer, check, member_until};
pub use error::GraphError;
pub use evaluation::{Evaluation, Given, Work};
pub use expand::{ExpandNode, ExpandOperation, ExpandTree, expand};
pub use explain::{CaveatResult, CaveatTrace, Trace, explain};
#[cfg(feature = "planted-faults")]
pub use fault::{PlantedFault, plant};
pub use found::{ExcludedSubject, FoundResource, FoundResources, FoundSubject, FoundSubjects, Position};
pub use index::{Index, IndexOptions, IndexStats, IndexView};
pub use limits::{Limits, Meter};
pub use lookup_resources::{listed_resources, lookup_resources};
pub use lookup_subjects::{listed_subjects, lookup_subjects};
pub use membership::{Membership, Value};
pub use named::{NamedSubject, NamedSubjects, named_subjects};
pub use overlay::{OVERLAY_RELATIONSHIPS_MAX, Overlay};
pub use plan::Plan;
pub use reasons::{Excluded, Hold, Miss, Reasons, Step, reasons};
