//! Evaluation with unknown values.
//!
//! A node has a value, or a [`Fault`]: it depends on parameters without a value, or it has no result. `&&`, `||` and the
//! macros built on them give an answer wherever their known terms suffice, in any order of the terms. Elsewhere a
//! fault of an operand is the fault of the whole; an unknown operand outweighs one without result, because the answer is
//! open until the parameter is given.
//!
//! This is the hot path of a check: nothing is parsed and no context is copied here.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;

use crate::context::Arguments;
use crate::functions::{self, Function};
use crate::limits::EVALUATION_STEPS_MAX;
use crate::pattern::Pattern;
use crate::types::Parameter;
use crate::value::{Key, Value};

/// What a caveat comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// Undecided: the answer depends on these parameters, which have no value.
    Missing(BTreeSet<String>),
}

/// Why a caveat has no outcome. Such a caveat neither holds nor does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// The expression has no result for the given values.
    #[error("{0}")]
    NoResult(String),
    /// The evaluation was stopped.
    #[error("the evaluation takes more than {EVALUATION_STEPS_MAX} steps")]
    Steps,
}

/// A part of an expression, with all names resolved.
#[derive(Debug)]
pub(crate) enum Node {
    Constant(Value),
    /// By its index in the declaration.
    Parameter(usize),
    /// A variable of a macro, by the number of macros around the one that declares it.
    Local(usize),
    /// `&&` where `false` decides, `||` where `true` does.
    Logic {
        deciding: bool,
        terms: Box<[Node; 2]>,
    },
    /// Condition, then, else.
    Conditional(Box<[Node; 3]>),
    Select {
        operand: Box<Node>,
        field: Key,
        only_test: bool,
    },
    List(Vec<Element>),
    Map(Vec<(Node, Element)>),
    Call {
        function: Function,
        arguments: Box<[Node]>,
    },
    /// `text.matches(…)` with a constant pattern.
    Matches {
        text: Box<Node>,
        pattern: Box<Pattern>,
    },
    /// `address.in_cidr(…)` with a constant network.
    InNetwork {
        address: Box<Node>,
        network: IpNet,
    },
    Macro(Box<Macro>),
    /// An optional and what counts if it has no value; unwrapped for `orValue`.
    OrElse {
        unwrap: bool,
        operands: Box<[Node; 2]>,
    },
    /// `optMap` and, flattened, `optFlatMap`: the optional, and the body that sees its value as a local.
    MapOptional {
        flatten: bool,
        operands: Box<[Node; 2]>,
    },
}

/// A value in a list or map literal. One that is optional is left out where it has no value.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) node: Node,
    pub(crate) is_optional: bool,
}

/// A macro over the elements of a list or the keys of a map, each of which is a local of `filter` and `body`.
#[derive(Debug)]
pub(crate) struct Macro {
    pub(crate) kind: MacroKind,
    pub(crate) range: Node,
    /// Elements for which this is false are left out.
    pub(crate) filter: Option<Node>,
    pub(crate) body: Node,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MacroKind {
    All,
    Exists,
    ExistsOne,
    Map,
}

/// Why a node has no value.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Parameters without a value, as a set of bits.
    Unknown(u32),
    /// The values have no result.
    Error(String),
    /// The steps are used up. Nothing absorbs this.
    Exhausted,
}

pub(crate) type Evaluated = Result<Value, Fault>;

impl Fault {
    /// The fault of a whole both of whose parts have one.
    fn merge(self, other: Fault) -> Fault {
        match (self, other) {
            (Fault::Exhausted, _) | (_, Fault::Exhausted) => Fault::Exhausted,
            (Fault::Unknown(a), Fault::Unknown(b)) => Fault::Unknown(a | b),
            (unknown @ Fault::Unknown(_), _) | (_, unknown @ Fault::Unknown(_)) => unknown,
            (first, _) => first,
        }
    }
}

