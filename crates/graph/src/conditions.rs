//! Whether an edge holds: its times at the moment of the question, its caveat with the parameters that edge and request
//! give, and those that only the server and stored attributes can. Each caveat with the same stored context is evaluated
//! once per question, or once for each object that it is on where attributes of that object are among its parameters.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHashMap;
use stonetown_caveat::{Arguments, ContextError, EVALUATION_STEPS_MAX, EvaluateError, Outcome};
use stonetown_schema::{CaveatDefinition, ParameterSource, Schema};
use stonetown_storage::Ordinal;
use stonetown_tuple::{Attribute, AttributeName, AttributeValue, CaveatContext, CaveatRef, Timestamp};

use crate::attributes::Attributes;
use crate::edges::{Term, Terms};
use crate::error::GraphError;
use crate::evaluation::{Evaluation, Given};
use crate::fault::{PlantedFault, planted};
use crate::limits::Meter;
use crate::membership::{CaveatFault, Fault, Membership, Missing, Value};
use crate::plan::{Plan, Slot, TypeIndex};

/// Distinct stored contexts that one question remembers; beyond it evaluates again.
const REMEMBERED_MAX: usize = 100_000;

/// Evaluates the terms of edges for one question.
pub struct Conditions<'a> {
    plan: &'a Plan,
    schema: &'a Schema,
    context: &'a CaveatContext,
    given: Given,
    attributes: Attributes<'a>,
    /// The object that the question's subject is, or whose userset it is; `None` where there is no such.
    subject: Option<Place>,
    now: Timestamp,
    /// Whether everything holds.
    lenient: bool,
    /// The first moment at which one of the edges that were looked at begins or ends.
    changes_at: Cell<Option<Timestamp>>,
    /// Parameters that were missing, by their numbers in [`Missing`].
    names: Vec<String>,
    /// The request's context as arguments, by the caveat.
    requests: FxHashMap<String, Result<Arguments, Fault>>,
    /// By the address of a caveat that `by_content` keeps alive.
    by_address: FxHashMap<(usize, Option<Place>), Value>,
    by_content: FxHashMap<(ByContent, Option<Place>), Value>,
}

/// An object.
type Place = (TypeIndex, Ordinal);

impl<'a> Conditions<'a> {
    /// Conditions at the evaluation's moment, with its context, in a question about a subject.
    #[must_use]
    pub fn new(evaluation: &Evaluation<'a>, subject: Option<(TypeIndex, Ordinal)>) -> Self {
        Conditions {
            plan: evaluation.plan,
            given: evaluation.given,
            attributes: Attributes::new(evaluation),
            subject,
            schema: evaluation.plan.schema(),
            context: evaluation.context,
            now: evaluation.now,
            lenient: false,
            changes_at: Cell::new(None),
            names: Vec::new(),
            requests: FxHashMap::default(),
            by_address: FxHashMap::default(),
            by_content: FxHashMap::default(),
        }
    }

    /// Goes on with a question about another subject.
    pub(crate) fn turn_to(&mut self, subject: Place) {
        if self.subject != Some(subject) {
            self.subject = Some(subject);
            self.requests.clear();
            self.by_address.clear();
            self.by_content.clear();
        }
    }

    /// From now on every edge is there and holds.
    pub(crate) fn be_lenient(&mut self) {
        self.lenient = true;
    }

    /// Whether an edge with these terms holds, of that table and on that resource. [`Value::No`] also stands for one that is
    /// not there at the moment.
    ///
    /// # Errors
    /// [`GraphError::LimitExceeded`], [`GraphError::Deadline`] and [`GraphError::Cancelled`], by the meter of the question.
    #[inline]
    pub fn value(
        &mut self,
        terms: Option<&Terms>,
        table: Slot,
        resource: Ordinal,
        meter: &mut Meter<'_>,
    ) -> Result<Value, GraphError> {
        terms.map_or(Ok(Value::Yes), |terms| self.value_of(terms, table, resource, meter))
    }

