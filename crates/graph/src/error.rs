//! Why a question has no answer.

use stonetown_storage::StorageError;

/// A question that could not be answered. Never to be taken for a no.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GraphError {
    /// The schema has no such object type.
    #[error("object type `{name}` is not in the schema")]
    UnknownDefinition {
        /// The type.
        name: String,
    },
    /// The object type has no such relation or permission.
    #[error("`{definition}` has no relation or permission `{relation}`")]
    UnknownRelation {
        /// The type.
        definition: String,
        /// The name that was asked for.
        relation: String,
    },
    /// A request-scoped relationship has a form that the schema does not allow.
    #[error("the schema does not allow relationship `{relationship}`")]
    NotAllowed {
        /// The relationship.
        relationship: String,
    },
    /// The answer would depend on its own opposite: the right side of an exclusion leads back to the exclusion.
    #[error("the right side of an exclusion leads back to it: {path}")]
    Cycle {
        /// The way round, such as `document:a#view -> document:b#banned -> document:a#view`; the middle of a long one is
        /// left out.
        path: String,
    },
    /// A caveat could not be evaluated, and the answer depends on it.
    #[error("caveat `{name}` cannot be evaluated: {message}")]
    Caveat {
        /// The caveat.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// The request gave a caveat's parameter a value of a wrong type, and the answer depends on it.
    #[error("parameter `{parameter}` of caveat `{caveat}` has a wrong type: {message}")]
    ContextType {
        /// The caveat.
        caveat: String,
        /// The parameter.
        parameter: String,
        /// What is wrong.
        message: String,
    },
    /// The question needs more work than one question may take.
    #[error("the question exceeds the limit `{limit}` of {value}")]
    LimitExceeded {
        /// The field of [`crate::Limits`].
        limit: &'static str,
        /// Its value.
        value: u64,
    },
    /// Time ran out.
    #[error("the deadline passed before the question was answered")]
    Deadline,
    /// The caller gave up.
    #[error("the question was cancelled")]
    Cancelled,
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}