/// Counts the steps of an evaluation.
pub(crate) struct Meter {
    steps_left: u32,
}

impl Meter {
    /// With so many steps.
    pub(crate) fn new(steps_max: u32) -> Meter {
        Meter { steps_left: steps_max }
    }

    /// Pays for `steps` more.
    pub(crate) fn charge(&mut self, steps: usize) -> Result<(), Fault> {
        match u32::try_from(steps).ok().and_then(|steps| self.steps_left.checked_sub(steps)) {
            Some(left) => self.steps_left = left,
            None => {
                self.steps_left = 0;
                return Err(Fault::Exhausted);
            }
        }
        Ok(())
    }

    /// Pays for making a text of so many bytes.
    pub(crate) fn charge_bytes(&mut self, bytes: usize) -> Result<(), Fault> {
        self.charge(bytes / 16)
    }
}

/// Evaluates the root of a caveat's expression within `steps_max` steps; also how many it took.
pub(crate) fn outcome(
    root: &Node,
    parameters: &[Parameter],
    stored: &Arguments,
    request: &Arguments,
    steps_max: u32,
) -> (Result<Outcome, EvaluateError>, u32) {
    let mut evaluation = Evaluation { stored, request, locals: Vec::new(), meter: Meter::new(steps_max) };
    let outcome = decide(evaluation.evaluate(root), parameters);
    (outcome, steps_max - evaluation.meter.steps_left)
}

fn decide(evaluated: Evaluated, parameters: &[Parameter]) -> Result<Outcome, EvaluateError> {
    match evaluated {
        Ok(Value::Bool(true)) => Ok(Outcome::True),
        Ok(Value::Bool(false)) => Ok(Outcome::False),
        Ok(other) => {
            Err(EvaluateError::NoResult(format!("the expression results in {}, not bool", other.kind().name())))
        }
        Err(Fault::Unknown(missing)) => {
            let named = parameters.iter().enumerate().filter(|(index, _)| missing & (1 << index) != 0);
            Ok(Outcome::Missing(named.map(|(_, parameter)| parameter.name.clone()).collect()))
        }
        Err(Fault::Error(message)) => Err(EvaluateError::NoResult(message)),
        Err(Fault::Exhausted) => Err(EvaluateError::Steps),
    }
}

struct Evaluation<'a> {
    stored: &'a Arguments,
    request: &'a Arguments,
    locals: Vec<Value>,
    meter: Meter,
}

