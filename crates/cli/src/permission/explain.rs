//! The reason of a check, as an indented tree: what was asked on the way, and what came of it.

use serde_json::{Value, json};
use stonetown_api::proto::authzed::api::v1::check_debug_trace::{PermissionType, Permissionship, Resolution};
use stonetown_api::proto::authzed::api::v1::{CaveatEvalInfo, CheckDebugTrace, caveat_eval_info};

use crate::wire;

/// The tree as text, `+` before what holds, `-` before what does not, `?` before what depends on missing values.
pub(crate) fn text(trace: &CheckDebugTrace) -> String {
    let mut text = String::new();
    write_node(trace, 0, &mut text);
    text
}

fn write_node(trace: &CheckDebugTrace, depth: usize, text: &mut String) {
    let mark = match trace.result() {
        Permissionship::HasPermission => '+',
        Permissionship::ConditionalPermission => '?',
        Permissionship::NoPermission | Permissionship::Unspecified => '-',
    };
    let kind = if trace.permission_type() == PermissionType::Relation { "relation" } else { "permission" };
    let resource = trace.resource.as_ref().map(wire::object_text).unwrap_or_default();
    let subject = trace.subject.as_ref().map(wire::subject_text).unwrap_or_default();
    let indent = "  ".repeat(depth + 1);
    text.push_str(&format!("{indent}{mark} {resource} {kind} {} for {subject}\n", trace.permission));
    if let Some(caveat) = &trace.caveat_evaluation_info {
        text.push_str(&format!(
            "{indent}    caveat {}: {} is {}\n",
            caveat.caveat_name,
            caveat.expression,
            outcome(caveat)
        ));
    }
    for child in children(trace) {
        write_node(child, depth + 1, text);
    }
}

fn outcome(caveat: &CaveatEvalInfo) -> String {
    use caveat_eval_info::Result;
    match caveat.result() {
        Result::True => "true".to_owned(),
        Result::False => "false".to_owned(),
        Result::MissingSomeContext => {
            let missing =
                caveat.partial_caveat_info.as_ref().map(|partial| partial.missing_required_context.join(", "));
            format!("undecided, missing {}", missing.unwrap_or_default())
        }
        Result::Unevaluated | Result::Unspecified => "not evaluated".to_owned(),
    }
}

fn children(trace: &CheckDebugTrace) -> &[CheckDebugTrace] {
    match &trace.resolution {
        Some(Resolution::SubProblems(problems)) => &problems.traces,
        Some(Resolution::WasCachedResult(_)) | None => &[],
    }
}

/// The tree as JSON.
pub(crate) fn json(trace: &CheckDebugTrace) -> Value {
    let mut value = json!({
        "resource": trace.resource.as_ref().map(wire::object_text),
        "permission": trace.permission,
        "permissionType": trace.permission_type().as_str_name(),
        "subject": trace.subject.as_ref().map(wire::subject_text),
        "result": trace.result().as_str_name(),
        "subProblems": children(trace).iter().map(json).collect::<Vec<_>>(),
    });
    if let Some(caveat) = &trace.caveat_evaluation_info {
        value["caveat"] =
            json!({ "name": caveat.caveat_name, "expression": caveat.expression, "result": outcome(caveat) });
    }
    value
}
