//! Whether an edge holds: its times at the moment of the question, its caveat with the parameters that edge and request
//! give. Each caveat with the same stored context is evaluated once per question.

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use stonetown_caveat::{Arguments, ContextError, Outcome};
use stonetown_schema::Schema;
use stonetown_tuple::{CaveatContext, CaveatRef, Timestamp};

use crate::edges::{Term, Terms};
use crate::error::GraphError;
use crate::evaluation::Evaluation;
use crate::fault::{PlantedFault, planted};
use crate::membership::{CaveatFault, Fault, Membership, Missing, Value};

/// Distinct stored contexts that one question remembers; beyond it evaluates again.
const REMEMBERED_MAX: usize = 100_000;

/// Evaluates the terms of edges for one question.
pub struct Conditions<'a> {
    schema: &'a Schema,
    context: &'a CaveatContext,
    now: Timestamp,
    /// The first moment at which one of the edges that were looked at begins or ends.
    changes_at: Cell<Option<Timestamp>>,
    /// Parameters that were missing, by their numbers in [`Missing`].
    names: Vec<String>,
    /// The request's context as arguments, by the caveat.
    requests: FxHashMap<String, Result<Arguments, Fault>>,
    /// By the address of a caveat that `by_content` keeps alive.
    by_address: FxHashMap<usize, Value>,
    by_content: FxHashMap<ByContent, Value>,
}

impl<'a> Conditions<'a> {
    /// Conditions at the evaluation's moment, with its context.
    #[must_use]
    pub fn new(evaluation: &Evaluation<'a>) -> Self {
        Conditions {
            schema: evaluation.plan.schema(),
            context: evaluation.context,
            now: evaluation.now,
            changes_at: Cell::new(None),
            names: Vec::new(),
            requests: FxHashMap::default(),
            by_address: FxHashMap::default(),
            by_content: FxHashMap::default(),
        }
    }

    /// Whether an edge with these terms holds. [`Value::No`] also stands for one that is not there at the moment.
    #[inline]
    pub fn value(&mut self, terms: Option<&Terms>) -> Value {
        terms.map_or(Value::Yes, |terms| self.value_of(terms))
    }

    /// Whether an edge with these terms is there at the moment, whatever its caveat says.
    #[must_use]
    pub fn is_live(&self, terms: Option<&Terms>) -> bool {
        terms.is_none_or(|terms| terms.0.iter().any(|term| self.term_is_live(term)))
    }

    /// The first moment at which one of the edges that were looked at begins or ends: until then every answer that rests on
    /// them stays as it is.
    #[must_use]
    pub fn changes_at(&self) -> Option<Timestamp> {
        self.changes_at.get()
    }

    #[inline]
    fn term_is_live(&self, term: &Term) -> bool {
        if let Some(moment) = term.changes_at(self.now) {
            self.changes_at.set(Some(self.changes_at.get().map_or(moment, |first| first.min(moment))));
        }
        term.is_live(self.now)
    }

    /// What a value means to a caller.
    ///
    /// # Errors
    /// [`GraphError::Caveat`] and [`GraphError::ContextType`]; [`GraphError::Cycle`] with the path that `cycle` gives.
    pub fn membership(&self, value: &Value, cycle: impl FnOnce() -> String) -> Result<Membership, GraphError> {
        match value {
            Value::No => Ok(Membership::NotMember),
            Value::Yes => Ok(Membership::Member),
            Value::Maybe(missing) => Ok(Membership::Conditional(self.missing(missing))),
            Value::Fault(Fault::Cycle) => Err(GraphError::Cycle { path: cycle() }),
            Value::Fault(Fault::Caveat(fault)) => {
                let CaveatFault { caveat, parameter, message } = CaveatFault::clone(fault);
                Err(match parameter {
                    None => GraphError::Caveat { name: caveat, message },
                    Some(parameter) => GraphError::ContextType { caveat, parameter, message },
                })
            }
        }
    }

