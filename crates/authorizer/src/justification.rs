//! Why relationships are changed. A relation can demand to be told, by `requires(reason, ticket)` in its annotations. What is told
//! is in the metadata of the transaction, under names that are reserved for it, and so in the log of changes.
//!
//! Every way to change relationships asks here: writes, deletions by filter, imports, and what other parts of the server write.
//! What ends by the passing of time is nobody's change, and what a grant gave ends with the grant, whose record says why.

use serde_json::{Map, Value};
use stonetown_schema::{Definition, Guard, Relation, Schema};
use stonetown_tuple::RelationshipFilter;

use crate::Error;

/// Why, in words: a name in the metadata of a transaction.
pub const REASON: &str = "stonetown.reason";
/// Where it was asked for: a name in the metadata of a transaction.
pub const TICKET: &str = "stonetown.ticket";
/// Bytes of a reason and of a ticket at most.
pub const JUSTIFICATION_BYTES_MAX: usize = 4_096;

/// What is demanded, and the name that it is told under.
const DEMANDS: [(Guard, &str); 2] = [(Guard::Reason, REASON), (Guard::Ticket, TICKET)];

/// Refuses to delete by a filter where a relation that it covers demands more than the metadata tells. The filter decides, not what
/// it finds.
///
/// # Errors
/// [`Error::Unjustified`]; [`Error::Invalid`] for what is too long.
pub fn check_deletion(schema: &Schema, filter: &RelationshipFilter, metadata: Option<&str>) -> Result<(), Error> {
    check(covered(schema, filter), metadata)
}

/// The same for changes of relations, by type and name.
pub(crate) fn check_changes<'a>(
    schema: &Schema,
    changed: impl IntoIterator<Item = (&'a str, &'a str)>,
    metadata: Option<&str>,
) -> Result<(), Error> {
    let relations = changed.into_iter().filter_map(|(object_type, relation)| {
        let definition = schema.definition(object_type)?;
        Some((definition, definition.relation(relation)?))
    });
    check(relations, metadata)
}

fn check<'a>(
    relations: impl Iterator<Item = (&'a Definition, &'a Relation)>,
    metadata: Option<&str>,
) -> Result<(), Error> {
    let mut told: Option<Map<String, Value>> = None;
    for (definition, relation) in relations {
        for (_, key) in DEMANDS.into_iter().filter(|(guard, _)| relation.guards.contains(guard)) {
            let told = told.get_or_insert_with(|| read(metadata));
            match told.get(key).and_then(Value::as_str).map(str::trim) {
                None | Some("") => {
                    let relation = format!("{}#{}", definition.name, relation.name);
                    return Err(Error::Unjustified { relation, key });
                }
                Some(text) if text.len() > JUSTIFICATION_BYTES_MAX => {
                    return Err(Error::Invalid(format!("`{key}` has more than {JUSTIFICATION_BYTES_MAX} bytes")));
                }
                Some(_) => {}
            }
        }
    }
    Ok(())
}

/// The relations that relationships which match a filter can be of.
fn covered<'a>(
    schema: &'a Schema,
    filter: &'a RelationshipFilter,
) -> impl Iterator<Item = (&'a Definition, &'a Relation)> {
    let RelationshipFilter { resource_type, relation, subject, .. } = filter;
    let of_type = |definition: &&Definition| resource_type.as_ref().is_none_or(|wanted| *wanted == definition.name);
    let definitions = schema.definitions().iter().filter(of_type);
    let relations = definitions.flat_map(|definition| definition.relations.iter().map(move |one| (definition, one)));
    relations.filter(move |(_, one)| {
        let takes_subject = subject
            .as_ref()
            .is_none_or(|subject| one.allowed.iter().any(|allowed| allowed.subject_type == subject.subject_type));
        relation.as_ref().is_none_or(|wanted| *wanted == one.name) && takes_subject
    })
}

fn read(metadata: Option<&str>) -> Map<String, Value> {
    metadata.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use stonetown_schema::CompileOptions;
    use stonetown_tuple::{SubjectFilter, SubjectRelationFilter};

    use super::*;

    const TEXT: &str = "definition user {}
definition robot {}
definition door {
    // @stonetown requires(reason)
    relation owner: user
    relation guest: user | robot
}
definition key { relation holder: user }";

    fn refused(filter: &RelationshipFilter, metadata: Option<&str>) -> Option<String> {
        let schema = Schema::compile(TEXT, &CompileOptions::default()).unwrap();
        check_deletion(&schema, filter, metadata).err().map(|error| error.to_string())
    }

    #[test]
    fn a_reason_is_a_text_that_says_something_and_is_bounded() {
        let all = RelationshipFilter::default();
        let told = |reason: Value| refused(&all, Some(&serde_json::json!({ REASON: reason }).to_string()));
        let missing =
            "a change of `door#owner` has to say why: `stonetown.reason` is missing in the metadata of the transaction";
        for nothing in [Value::Null, "".into(), " \n".into(), 7.into(), serde_json::json!(["moved"])] {
            assert_eq!(told(nothing).as_deref(), Some(missing));
        }
        assert_eq!(refused(&all, None).as_deref(), Some(missing));
        assert_eq!(told("moved".into()), None);
        assert_eq!(told("r".repeat(JUSTIFICATION_BYTES_MAX).into()), None);
        let long = told("r".repeat(JUSTIFICATION_BYTES_MAX + 1).into());
        assert_eq!(long.as_deref(), Some("`stonetown.reason` has more than 4096 bytes"));
    }

    #[test]
    fn a_filter_covers_what_its_matches_can_be_of() {
        let filter = |resource_type: Option<&str>, relation: Option<&str>, subject: Option<&str>| RelationshipFilter {
            resource_type: resource_type.map(|name| name.parse().unwrap()),
            relation: relation.map(|name| name.parse().unwrap()),
            subject: subject.map(|name| SubjectFilter {
                subject_type: name.parse().unwrap(),
                subject_id: None,
                relation: SubjectRelationFilter::Any,
            }),
            ..RelationshipFilter::default()
        };
        for covers in [
            filter(None, None, None),
            filter(Some("door"), None, None),
            filter(None, Some("owner"), None),
            filter(None, None, Some("user")),
            filter(Some("door"), Some("owner"), Some("user")),
        ] {
            assert!(refused(&covers, None).is_some(), "{covers:?}");
        }
        for leaves in [
            filter(Some("key"), None, None),
            filter(Some("door"), Some("guest"), None),
            filter(None, None, Some("robot")),
            filter(Some("nothing"), None, None),
        ] {
            assert_eq!(refused(&leaves, None), None, "{leaves:?}");
        }
    }
}
