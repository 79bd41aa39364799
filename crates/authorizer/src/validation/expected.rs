//! The `validation` block: for one permission of one resource, the complete list of those who have it, each with the
//! relations that name it: `[user:alice] is <document:readme#viewer>`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use stonetown_graph::{ExpandNode, ExpandTree, Membership};
use stonetown_tuple::{CaveatContext, Consistency, ObjectRef, RelationName, SubjectRef};

use super::{Failure, ValidationError, ValidationFile};
use crate::check::CheckRequest;
use crate::expand::ExpandRequest;
use crate::lookup::LookupSubjectsRequest;
use crate::{Authorizer, Effort, Error};

/// Compares the expected lines of one `resource#permission` with what is found; `None` when they agree.
pub(super) fn run(authorizer: &Authorizer, key: &str, lines: &[String]) -> Result<Option<Failure>, ValidationError> {
    let wrong = |why: &str| ValidationError::Line { line: key.to_owned(), why: why.to_owned() };
    let (resource, permission) = key.split_once('#').ok_or_else(|| wrong("expected `type:id#permission`"))?;
    let resource: ObjectRef = resource.parse().map_err(|_| wrong("the resource cannot be read"))?;
    let permission = RelationName::new(permission).map_err(|error| wrong(&error.to_string()))?;
    let found: BTreeSet<String> = match find(authorizer, &resource, &permission) {
        Ok(found) => found.into_iter().collect(),
        Err(error) => return Ok(Some(Failure { subject: format!("validation of {key}"), found: error.to_string() })),
    };
    let wanted: BTreeSet<String> = lines.iter().map(|line| normal_form(line)).collect();
    if found == wanted {
        return Ok(None);
    }
    let list =
        |title: &str, lines: Vec<&String>| lines.iter().map(|line| format!("\n    {title} {line}")).collect::<String>();
    let missing = list("expected, not found:", wanted.difference(&found).collect());
    let extra = list("found, not expected:", found.difference(&wanted).collect());
    Ok(Some(Failure { subject: format!("validation of {key}"), found: format!("{missing}{extra}") }))
}

/// All lines for a permission: everyone named by a relation that it rests on, and who really has it.
fn find(authorizer: &Authorizer, resource: &ObjectRef, permission: &RelationName) -> Result<Vec<String>, Error> {
    let mut named: BTreeMap<SubjectRef, BTreeSet<String>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut open = vec![(resource.clone(), permission.clone())];
    while let Some((object, relation)) = open.pop() {
        if !seen.insert((object.clone(), relation.clone())) {
            continue;
        }
        let request =
            ExpandRequest { consistency: Consistency::FullyConsistent, resource: object, permission: relation };
        let (_, tree) = authorizer.expand(&ValidationFile::call(), &request)?;
        leaves(&tree, &mut |subject, through| {
            named.entry(subject.clone()).or_default().insert(format!("<{through}>"));
            if let (stonetown_tuple::SubjectId::Object(id), Some(relation)) = (subject.object_id(), subject.relation())
            {
                let object = ObjectRef { object_type: subject.object_type().clone(), object_id: id.clone() };
                open.push((object, relation.clone()));
            }
        });
    }
    let mut lines = Vec::new();
    for (subject, through) in named {
        if let Some(who) = who(authorizer, resource, permission, &subject)? {
            lines.push(format!("[{who}] is {}", through.into_iter().collect::<Vec<_>>().join("/")));
        }
    }
    Ok(lines)
}

fn leaves(tree: &ExpandTree, visit: &mut dyn FnMut(&SubjectRef, String)) {
    match &tree.node {
        ExpandNode::Leaf(subjects) => {
            subjects.iter().for_each(|subject| visit(subject, format!("{}#{}", tree.object, tree.relation)));
        }
        ExpandNode::Operation(_, children) => children.iter().for_each(|child| leaves(child, visit)),
    }
}

/// The subject as the block writes it, `None` when it does not have the permission.
fn who(
    authorizer: &Authorizer,
    resource: &ObjectRef,
    permission: &RelationName,
    subject: &SubjectRef,
) -> Result<Option<String>, Error> {
    let call = ValidationFile::call();
    if subject.is_wildcard() {
        let request = LookupSubjectsRequest {
            consistency: Consistency::FullyConsistent,
            resource: resource.clone(),
            permission: permission.clone(),
            subject_type: subject.object_type().clone(),
            subject_relation: None,
            context: CaveatContext::new(),
            limit: None,
            after: None,
            without_wildcard: false,
        };
        let mut wildcard = None;
        authorizer.lookup_subjects(&call, &request, &mut |found, _| {
            if found.id.as_ref() == "*" {
                wildcard = Some(found);
            }
            ControlFlow::Break(())
        })?;
        return Ok(wildcard.map(|found| {
            let type_name = subject.object_type();
            let mut text = format!("{type_name}:*{}", mark(&found.membership));
            if !found.excluded.is_empty() {
                let mut excluded: Vec<_> =
                    found.excluded.iter().map(|e| format!("{type_name}:{}{}", e.id, mark(&e.membership))).collect();
                excluded.sort();
                text.push_str(&format!(" - {{{}}}", excluded.join(", ")));
            }
            text
        }));
    }
    let request = CheckRequest {
        freshness: Consistency::FullyConsistent.into(),
        resource: resource.clone(),
        permission: permission.clone(),
        subject: subject.clone(),
        context: CaveatContext::new(),
        with: Vec::new(),
        trace: false,
    };
    let membership = authorizer.check(&call, &request, Effort::Full)?.membership;
    Ok((membership != Membership::NotMember).then(|| format!("{subject}{}", mark(&membership))))
}

fn mark(membership: &Membership) -> &'static str {
    if matches!(membership, Membership::Conditional(_)) { "[...]" } else { "" }
}

/// A line with its relations and exclusions in a fixed order, so that their order in the file does not matter.
fn normal_form(line: &str) -> String {
    let Some((subject, through)) = line.trim().split_once("] is ") else { return line.to_owned() };
    let mut through: Vec<_> = through.split('/').map(str::trim).collect();
    // A slash also stands inside prefixed types: join what was cut there.
    let mut whole: Vec<String> = Vec::new();
    for part in through.drain(..) {
        match whole.last_mut() {
            Some(last) if !last.ends_with('>') => *last = format!("{last}/{part}"),
            _ => whole.push(part.to_owned()),
        }
    }
    whole.sort();
    let subject = match subject.split_once(" - {") {
        None => subject.to_owned(),
        Some((wildcard, excluded)) => {
            let mut excluded: Vec<_> = excluded.trim_end_matches('}').split(',').map(str::trim).collect();
            excluded.sort_unstable();
            format!("{wildcard} - {{{}}}", excluded.join(", "))
        }
    };
    format!("{subject}] is {}", whole.join("/"))
}
