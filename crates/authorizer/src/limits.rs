//! The bounds of the front door, each with its default. What they bound is refused with an error that names the limit; no
//! limit ever turns into a "no".

use stonetown_tuple::CaveatContext;

/// Bytes of the caveat stored with a relationship of the system store, where what it is about is kept: more than the parts of the
/// server that write there ever need, so that none is kept from taking something away. No setting changes it.
pub const SYSTEM_CONTEXT_BYTES_MAX: usize = 1 << 20;

/// Bounds on requests; those on the work of one question are in [`stonetown_graph::Limits`].
#[derive(Debug, Clone)]
pub struct Limits {
    /// Updates in one write.
    pub updates_max: usize,
    /// Preconditions in one write or delete.
    pub preconditions_max: usize,
    /// Bytes of transaction metadata, as JSON.
    pub metadata_bytes_max: usize,
    /// Bytes of the caveat stored with a relationship, as it is encoded on the wire; [`SYSTEM_CONTEXT_BYTES_MAX`] for the system
    /// store.
    pub relationship_context_bytes_max: usize,
    /// Bytes of the context of a question, as it is encoded on the wire.
    pub request_context_bytes_max: usize,
    /// The largest `optional_limit` of ReadRelationships.
    pub read_limit_max: u64,
    /// The largest `optional_limit` of DeleteRelationships.
    pub delete_limit_max: u64,
    /// The largest `optional_limit` of LookupResources and LookupSubjects.
    pub lookup_limit_max: u64,
    /// The largest batch of ExportBulkRelationships, and the batch when none is asked for.
    pub export_batch_max: u64,
    /// Items of one bulk check.
    pub bulk_checks_max: usize,
    /// Subject types in the answer of one DiffSchema, where each changed type comes with all types of its relation.
    pub diff_types_max: u64,
    /// Relationships laid over the snapshot by one question.
    pub overlay_max: usize,
    /// Ways that nearly lead to a subject, in one explanation.
    pub misses_max: usize,
    /// Repetitions of a write that meets a concurrent change.
    pub write_retries_max: u32,
    /// Calls of one caller at the same time.
    pub calls_per_caller_max: u32,
    /// Lookups, reads, expansions, exports, imports and bulk checks of one caller at the same time.
    pub heavy_calls_per_caller_max: u32,
    /// Relationship counters of one store.
    pub counters_max: usize,
    /// Watches at the same time.
    pub watchers_max: u32,
    /// Watches of one caller at the same time.
    pub watchers_per_caller_max: u32,
    /// Bytes of memory the process should stay under; 0 for no gate. Heavy calls are shed at 75 %, all at 85 %.
    pub memory_bytes_max: u64,
    /// Entries of the directory for checkpoints.
    pub checkpoints_max: usize,
    /// Edges an inline check may look at before it is moved to the pool.
    pub inline_edges_max: u64,
    /// Steps of caveats an inline check may take before it is moved to the pool.
    pub inline_caveat_steps_max: u64,
    /// Streams of changes of sets at the same time.
    pub sets_streams_max: u32,
    /// Streams of changes of sets of one caller at the same time.
    pub sets_streams_per_caller_max: u32,
    /// Bytes that all who follow sets hold together: relationships yet to begin or end, and what a change touches.
    pub sets_bytes_max: u64,
    /// Relationships in one change up to which the sets they touch are looked for; beyond, all sets are compared.
    pub sets_touched_max: usize,
    /// Bounds on one question.
    pub graph: stonetown_graph::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            updates_max: 1000,
            preconditions_max: 1000,
            metadata_bytes_max: 65_000,
            relationship_context_bytes_max: 25_000,
            request_context_bytes_max: 4096,
            read_limit_max: 1000,
            delete_limit_max: 1000,
            lookup_limit_max: 1000,
            export_batch_max: 10_000,
            bulk_checks_max: 10_000,
            diff_types_max: 100_000,
            overlay_max: 1000,
            misses_max: 20,
            write_retries_max: 10,
            calls_per_caller_max: 10_000,
            heavy_calls_per_caller_max: 64,
            counters_max: 100,
            watchers_max: 1000,
            watchers_per_caller_max: 100,
            memory_bytes_max: 0,
            checkpoints_max: 100,
            inline_edges_max: 2_000,
            inline_caveat_steps_max: 20_000,
            sets_streams_max: 100,
            sets_streams_per_caller_max: 50,
            sets_bytes_max: 256 << 20,
            sets_touched_max: 100_000,
            graph: stonetown_graph::Limits::default(),
        }
    }
}

impl Limits {
    /// The limits that calls meet, by name, for metrics. `results_max` is the largest of the bounds on results.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 22] {
        let count = |number: usize| number as u64;
        let results = [self.read_limit_max, self.delete_limit_max, self.lookup_limit_max, self.export_batch_max];
        [
            ("updates_max", count(self.updates_max)),
            ("preconditions_max", count(self.preconditions_max)),
            ("metadata_bytes_max", count(self.metadata_bytes_max)),
            ("relationship_context_bytes_max", count(self.relationship_context_bytes_max)),
            ("request_context_bytes_max", count(self.request_context_bytes_max)),
            ("bulk_checks_max", count(self.bulk_checks_max)),
            ("results_max", results.into_iter().max().unwrap_or(0)),
            ("overlay_max", count(self.overlay_max)),
            ("misses_max", count(self.misses_max)),
            ("calls_per_caller_max", u64::from(self.calls_per_caller_max)),
            ("heavy_calls_per_caller_max", u64::from(self.heavy_calls_per_caller_max)),
            ("watchers_max", u64::from(self.watchers_max)),
            ("watchers_per_caller_max", u64::from(self.watchers_per_caller_max)),
            ("sets_streams_max", u64::from(self.sets_streams_max)),
            ("sets_streams_per_caller_max", u64::from(self.sets_streams_per_caller_max)),
            ("memory_bytes_max", self.memory_bytes_max),
            ("sets_bytes_max", self.sets_bytes_max),
            ("depth_max", self.graph.depth_max),
            ("edges_max_check", self.graph.edges_max_check),
            ("edges_max_lookup", self.graph.edges_max_lookup),
            ("caveat_steps_max", self.graph.caveat_steps_max),
            ("bytes_max", self.graph.bytes_max),
        ]
    }
}

/// The size of a context as the `google.protobuf.Struct` it is on the wire, in bytes.
#[must_use]
pub fn encoded_bytes(context: &CaveatContext) -> usize {
    context
        .iter()
        .map(|(key, value)| {
            let entry = field(key.len()) + field(value_bytes(value));
            field(entry)
        })
        .sum()
}

fn value_bytes(value: &serde_json::Value) -> usize {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) => 2,
        Value::Number(_) => 9,
        Value::String(text) => field(text.len()),
        Value::Array(items) => field(items.iter().map(|item| field(value_bytes(item))).sum()),
        Value::Object(fields) => field(encoded_bytes(fields)),
    }
}

/// A length-delimited field of a small number: tag, length, content.
fn field(content: usize) -> usize {
    let mut length = 1;
    let mut rest = content >> 7;
    while rest > 0 {
        length += 1;
        rest >>= 7;
    }
    1 + length + content
}
