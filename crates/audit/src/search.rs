//! Looking for records.

use std::ops::ControlFlow;

use stonetown_tuple::Timestamp;

use crate::reader::{LogReader, RawRecord, ReadError};
use crate::record::{Body, Entry};

/// What to look for; all that is set must fit. A subject or resource is `TYPE`, `TYPE:ID`, and for subjects `TYPE:ID#RELATION`.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// Who was asked about; in changes, the subject of a relationship.
    pub subject: Option<String>,
    /// What was asked about; in changes, the resource of a relationship.
    pub resource: Option<String>,
    /// The permission or relation.
    pub permission: Option<String>,
    /// How it ended; decisions only.
    pub outcome: Option<String>,
    /// Which call; decisions only.
    pub call: Option<String>,
    /// Who called or wrote.
    pub caller: Option<String>,
    /// Not before this moment.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Not before this record.
    pub from: u64,
}

/// Hands the records that fit to `visit`, in order. Reads every record from [`Query::from`] on.
///
/// # Errors
/// See [`ReadError`].
pub fn search(
    log: &LogReader,
    query: &Query,
    visit: &mut dyn FnMut(&RawRecord<'_>) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    log.records(query.from, &mut |raw| if query.fits(&raw.record) { visit(raw) } else { ControlFlow::Continue(()) })
}

impl Query {
    /// Whether a record is looked for.
    #[must_use]
    pub fn fits(&self, entry: &Entry<'_>) -> bool {
        let time = entry.time();
        if self.since.is_some_and(|since| time < since) || self.until.is_some_and(|until| time >= until) {
            return false;
        }
        let is = |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        match &entry.body {
            Body::Decision(decision) => {
                is(&self.permission, decision.permission)
                    && is(&self.outcome, decision.outcome.name())
                    && is(&self.call, decision.call)
                    && is(&self.caller, decision.caller)
                    && self.resource.as_ref().is_none_or(|wanted| is_object(wanted, &entry.resource()))
                    && self.subject.as_ref().is_none_or(|wanted| is_object(wanted, &entry.subject()))
            }
            Body::Change(change) => {
                let names_no_decision = self.outcome.is_none() && self.call.is_none();
                let any = self.subject.is_none() && self.resource.is_none() && self.permission.is_none();
                names_no_decision
                    && is(&self.caller, change.actor)
                    && (any || change.updates.iter().any(|update| self.fits_update(update)))
            }
            // What the log says of itself is shown unless something is asked of a call.
            _ => [&self.subject, &self.resource, &self.permission, &self.outcome, &self.call, &self.caller]
                .iter()
                .all(|wanted| wanted.is_none()),
        }
    }

    fn fits_update(&self, update: &str) -> bool {
        let parts = update.get(1..).and_then(|text| {
            let (resource, rest) = text.split_once('#')?;
            let (relation, subject) = rest.split_once('@')?;
            Some((resource, relation, subject.split(['[', ' ']).next().unwrap_or(subject)))
        });
        let Some((resource, relation, subject)) = parts else { return false };
        self.resource.as_ref().is_none_or(|wanted| is_object(wanted, resource))
            && self.permission.as_ref().is_none_or(|wanted| wanted == relation)
            && self.subject.as_ref().is_none_or(|wanted| is_object(wanted, subject))
    }
}

/// Whether `object` is the one that is wanted, or of the type, or a userset of the object.
fn is_object(wanted: &str, object: &str) -> bool {
    let rest = object.strip_prefix(wanted);
    rest.is_some_and(|rest| {
        rest.is_empty()
            || (rest.starts_with(':') && !wanted.contains(':'))
            || (rest.starts_with('#') && wanted.contains(':'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_an_object_or_a_userset_is_found() {
        assert!(is_object("user", "user:alice") && is_object("user:alice", "user:alice"));
        assert!(is_object("group:eng", "group:eng#member") && is_object("group:eng#member", "group:eng#member"));
        assert!(is_object("document", "document"));
        assert!(!is_object("user:al", "user:alice") && !is_object("us", "user:alice") && !is_object("user", "userx:a"));
    }

    #[test]
    fn a_change_is_found_by_any_of_its_relationships() {
        let query = |subject: &str, resource: &str| Query {
            subject: Some(subject.to_owned()),
            resource: Some(resource.to_owned()),
            permission: Some("viewer".to_owned()),
            ..Query::default()
        };
        let update = r#"+document:readme#viewer@user:alice[weekday:{"a":"@#["}]"#;
        assert!(query("user:alice", "document").fits_update(update));
        assert!(!query("user:bob", "document").fits_update(update));
        assert!(query("user:alice", "document:readme").fits_update("-document:readme#viewer@user:alice source 7"));
    }
}
