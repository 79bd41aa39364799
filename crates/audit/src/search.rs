//! Looking for records. Full segments have an index that says which of their records can fit; of those without one, and of the
//! last segment, every record is read.

#[cfg(test)]
mod tests;

use std::ops::ControlFlow;

use stonetown_tuple::{NameError, ObjectId, ObjectType, RelationName, Timestamp};

use crate::calls::CALLS;
use crate::index::{Aspect, Index, Term};
use crate::layout::CHANGES;
use crate::reader::{LogReader, RawRecord, ReadError};
use crate::record::{Body, Entry, Outcome};

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

/// Why no record can fit a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {why}")]
pub struct Unfit {
    /// The field of [`Query`].
    pub field: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// Hands the records that fit to `visit`, in order. Each record that is read for it is told to `reading` first, by its index;
/// when that breaks, the search ends.
///
/// # Errors
/// See [`ReadError`].
pub fn search(
    log: &LogReader,
    query: &Query,
    reading: &mut dyn FnMut(u64) -> ControlFlow<()>,
    visit: &mut dyn FnMut(&RawRecord<'_>) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let terms = query.terms();
    for first in log.segments_from(query.from) {
        let index = Index::open(log.directory(), first).filter(|_| !terms.is_empty() || query.has_times());
        let ended = match index {
            Some(index) if !index.covers(query.since, query.until) => ControlFlow::Continue(()),
            Some(index) if !terms.is_empty() => search_indexed(log, first, &index, &terms, query, reading, visit)?,
            _ => log.records_of(first, query.from, &mut |raw| {
                reading(raw.record.index)?;
                if query.fits(&raw.record) { visit(raw) } else { ControlFlow::Continue(()) }
            })?,
        };
        if ended.is_break() {
            break;
        }
    }
    Ok(())
}

fn search_indexed(
    log: &LogReader,
    first: u64,
    index: &Index,
    terms: &[Term],
    query: &Query,
    reading: &mut dyn FnMut(u64) -> ControlFlow<()>,
    visit: &mut dyn FnMut(&RawRecord<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, ReadError> {
    let io = |source| ReadError::Io { path: crate::index::path(log.directory(), first), source };
    for number in index.find(terms).map_err(io)? {
        let wanted = first + u64::from(number);
        if wanted < query.from {
            continue;
        }
        let place = index.place(number).map_err(io)?;
        let mut ended = reading(wanted);
        if ended.is_break() {
            return Ok(ended);
        }
        log.record_after(first, place, wanted, &mut |raw| {
            if query.fits(&raw.record) {
                ended = visit(raw);
            }
        })?;
        if ended.is_break() {
            return Ok(ended);
        }
    }
    Ok(ControlFlow::Continue(()))
}

impl Query {
    /// Refuses what no record of a log ([`DECISIONS`](crate::layout::DECISIONS), [`CHANGES`]) can fit: that nothing is found is to say
    /// that there was nothing. What was given another name than it ever had cannot be told from it.
    ///
    /// # Errors
    /// [`Unfit`], naming the field.
    pub fn check(&self, log: &str) -> Result<(), Unfit> {
        let refuse = |field, why: String| Err(Unfit { field, why });
        let named = |field, text: &Option<String>, parse: fn(&str) -> Result<(), NameError>| {
            let parsed = text.as_deref().map_or(Ok(()), parse);
            parsed.or_else(|error| refuse(field, format!("fits no record: {error}")))
        };
        let of_decisions = [("outcome", &self.outcome), ("call", &self.call)];
        if log == CHANGES
            && let Some((field, _)) = of_decisions.iter().find(|(_, wanted)| wanted.is_some())
        {
            return refuse(field, "is of decisions: no record of a change has it".to_owned());
        }
        let outcomes = Outcome::ALL.map(Outcome::name);
        if self.outcome.as_deref().is_some_and(|outcome| !outcomes.contains(&outcome)) {
            return refuse("outcome", format!("is one of {}", outcomes.join(", ")));
        }
        if let Some(call) = self.call.as_deref()
            && !CALLS.contains(&call)
        {
            let meant = call.replace('-', "_").to_ascii_lowercase();
            return match CALLS.contains(&&*meant) {
                true => refuse("call", format!("is recorded as `{meant}`")),
                false => refuse("call", format!("is one of {}", CALLS.join(", "))),
            };
        }
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            return refuse("until", format!("is not after `since`: nothing is between {since} and {until}"));
        }
        named("resource", &self.resource, object)?;
        named("subject", &self.subject, subject)?;
        named("permission", &self.permission, |name| RelationName::new(name).map(drop))
    }

    fn has_times(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// What every record that is looked for has in an index.
    fn terms(&self) -> Vec<Term> {
        let of = |aspect: Aspect, text: &Option<String>| text.as_ref().map(|text| Term::new(aspect, text));
        [
            of(Aspect::Subject, &self.subject),
            of(Aspect::Resource, &self.resource),
            of(Aspect::Caller, &self.caller),
            of(Aspect::Permission, &self.permission),
            of(Aspect::Call, &self.call),
            of(Aspect::Outcome, &self.outcome),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

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
                    && self.caller.as_ref().is_none_or(|wanted| decision.callers().any(|caller| caller == wanted))
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
        let Some((resource, relation, subject)) = parts_of_update(update) else { return false };
        self.resource.as_ref().is_none_or(|wanted| is_object(wanted, resource))
            && self.permission.as_ref().is_none_or(|wanted| wanted == relation)
            && self.subject.as_ref().is_none_or(|wanted| is_object(wanted, subject))
    }
}

/// `TYPE` or `TYPE:ID`.
fn object(text: &str) -> Result<(), NameError> {
    let (object_type, id) = text.split_once(':').unzip();
    ObjectType::new(object_type.unwrap_or(text))?;
    id.map_or(Ok(()), |id| ObjectId::new(id).map(drop))
}

/// The same, also of everybody of a type (`TYPE:*`), or with a relation after `#`.
fn subject(text: &str) -> Result<(), NameError> {
    let (of, relation) = text.split_once('#').unzip();
    relation.map_or(Ok(()), |relation| RelationName::new(relation).map(drop))?;
    let of = of.unwrap_or(text);
    object(of.strip_suffix(":*").unwrap_or(of))
}

/// Resource, relation and subject of a relationship that changed.
pub(crate) fn parts_of_update(update: &str) -> Option<(&str, &str, &str)> {
    let (resource, rest) = update.get(1..)?.split_once('#')?;
    let (relation, subject) = rest.split_once('@')?;
    Some((resource, relation, subject.split(['[', ' ']).next().unwrap_or(subject)))
}

/// Whether `object` is the one that is wanted, or of the type, or a userset of the object.
pub(crate) fn is_object(wanted: &str, object: &str) -> bool {
    let rest = object.strip_prefix(wanted);
    rest.is_some_and(|rest| {
        rest.is_empty()
            || (rest.starts_with(':') && !wanted.contains(':'))
            || (rest.starts_with('#') && wanted.contains(':'))
    })
}