impl Evaluation<'_> {
    fn evaluate(&mut self, node: &Node) -> Evaluated {
        self.meter.charge(1)?;
        match node {
            Node::Constant(value) => Ok(value.clone()),
            Node::Parameter(index) => {
                let value = self.stored.get(*index).or_else(|| self.request.get(*index));
                value.cloned().ok_or(Fault::Unknown(1 << index))
            }
            Node::Local(depth) => self.locals.get(*depth).cloned().ok_or_else(|| no_result("a variable has no value")),
            Node::Logic { deciding, terms } => self.logic(*deciding, terms),
            Node::Conditional(branches) => {
                let branch = if self.truth(&branches[0])? { &branches[1] } else { &branches[2] };
                self.evaluate(branch)
            }
            Node::Select { operand, field, only_test } => {
                let operand = self.evaluate(operand)?;
                functions::select(&operand, field, *only_test)
            }
            Node::List(elements) => self.list(elements),
            Node::Map(entries) => self.map(entries),
            Node::Call { function, arguments } => self.call(*function, arguments),
            Node::Matches { text, pattern } => {
                let text = self.evaluate(text)?;
                functions::matches(&text, pattern, &mut self.meter)
            }
            Node::InNetwork { address, network } => {
                let address = self.evaluate(address)?;
                functions::in_network(&address, network)
            }
            Node::Macro(comprehension) => self.comprehension(comprehension),
            Node::OrElse { unwrap, operands } => self.or_else(*unwrap, operands),
            Node::MapOptional { flatten, operands } => self.map_optional(*flatten, operands),
        }
    }

    fn truth(&mut self, node: &Node) -> Result<bool, Fault> {
        match self.evaluate(node)? {
            Value::Bool(value) => Ok(value),
            other => Err(no_result(format!("a condition is {}, not bool", other.kind().name()))),
        }
    }

    fn logic(&mut self, deciding: bool, terms: &[Node; 2]) -> Evaluated {
        let first = match self.truth(&terms[0]) {
            Ok(value) if value == deciding => return Ok(Value::Bool(deciding)),
            Err(Fault::Exhausted) => return Err(Fault::Exhausted),
            open => open,
        };
        match (first, self.truth(&terms[1])) {
            (_, Ok(value)) if value == deciding => Ok(Value::Bool(deciding)),
            (Ok(_), Ok(_)) => Ok(Value::Bool(!deciding)),
            (Err(first), Err(second)) => Err(first.merge(second)),
            (Err(fault), Ok(_)) | (Ok(_), Err(fault)) => Err(fault),
        }
    }

    fn call(&mut self, function: Function, arguments: &[Node]) -> Evaluated {
        let mut values = [Value::Null, Value::Null];
        let mut fault = None;
        for (slot, argument) in values.iter_mut().zip(arguments) {
            match self.evaluate(argument) {
                Ok(value) => *slot = value,
                Err(Fault::Exhausted) => return Err(Fault::Exhausted),
                Err(found) => fault = Some(also(fault, found)),
            }
        }
        match fault {
            Some(fault) => Err(fault),
            None => functions::apply(function, &values[..arguments.len().min(2)], &mut self.meter),
        }
    }

    fn list(&mut self, elements: &[Element]) -> Evaluated {
        let mut items = Vec::with_capacity(elements.len());
        let mut fault = None;
        for element in elements {
            match self.element(element) {
                Ok(value) => items.extend(value),
                Err(Fault::Exhausted) => return Err(Fault::Exhausted),
                Err(found) => fault = Some(also(fault, found)),
            }
        }
        fault.map_or_else(|| Ok(Value::List(Arc::new(items))), Err)
    }

    fn map(&mut self, entries: &[(Node, Element)]) -> Evaluated {
        let mut map = BTreeMap::new();
        let mut fault = None;
        for (key, element) in entries {
            let entry = match (self.map_key(key), self.element(element)) {
                (Ok(key), Ok(value)) => Ok((key, value)),
                (Err(first), Err(second)) => Err(first.merge(second)),
                (Err(fault), _) | (_, Err(fault)) => Err(fault),
            };
            match entry {
                Ok((_, None)) => {}
                Ok((key, Some(_))) if map.contains_key(&key) => {
                    fault = Some(also(fault, no_result("a map has the same key twice")));
                }
                Ok((key, Some(value))) => {
                    map.insert(key, value);
                }
                Err(Fault::Exhausted) => return Err(Fault::Exhausted),
                Err(found) => fault = Some(also(fault, found)),
            }
        }
        fault.map_or_else(|| Ok(Value::Map(Arc::new(map))), Err)
    }

    fn map_key(&mut self, node: &Node) -> Result<Key, Fault> {
        match self.evaluate(node)? {
            Value::Double(_) => Err(no_result("a double cannot be the key of a map")),
            key => Key::of(&key).ok_or_else(|| no_result(format!("{} cannot be the key of a map", key.kind().name()))),
        }
    }

    /// The value of an element, none if it is an optional without one.
    fn element(&mut self, element: &Element) -> Result<Option<Value>, Fault> {
        match self.evaluate(&element.node)? {
            Value::Optional(value) if element.is_optional => Ok(value.map(Arc::unwrap_or_clone)),
            other if element.is_optional => {
                Err(no_result(format!("an element after `?` is {}, not optional", other.kind().name())))
            }
            value => Ok(Some(value)),
        }
    }

    fn comprehension(&mut self, comprehension: &Macro) -> Evaluated {
        match self.evaluate(&comprehension.range)? {
            Value::List(items) => self.walk(comprehension, items.iter().cloned()),
            Value::Map(entries) => self.walk(comprehension, entries.keys().map(Key::value)),
            other => Err(no_result(format!("{} has no elements to walk over", other.kind().name()))),
        }
    }

    fn walk(&mut self, comprehension: &Macro, items: impl Iterator<Item = Value>) -> Evaluated {
        let mut results = Vec::new();
        let mut count = 0_u32;
        let mut fault = None;
        for item in items {
            self.locals.push(item);
            let result = self.visit(comprehension);
            self.locals.pop();
            match (comprehension.kind, result) {
                (MacroKind::All, Ok(Some(Value::Bool(false)))) => return Ok(Value::Bool(false)),
                (MacroKind::Exists, Ok(Some(Value::Bool(true)))) => return Ok(Value::Bool(true)),
                (MacroKind::ExistsOne, Ok(Some(Value::Bool(true)))) => count += 1,
                (MacroKind::Map, Ok(Some(value))) => results.push(value),
                (_, Ok(None | Some(Value::Bool(_)))) => {}
                (_, Ok(Some(other))) => {
                    let message = format!("the condition of a macro is {}, not bool", other.kind().name());
                    fault = Some(also(fault, no_result(message)));
                }
                (_, Err(Fault::Exhausted)) => return Err(Fault::Exhausted),
                (_, Err(found)) => fault = Some(also(fault, found)),
            }
        }
        match (fault, comprehension.kind) {
            (Some(fault), _) => Err(fault),
            (None, MacroKind::All) => Ok(Value::Bool(true)),
            (None, MacroKind::Exists) => Ok(Value::Bool(false)),
            (None, MacroKind::ExistsOne) => Ok(Value::Bool(count == 1)),
            (None, MacroKind::Map) => Ok(Value::List(Arc::new(results))),
        }
    }

    /// The body for the current element, unless the filter leaves the element out.
    fn visit(&mut self, comprehension: &Macro) -> Result<Option<Value>, Fault> {
        if let Some(filter) = &comprehension.filter
            && !self.truth(filter)?
        {
            return Ok(None);
        }
        self.evaluate(&comprehension.body).map(Some)
    }

    fn or_else(&mut self, unwrap: bool, operands: &[Node; 2]) -> Evaluated {
        match self.evaluate(&operands[0])? {
            Value::Optional(Some(value)) if unwrap => Ok(Arc::unwrap_or_clone(value)),
            Value::Optional(None) => self.evaluate(&operands[1]),
            some @ Value::Optional(_) => Ok(some),
            other => Err(no_result(format!("{} is not optional", other.kind().name()))),
        }
    }

    fn map_optional(&mut self, flatten: bool, operands: &[Node; 2]) -> Evaluated {
        let value = match self.evaluate(&operands[0])? {
            Value::Optional(Some(value)) => Arc::unwrap_or_clone(value),
            Value::Optional(None) => return Ok(Value::Optional(None)),
            other => return Err(no_result(format!("{} is not optional", other.kind().name()))),
        };
        self.locals.push(value);
        let result = self.evaluate(&operands[1]);
        self.locals.pop();
        match result? {
            value if !flatten => Ok(Value::optional(Some(value))),
            optional @ Value::Optional(_) => Ok(optional),
            other => Err(no_result(format!("{} is not optional", other.kind().name()))),
        }
    }
}

fn also(earlier: Option<Fault>, found: Fault) -> Fault {
    match earlier {
        Some(earlier) => earlier.merge(found),
        None => found,
    }
}

/// A fault for values that have no result.
pub(crate) fn no_result(message: impl Into<String>) -> Fault {
    Fault::Error(message.into())
}
