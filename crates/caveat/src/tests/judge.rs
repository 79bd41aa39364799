//! Where everything is known, the interpreter of the `cel` crate is the judge.

use cel::objects::Value as Judged;
use serde_json::Value as Json;

use super::random::{DECLARED, Kind, Random, with_seeds};
use super::{caveat, parameters};
use crate::{Arguments, CaveatContext, Outcome, ParameterType};

#[test]
fn agrees_with_the_judge() {
    with_seeds(1_000, |random| {
        let depth = 1 + random.below(5);
        let expression = random.expression(Kind::Bool, depth);
        let ours = caveat(DECLARED, &expression);
        let judge = cel::Program::compile(&expression).unwrap();
        for _ in 0..20 {
            let context = full_context(random);
            let arguments = ours.bind(&context).unwrap();
            let answer = match ours.evaluate(&arguments, &Arguments::default()) {
                Ok(Outcome::True) => Ok(true),
                Ok(Outcome::False) => Ok(false),
                Ok(Outcome::Missing(names)) => panic!("`{expression}` misses {names:?} of {context:?}"),
                Err(error) => Err(error.to_string()),
            };
            let expected = judge.execute(&judge_context(&context));
            let agree = match (&answer, &expected) {
                (Ok(ours), Ok(Judged::Bool(judged))) => ours == judged,
                (Err(_), Err(_)) => true,
                _ => false,
            };
            let context = Json::Object(context);
            assert!(agree, "`{expression}`\nwith {context}\nis {answer:?}\njudged {expected:?}");
        }
    });
}

pub(super) fn full_context(random: &mut Random) -> CaveatContext {
    parameters(DECLARED).into_iter().map(|parameter| (parameter.name.clone(), random.value(&parameter.name))).collect()
}

fn judge_context(context: &CaveatContext) -> cel::Context<'static, 'static> {
    let mut judged = cel::Context::default();
    for parameter in parameters(DECLARED) {
        let value = judged_value(&parameter.parameter_type, &context[&parameter.name]);
        judged.add_variable_from_value(parameter.name, value);
    }
    judged
}

fn judged_value(parameter_type: &ParameterType, json: &Json) -> Judged {
    let call = |function: &str| {
        cel::Program::compile(&format!("{function}({json})")).unwrap().execute(&cel::Context::default()).unwrap()
    };
    match (parameter_type, json) {
        (ParameterType::Int | ParameterType::Uint, _) => Judged::Int(json.as_i64().unwrap()),
        (ParameterType::Timestamp, _) => call("timestamp"),
        (ParameterType::Duration, _) => call("duration"),
        (ParameterType::Bytes, Json::String(text)) => {
            use base64::Engine;
            Judged::Bytes(base64::prelude::BASE64_STANDARD.decode(text).unwrap().into())
        }
        (_, Json::Number(number)) => Judged::Float(number.as_f64().unwrap()),
        (_, Json::String(text)) => Judged::from(text.as_str()),
        (_, Json::Bool(value)) => Judged::Bool(*value),
        (_, Json::Null) => Judged::Null,
        (_, Json::Array(items)) => {
            let element = match parameter_type {
                ParameterType::List(element) => element,
                _ => parameter_type,
            };
            Judged::List(items.iter().map(|item| judged_value(element, item)).collect::<Vec<_>>().into())
        }
        (_, Json::Object(fields)) => {
            let element = match parameter_type {
                ParameterType::Map(element) => element,
                _ => parameter_type,
            };
            let fields = fields.iter().map(|(key, field)| (key.clone(), judged_value(element, field)));
            Judged::from(fields.collect::<std::collections::HashMap<_, _>>())
        }
    }
}
