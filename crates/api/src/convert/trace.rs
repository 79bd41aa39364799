//! The reason for an answer as the wire's debug trace.

use stonetown_authorizer::{CaveatResult, CaveatTrace, Membership, Trace};

use super::{context, missing, object_to_wire, subject_to_wire, timestamp_to_wire};
use crate::proto::authzed::api::v1 as wire;
use crate::proto::authzed::api::v1::caveat_eval_info::Result as Evaluated;
use crate::proto::authzed::api::v1::check_debug_trace::{PermissionType, Permissionship, Resolution, SubProblems};

/// Who answered, for those who ask several servers.
const SOURCE: &str = "stonetown";

/// A trace, and the schema it was made under. Traces are no deeper than what clients can decode.
pub(crate) fn to_wire(trace: Trace, schema: String) -> wire::DebugInformation {
    wire::DebugInformation { check: Some(step(trace)), schema_used: schema }
}

fn step(trace: Trace) -> wire::CheckDebugTrace {
    let permission_type = if trace.is_permission { PermissionType::Permission } else { PermissionType::Relation };
    let mut step = wire::CheckDebugTrace {
        resource: Some(object_to_wire(&trace.resource)),
        permission: trace.permission.into(),
        permission_type: permission_type.into(),
        subject: Some(subject_to_wire(&trace.subject)),
        result: permissionship(trace.result.as_ref()).into(),
        duration: Some(duration(trace.duration_ns)),
        optional_expires_at: trace.until.map(timestamp_to_wire),
        source: SOURCE.to_owned(),
        ..Default::default()
    };
    let mut caveats = trace.caveats.into_iter();
    step.caveat_evaluation_info = caveats.next().map(caveat);
    // A step has room for one caveat; each further one is a step of its own.
    let mut traces: Vec<_> = caveats.map(|found| caveat_step(&step, found)).collect();
    traces.extend(trace.parts.into_iter().map(self::step));
    step.resolution = Some(if trace.known {
        Resolution::WasCachedResult(true)
    } else {
        Resolution::SubProblems(SubProblems { traces })
    });
    step
}

fn caveat_step(of: &wire::CheckDebugTrace, found: CaveatTrace) -> wire::CheckDebugTrace {
    let result = match &found.result {
        Some(CaveatResult::True) => Permissionship::HasPermission,
        Some(CaveatResult::False) => Permissionship::NoPermission,
        Some(CaveatResult::Missing(_)) => Permissionship::ConditionalPermission,
        None => Permissionship::Unspecified,
    };
    wire::CheckDebugTrace {
        result: result.into(),
        caveat_evaluation_info: Some(caveat(found)),
        resolution: Some(Resolution::SubProblems(SubProblems::default())),
        ..of.clone()
    }
}

fn permissionship(result: Option<&Membership>) -> Permissionship {
    match result {
        Some(Membership::Member) => Permissionship::HasPermission,
        Some(Membership::NotMember) => Permissionship::NoPermission,
        Some(Membership::Conditional(_)) => Permissionship::ConditionalPermission,
        None => Permissionship::Unspecified,
    }
}

fn caveat(found: CaveatTrace) -> wire::CaveatEvalInfo {
    let (result, partial_caveat_info) = match found.result {
        Some(CaveatResult::True) => (Evaluated::True, None),
        Some(CaveatResult::False) => (Evaluated::False, None),
        Some(CaveatResult::Missing(names)) => (Evaluated::MissingSomeContext, Some(missing(names))),
        None => (Evaluated::Unevaluated, None),
    };
    wire::CaveatEvalInfo {
        expression: found.expression,
        result: result.into(),
        context: Some(context::to_wire(found.context)),
        partial_caveat_info,
        caveat_name: found.name,
    }
}

fn duration(nanoseconds: u64) -> prost_types::Duration {
    std::time::Duration::from_nanos(nanoseconds).try_into().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use stonetown_tuple::CaveatContext;

    fn trace(text: &str) -> Trace {
        let relationship: stonetown_tuple::Relationship = text.parse().unwrap();
        Trace {
            resource: relationship.resource,
            permission: relationship.relation,
            is_permission: false,
            subject: relationship.subject,
            result: Some(Membership::Member),
            caveats: Vec::new(),
            known: false,
            cut: false,
            parts: Vec::new(),
            until: None,
            duration_ns: 1_000_000_001,
        }
    }

    fn caveat(name: &str, result: Option<CaveatResult>) -> CaveatTrace {
        CaveatTrace { name: name.to_owned(), expression: "a".to_owned(), context: CaveatContext::new(), result }
    }

    #[test]
    fn a_step_shows_its_parts_and_what_was_known_already() {
        let known = Trace { known: true, ..trace("group:eng#member@user:alice") };
        let whole = Trace { is_permission: true, parts: vec![known], ..trace("document:readme#view@user:alice") };
        let info = to_wire(whole, "definition user {}".to_owned());
        assert_eq!(info.schema_used, "definition user {}");
        let check = info.check.unwrap();
        assert_eq!(check.permission_type(), PermissionType::Permission);
        assert_eq!(check.result(), Permissionship::HasPermission);
        assert_eq!(check.duration, Some(prost_types::Duration { seconds: 1, nanos: 1 }));
        let Some(Resolution::SubProblems(parts)) = check.resolution else { panic!("no parts") };
        assert_eq!(parts.traces[0].permission_type(), PermissionType::Relation);
        assert_eq!(parts.traces[0].resolution, Some(Resolution::WasCachedResult(true)));
    }

    #[test]
    fn each_caveat_has_a_step() {
        let missing = CaveatResult::Missing(["day".to_owned()].into());
        let caveats = vec![caveat("first", Some(CaveatResult::True)), caveat("second", Some(missing))];
        let step = step(Trace { caveats, ..trace("document:readme#viewer@user:alice") });
        let own = step.caveat_evaluation_info.unwrap();
        assert_eq!((own.caveat_name.as_str(), own.result()), ("first", Evaluated::True));
        let Some(Resolution::SubProblems(parts)) = step.resolution else { panic!("no parts") };
        assert_eq!(parts.traces[0].result(), Permissionship::ConditionalPermission);
        let second = parts.traces[0].caveat_evaluation_info.clone().unwrap();
        assert_eq!(second.result(), Evaluated::MissingSomeContext);
        assert_eq!(second.partial_caveat_info.unwrap().missing_required_context, ["day"]);
    }
}
