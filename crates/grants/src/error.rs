//! Why a call about grants is refused.

/// A refusal; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such template or grant, or none that the caller may see.
    #[error("there is no {kind} `{id}`, or you may not see it")]
    NotFound {
        /// `template` or `grant`.
        kind: &'static str,
        /// The id that was asked for.
        id: String,
    },
    /// The caller may not do this.
    #[error("{caller} may not {what}")]
    Denied {
        /// Who.
        caller: String,
        /// What.
        what: String,
    },
    /// Something in the request is wrong.
    #[error("`{field}`: {why}")]
    Invalid {
        /// The field of the request.
        field: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// The grant is not in a state for it.
    #[error("grant `{id}` is {state}: {why}")]
    WrongState {
        /// The grant.
        id: String,
        /// Its state.
        state: &'static str,
        /// What does not go together with it.
        why: String,
    },
    /// Somebody changed the grant meanwhile: read it again.
    #[error("grant `{id}` was changed meanwhile: it is at {found}, not {expected}")]
    Changed {
        /// The grant.
        id: String,
        /// The version the caller has seen.
        expected: u64,
        /// The version it has.
        found: u64,
    },
    /// A bound on open requests was met.
    #[error("{what}: at most {limit}; {remedy}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The bound.
        limit: u64,
        /// What to do.
        remedy: &'static str,
    },
    /// A template that somebody still has to answer for: there are grants of it.
    #[error(
        "template `{template}` is in use: of its grants and requests {open} have not ended, and {unreviewed} await a review; take its \
         requesters away, end or await the former, review the latter, and delete it then"
    )]
    InUse {
        /// The template's name.
        template: String,
        /// Requests and grants of it that have not ended.
        open: usize,
        /// Emergencies of it that nobody has reviewed.
        unreviewed: usize,
    },
    /// The engine refused, or could not know.
    #[error(transparent)]
    Engine(#[from] stonetown_authorizer::Error),
}

impl Error {
    pub(crate) fn invalid(field: &str, why: impl Into<String>) -> Error {
        Error::Invalid { field: field.to_owned(), why: why.into() }
    }
}