    /// The names of missing parameters.
    #[must_use]
    pub fn missing(&self, missing: &Missing) -> BTreeSet<String> {
        missing.iter().filter_map(|number| self.names.get(number as usize).cloned()).collect()
    }

    fn value_of(&mut self, terms: &Terms) -> Value {
        let mut value = Value::No;
        for term in &terms.0 {
            if !self.term_is_live(term) {
                continue;
            }
            value = value.or(match &term.caveat {
                None => Value::Yes,
                Some(caveat) => self.caveat(caveat),
            });
        }
        value
    }

    /// What a caveat says of the request.
    pub(crate) fn caveat(&mut self, caveat: &Arc<CaveatRef>) -> Value {
        let address = Arc::as_ptr(caveat) as usize;
        if let Some(known) = self.by_address.get(&address) {
            return known.clone();
        }
        let content = ByContent(caveat.clone());
        if let Some(known) = self.by_content.get(&content) {
            return known.clone();
        }
        let value = self.evaluate(caveat).unwrap_or_else(Value::Fault);
        if self.by_content.len() < REMEMBERED_MAX {
            self.by_content.insert(content, value.clone());
            self.by_address.insert(address, value.clone());
        }
        value
    }

    fn evaluate(&mut self, stored: &CaveatRef) -> Result<Value, Fault> {
        let name = stored.name.as_str();
        let schema = self.schema;
        let definition = schema.caveat(name).ok_or_else(|| fault(name, None, "the schema does not define it"))?;
        let (caveat, context) = (&definition.caveat, self.context);
        let known = caveat.bind(&stored.context).map_err(|error| {
            // The parameter is in the message; only a request's parameter is the caller's to mend.
            fault(name, None, &format!("a relationship's context does not fit: {error}"))
        })?;
        if !self.requests.contains_key(name) {
            let bound = caveat.bind_request(context).map_err(|error| {
                let (ContextError::UnknownParameter { parameter } | ContextError::WrongType { parameter, .. }) = &error;
                fault(name, Some(parameter), &error.to_string())
            });
            self.requests.insert(name.to_owned(), bound);
        }
        let request = self.requests[name].as_ref().map_err(Clone::clone)?;
        let (first, second) =
            if planted(PlantedFault::ContextPrecedenceSwapped) { (request, &known) } else { (&known, request) };
        match caveat.evaluate(first, second) {
            Ok(Outcome::True) => Ok(Value::Yes),
            Ok(Outcome::False) => Ok(Value::No),
            Ok(Outcome::Missing(names)) => Ok(Value::Maybe(self.numbers(&names))),
            Err(_) if planted(PlantedFault::FailingCaveatIsFalse) => Ok(Value::No),
            Err(error) => Err(fault(name, None, &error.to_string())),
        }
    }

    fn numbers(&mut self, names: &BTreeSet<String>) -> Missing {
        names.iter().fold(Missing::default(), |all, name| {
            let known = self.names.iter().position(|known| known == name);
            let number = known.unwrap_or_else(|| {
                self.names.push(name.clone());
                self.names.len() - 1
            });
            all.union(Missing::one(number as u32))
        })
    }
}

fn fault(caveat: &str, parameter: Option<&str>, message: &str) -> Fault {
    Fault::Caveat(Arc::new(CaveatFault {
        caveat: caveat.to_owned(),
        parameter: parameter.map(str::to_owned),
        message: message.to_owned(),
    }))
}

/// A caveat that is equal to any other with the same name and context.
struct ByContent(Arc<CaveatRef>);

impl PartialEq for ByContent {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 || (planted(PlantedFault::CaveatResultShared) && self.0.name == other.0.name)
    }
}

impl Eq for ByContent {}

impl Hash for ByContent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
        if !planted(PlantedFault::CaveatResultShared) {
            self.0.context.hash(state);
        }
    }
}