    /// Whether an edge with these terms is there at the moment, whatever its caveat says.
    #[must_use]
    pub fn is_live(&self, terms: Option<&Terms>) -> bool {
        terms.is_none_or(|terms| self.lenient || terms.0.iter().any(|term| self.term_is_live(term)))
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
            self.note_change(moment);
        }
        term.is_live(self.now)
    }

    fn note_change(&self, moment: Timestamp) {
        self.changes_at.set(Some(self.changes_at.get().map_or(moment, |first| first.min(moment))));
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

    fn value_of(
        &mut self,
        terms: &Terms,
        table: Slot,
        resource: Ordinal,
        meter: &mut Meter<'_>,
    ) -> Result<Value, GraphError> {
        if self.lenient {
            return Ok(Value::Yes);
        }
        let mut value = Value::No;
        for term in &terms.0 {
            if !self.term_is_live(term) {
                continue;
            }
            value = value.or(match &term.caveat {
                None => Value::Yes,
                Some(caveat) => self.caveat(caveat, table, resource, meter)?,
            });
        }
        Ok(value)
    }

    /// What a caveat says of the request, on a relationship of that table and resource.
    pub(crate) fn caveat(
        &mut self,
        caveat: &Arc<CaveatRef>,
        table: Slot,
        resource: Ordinal,
        meter: &mut Meter<'_>,
    ) -> Result<Value, GraphError> {
        let place = self.place(caveat, table, resource);
        let shared = place.filter(|_| !planted(PlantedFault::ResourceAttributeShared));
        let address = (Arc::as_ptr(caveat) as usize, shared);
        if let Some(known) = self.by_address.get(&address) {
            return Ok(known.clone());
        }
        let content = (ByContent(caveat.clone()), shared);
        if let Some(known) = self.by_content.get(&content) {
            return Ok(known.clone());
        }
        let value = self.evaluate(caveat, place, meter)?;
        if self.by_content.len() < REMEMBERED_MAX {
            self.by_content.insert(content, value.clone());
            self.by_address.insert(address, value.clone());
        }
        Ok(value)
    }

    /// All that is known of a caveat's parameters, on a relationship of that table and resource.
    pub(crate) fn known(&mut self, caveat: &CaveatRef, table: Slot, resource: Ordinal) -> CaveatContext {
        let Some(definition) = self.schema.caveat(caveat.name.as_str()) else { return caveat.context.clone() };
        let place = self.place(caveat, table, resource);
        let stored = self.stored_side(definition, caveat, place).map(Cow::into_owned);
        let mut known = stored.unwrap_or_default();
        for (name, value) in self.request_side(definition).unwrap_or_default().iter() {
            let is_parameter = definition.caveat.parameters().iter().any(|parameter| parameter.name == *name);
            if is_parameter && !known.contains_key(name) {
                known.insert(name.clone(), value.clone());
            }
        }
        known
    }

    /// The object that the relationship is on, if that makes a difference for its caveat.
    #[inline]
    fn place(&self, caveat: &CaveatRef, table: Slot, resource: Ordinal) -> Option<Place> {
        if !self.plan.has_local_caveats() {
            return None;
        }
        let definition = self.schema.caveat(caveat.name.as_str())?;
        let is_local = definition.given().any(|(_, source)| matches!(source, ParameterSource::Resource(_)));
        is_local.then(|| (self.plan.table(table).resource_type, resource))
    }

    fn evaluate(
        &mut self,
        stored: &CaveatRef,
        place: Option<Place>,
        meter: &mut Meter<'_>,
    ) -> Result<Value, GraphError> {
        let (definition, known) = match self.bound(stored, place) {
            Ok(bound) => bound,
            Err(fault) => return Ok(Value::Fault(fault)),
        };
        let (name, caveat) = (definition.name.as_str(), &definition.caveat);
        meter.steps_taken(known.steps())?;
        let request = match self.request(definition) {
            Ok(request) => request,
            Err(fault) => return Ok(Value::Fault(fault.clone())),
        };
        let (first, second) =
            if planted(PlantedFault::ContextPrecedenceSwapped) { (request, &known) } else { (&known, request) };
        let steps_max = u32::try_from(meter.steps_left()).unwrap_or(u32::MAX).min(EVALUATION_STEPS_MAX);
        let (outcome, steps) = caveat.evaluate_within(first, second, steps_max);
        // Then the question is at its end, and not the caveat.
        let is_beyond = steps_max < EVALUATION_STEPS_MAX && matches!(outcome, Err(EvaluateError::Steps));
        meter.steps_taken(u64::from(steps) + u64::from(is_beyond))?;
        Ok(match outcome {
            Ok(Outcome::True) => Value::Yes,
            Ok(Outcome::False) => Value::No,
            Ok(Outcome::Missing(names)) => Value::Maybe(self.numbers(&names)),
            Err(_) if planted(PlantedFault::FailingCaveatIsFalse) => Value::No,
            Err(error) => Value::Fault(fault(name, None, &error.to_string())),
        })
    }

    /// The caveat of a relationship, and what it and the object that it is on give.
    fn bound(&self, stored: &CaveatRef, place: Option<Place>) -> Result<(&'a CaveatDefinition, Arguments), Fault> {
        let (schema, name) = (self.schema, stored.name.as_str());
        let definition = schema.caveat(name).ok_or_else(|| fault(name, None, "the schema does not define it"))?;
        let context = self.stored_side(definition, stored, place)?;
        let known = definition.caveat.bind(&context).map_err(|error| {
            // The parameter is in the message; only a request's parameter is the caller's to mend.
            fault(name, None, &format!("what is stored does not fit: {error}"))
        })?;
        Ok((definition, known))
    }

    /// What the request and the question's subject give, read once for each caveat.
    fn request(&mut self, definition: &CaveatDefinition) -> Result<&Arguments, &Fault> {
        let name = definition.name.as_str();
        if !self.requests.contains_key(name) {
            let bound = self.request_side(definition).and_then(|context| {
                definition.caveat.bind_request(&context).map_err(|error| {
                    let (ContextError::UnknownParameter { parameter } | ContextError::WrongType { parameter, .. }) =
                        &error;
                    let callers = definition.source(parameter).is_none();
                    fault(name, callers.then_some(parameter.as_str()), &error.to_string())
                })
            });
            self.requests.insert(name.to_owned(), bound);
        }
        self.requests[name].as_ref()
    }

    /// What a relationship gives, and the attributes of the object that it is on. A value that is stored for a parameter
    /// with a source is from before it had one, and counts for nothing.
    fn stored_side<'c>(
        &self,
        definition: &CaveatDefinition,
        stored: &'c CaveatRef,
        place: Option<Place>,
    ) -> Result<Cow<'c, CaveatContext>, Fault> {
        let mut context = Cow::Borrowed(&stored.context);
        for (parameter, source) in definition.given() {
            let own = *source == ParameterSource::Relationship || planted(PlantedFault::StoredValueForSource);
            if context.contains_key(parameter) && !own {
                context.to_mut().remove(parameter);
            }
            if let (ParameterSource::Resource(name), Given::Call { .. }) = (source, self.given)
                && let Some(value) = self.attribute(definition, place, name)?
            {
                context.to_mut().insert(parameter.to_owned(), value);
            }
        }
        Ok(context)
    }

    /// What the request gives, the server, and the attributes of the question's subject. What the request says of a parameter
    /// with a source counts for nothing; the front door refuses it before.
    fn request_side(&self, definition: &CaveatDefinition) -> Result<Cow<'a, CaveatContext>, Fault> {
        let mut context = Cow::Borrowed(self.context);
        if self.given == Given::Context {
            return Ok(context);
        }
        for (parameter, source) in definition.given() {
            if context.contains_key(parameter) && !planted(PlantedFault::RequestGivesSourced) {
                context.to_mut().remove(parameter);
            }
            let Given::Call { peer_ip } = self.given else { continue };
            let value = match source {
                ParameterSource::Now => {
                    // Nothing says how long it holds.
                    self.note_change(self.now);
                    Some(self.now.to_string().into())
                }
                ParameterSource::PeerIp => peer_ip.map(|address| address.to_canonical().to_string().into()),
                ParameterSource::Subject(name) => self.attribute(definition, self.subject, name)?,
                ParameterSource::Resource(_) | ParameterSource::Relationship => None,
            };
            if let Some(value) = value {
                context.to_mut().insert(parameter.to_owned(), value);
            }
        }
        Ok(context)
    }

    /// An attribute that is there at the moment.
    fn attribute(
        &self,
        definition: &CaveatDefinition,
        of: Option<Place>,
        name: &AttributeName,
    ) -> Result<Option<AttributeValue>, Fault> {
        let Some((object_type, object)) = of else { return Ok(None) };
        let terms = self.attributes.terms(object_type, object, name).map_err(|error| {
            fault(definition.name.as_str(), None, &format!("the attribute `{name}` cannot be read: {error}"))
        })?;
        let live = terms.iter().find(|term| self.term_is_live(term) || planted(PlantedFault::AttributeNeverEnds));
        Ok(live.and_then(|term| Attribute::value(term.caveat.as_deref())).cloned())
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
