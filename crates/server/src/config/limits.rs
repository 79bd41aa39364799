//! Bounds on what one request may hold, which every way of serving has.

use clap::Args;
use stonetown_authorizer::Limits;

/// How much one request may hold or ask for. Names and defaults are SpiceDB's.
#[derive(Debug, Clone, Args)]
pub struct RequestLimits {
    /// Most updates in one WriteRelationships.
    #[arg(long, env = "STONETOWN_WRITE_RELATIONSHIPS_MAX_UPDATES_PER_CALL", default_value_t = 1000, value_name = "N")]
    pub write_relationships_max_updates_per_call: usize,

    /// Most preconditions in one write or delete.
    #[arg(
        long,
        env = "STONETOWN_UPDATE_RELATIONSHIPS_MAX_PRECONDITIONS_PER_CALL",
        default_value_t = 1000,
        value_name = "N"
    )]
    pub update_relationships_max_preconditions_per_call: usize,

    /// Largest limit of ReadRelationships.
    #[arg(long, env = "STONETOWN_MAX_READ_RELATIONSHIPS_LIMIT", default_value_t = 1000, value_name = "N")]
    pub max_read_relationships_limit: u64,

    /// Largest limit of DeleteRelationships.
    #[arg(long, env = "STONETOWN_MAX_DELETE_RELATIONSHIPS_LIMIT", default_value_t = 1000, value_name = "N")]
    pub max_delete_relationships_limit: u64,

    /// Largest limit of LookupResources and LookupSubjects.
    #[arg(long, env = "STONETOWN_MAX_LOOKUP_RESOURCES_LIMIT", default_value_t = 1000, value_name = "N")]
    pub max_lookup_resources_limit: u64,

    /// Largest batch of ExportBulkRelationships.
    #[arg(long, env = "STONETOWN_MAX_BULK_EXPORT_RELATIONSHIPS_LIMIT", default_value_t = 10_000, value_name = "N")]
    pub max_bulk_export_relationships_limit: u64,

    /// Largest caveat context of a request, in bytes; 0 for whatever a request can hold.
    #[arg(long, env = "STONETOWN_MAX_CAVEAT_CONTEXT_SIZE", default_value_t = 4096, value_name = "BYTES")]
    pub max_caveat_context_size: usize,

    /// Largest caveat context of a relationship, in bytes; 0 for whatever a request can hold.
    #[arg(long, env = "STONETOWN_MAX_RELATIONSHIP_CONTEXT_SIZE", default_value_t = 25_000, value_name = "BYTES")]
    pub max_relationship_context_size: usize,
}

impl RequestLimits {
    /// As the front door takes them, all else as by default.
    pub(crate) fn of_authorizer(&self) -> Limits {
        Limits {
            updates_max: self.write_relationships_max_updates_per_call,
            preconditions_max: self.update_relationships_max_preconditions_per_call,
            relationship_context_bytes_max: unless_zero(self.max_relationship_context_size),
            request_context_bytes_max: unless_zero(self.max_caveat_context_size),
            read_limit_max: self.max_read_relationships_limit,
            delete_limit_max: self.max_delete_relationships_limit,
            lookup_limit_max: self.max_lookup_resources_limit,
            export_batch_max: self.max_bulk_export_relationships_limit,
            ..Limits::default()
        }
    }
}

/// A bound for which 0 means none of its own.
fn unless_zero(bytes_max: usize) -> usize {
    if bytes_max == 0 { usize::MAX } else { bytes_max }
}
