#![allow(clippy::unwrap_used, clippy::panic)]

use crate::{Arguments, Caveat, CaveatContext, EvaluateError, Outcome, Parameter, ParameterType};

mod compile;
mod context;
mod functions;
mod hostile;
mod judge;
mod random;
mod same;
mod unknown;

/// Reads `a int, b list<string>`.
fn parameters(text: &str) -> Vec<Parameter> {
    let declarations = text.split(',').map(str::trim).filter(|declaration| !declaration.is_empty());
    declarations
        .map(|declaration| {
            let (name, parameter_type) = declaration.split_once(' ').unwrap();
            Parameter { name: name.to_owned(), parameter_type: parameter_type_of(parameter_type) }
        })
        .collect()
}

fn parameter_type_of(text: &str) -> ParameterType {
    match text.split_once('<') {
        Some((name, inner)) => {
            ParameterType::named(name, vec![parameter_type_of(inner.strip_suffix('>').unwrap())]).unwrap()
        }
        None => ParameterType::named(text, vec![]).unwrap(),
    }
}

fn caveat(declarations: &str, expression: &str) -> Caveat {
    Caveat::compile(parameters(declarations), expression)
        .unwrap_or_else(|error| panic!("`{expression}` at {}: {error}", error.offset))
}

fn context(json: &str) -> CaveatContext {
    serde_json::from_str(json).unwrap()
}

fn evaluate(declarations: &str, expression: &str, json: &str) -> Result<Outcome, EvaluateError> {
    let caveat = caveat(declarations, expression);
    let request = caveat.bind_request(&context(json)).unwrap();
    caveat.evaluate(&Arguments::default(), &request)
}

/// `true`, `false`, `missing a, b` or the message of the error.
fn answer(declarations: &str, expression: &str, json: &str) -> String {
    match evaluate(declarations, expression, json) {
        Ok(Outcome::True) => "true".to_owned(),
        Ok(Outcome::False) => "false".to_owned(),
        Ok(Outcome::Missing(names)) => format!("missing {}", names.into_iter().collect::<Vec<_>>().join(", ")),
        Err(error) => error.to_string(),
    }
}
