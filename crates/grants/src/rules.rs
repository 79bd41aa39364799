//! The conditions of templates: CEL over a request.

use stonetown_caveat::{Arguments, Caveat, CaveatContext, Outcome, Parameter, ParameterType};

use crate::Error;
use crate::grant::Grant;

/// What a condition sees of a request.
fn parameters() -> Vec<Parameter> {
    let parameter = |name: &str, of: ParameterType| Parameter { name: name.to_owned(), parameter_type: of };
    vec![
        parameter("requester", ParameterType::String),
        parameter("beneficiary", ParameterType::String),
        parameter("parameters", ParameterType::Map(Box::new(ParameterType::String))),
        parameter("ttl_seconds", ParameterType::Int),
        parameter("reason", ParameterType::String),
        parameter("ticket", ParameterType::String),
        parameter("task", ParameterType::String),
        parameter("emergency", ParameterType::Bool),
        parameter("now", ParameterType::Timestamp),
    ]
}

fn compile(field: &str, expression: &str) -> Result<Caveat, Error> {
    Caveat::compile(parameters(), expression)
        .map_err(|error| Error::invalid(field, format!("at byte {}: {}", error.offset, error.message)))
}

/// Refuses a condition that could not be evaluated.
pub(crate) fn check(field: &str, expression: &str) -> Result<(), Error> {
    compile(field, expression).map(drop)
}

/// Whether a request meets a condition. What cannot be decided is an error: no rule guesses.
pub(crate) fn holds(field: &str, expression: &str, grant: &Grant) -> Result<bool, Error> {
    let caveat = compile(field, expression)?;
    let invalid = |why: String| Error::invalid(field, why);
    let context = serde_json::json!({
        "requester": grant.requester,
        "beneficiary": grant.beneficiary,
        "parameters": grant.parameters,
        "ttl_seconds": grant.ttl,
        "reason": grant.reason,
        "ticket": grant.ticket,
        "task": grant.task,
        "emergency": grant.emergency,
        "now": grant.asked_at.to_string(),
    });
    let context: CaveatContext = serde_json::from_value(context).map_err(|error| invalid(error.to_string()))?;
    let arguments = caveat.bind(&context).map_err(|error| invalid(error.to_string()))?;
    match caveat.evaluate(&arguments, &Arguments::default()).map_err(|error| invalid(error.to_string()))? {
        Outcome::True => Ok(true),
        Outcome::False => Ok(false),
        Outcome::Missing(names) => Err(invalid(format!("has no value for {}", Vec::from_iter(names).join(", ")))),
    }
}
