//! Which parts of a schema the assertions of a validation file reach: relations, permissions, and the branches of permissions.
//!
//! An assertion reaches what its check asks about and every question that this leads to, as the explanation of the check has
//! it. A branch of a permission is a name or an arrow in its expression; it is reached when it was asked about for that
//! permission.

use std::collections::BTreeSet;

use stonetown_graph::Trace;
use stonetown_schema::{CompileOptions, Definition, Expression, Member, Schema};
use stonetown_tuple::Consistency;

use super::{ValidationError, ValidationFile};
use crate::check::CheckRequest;
use crate::{Effort, Error};

/// What was reached of a schema.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// How many parts the schema has.
    pub parts: usize,
    /// Those that no assertion reached, sorted: `type#name`, or `type#permission: branch`.
    pub untouched: Vec<String>,
}

impl Coverage {
    /// How many of a hundred parts were reached; all of an empty schema.
    #[must_use]
    pub fn percent(&self) -> usize {
        match self.parts {
            0 => 100,
            parts => (parts - self.untouched.len()) * 100 / parts,
        }
    }
}

impl ValidationFile {
    /// Runs the assertions and tells what of the schema they reach.
    ///
    /// # Errors
    /// When schema or relationships are refused.
    pub fn coverage(&self) -> Result<Coverage, ValidationError> {
        let authorizer = self.load()?;
        let schema = Schema::compile(&self.schema, &CompileOptions::default()).map_err(Error::Schema)?;
        let mut reached = BTreeSet::new();
        for assertion in &self.assertions {
            let request = CheckRequest {
                freshness: Consistency::FullyConsistent.into(),
                resource: assertion.resource.clone(),
                permission: assertion.permission.clone(),
                subject: assertion.subject.clone(),
                context: assertion.context.clone(),
                with: Vec::new(),
                trace: true,
            };
            // One that fails reaches nothing; that it fails is told by the run.
            if let Ok(answer) = authorizer.check(&ValidationFile::call(), &request, Effort::Full)
                && let Some(trace) = &answer.trace
            {
                reach(&schema, trace, &mut reached);
            }
        }
        let all: BTreeSet<String> = schema.definitions().iter().flat_map(parts).collect();
        let untouched = all.difference(&reached).cloned().collect();
        Ok(Coverage { parts: all.len(), untouched })
    }
}

/// The parts of a definition.
fn parts(definition: &Definition) -> Vec<String> {
    let mut parts = Vec::new();
    for member in definition.members() {
        let name = part(definition, member.name().as_str());
        if let Member::Permission(permission) = member {
            let mut branches = Vec::new();
            collect(&permission.expression, &mut branches);
            // A permission of one branch is that branch.
            if branches.len() > 1 {
                parts.extend(branches.iter().map(|branch| format!("{name}: {}", branch.text())));
            }
        }
        parts.push(name);
    }
    parts
}

fn part(definition: &Definition, member: &str) -> String {
    format!("{}#{member}", definition.name)
}

/// A leaf of an expression that asks about something.
enum Branch<'s> {
    Name(&'s str),
    Arrow(&'s str, &'s str),
}

impl Branch<'_> {
    fn text(&self) -> String {
        match self {
            Branch::Name(name) => (*name).to_owned(),
            Branch::Arrow(relation, target) => format!("{relation}->{target}"),
        }
    }

    /// Whether a question that a permission led to belongs to this branch.
    fn asks(&self, of: &Trace, question: &Trace) -> bool {
        match self {
            Branch::Name(name) => question.permission.as_str() == *name && question.resource == of.resource,
            Branch::Arrow(_, target) => question.permission.as_str() == *target,
        }
    }
}

fn collect<'s>(expression: &'s Expression, branches: &mut Vec<Branch<'s>>) {
    match expression {
        Expression::Nil | Expression::Itself => {}
        Expression::Reference(name) => branches.push(Branch::Name(name.as_str())),
        Expression::Arrow { relation, target, .. } => branches.push(Branch::Arrow(relation.as_str(), target.as_str())),
        Expression::Union(operands) | Expression::Intersection(operands) => {
            operands.iter().for_each(|operand| collect(operand, branches));
        }
        Expression::Exclusion(left, right) => [left, right].into_iter().for_each(|side| collect(side, branches)),
    }
}

fn reach(schema: &Schema, trace: &Trace, reached: &mut BTreeSet<String>) {
    let Some(definition) = schema.definition(trace.resource.object_type.as_str()) else { return };
    let name = part(definition, trace.permission.as_str());
    if let Some(permission) = definition.permission(trace.permission.as_str()) {
        let mut branches = Vec::new();
        collect(&permission.expression, &mut branches);
        for branch in branches {
            if trace.parts.iter().any(|question| branch.asks(trace, question)) {
                reached.insert(format!("{name}: {}", branch.text()));
                // The relation that an arrow walks was read, though no question names it.
                if let Branch::Arrow(relation, _) = branch {
                    reached.insert(part(definition, relation));
                }
            }
        }
    }
    reached.insert(name);
    trace.parts.iter().for_each(|question| reach(schema, question, reached));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn coverage(assertions: &str) -> Coverage {
        let text = format!(
            "schema: |-
  definition user {{}}
  definition folder {{
    relation viewer: user
    permission view = viewer
  }}
  definition document {{
    relation parent: folder
    relation viewer: user
    relation banned: user
    permission read = (viewer + parent->view) - banned
    permission other = viewer
  }}
relationships: |-
  document:plan#parent@folder:home
  document:plan#viewer@user:alice
  folder:home#viewer@user:bob
assertions:
{assertions}"
        );
        ValidationFile::parse(&text, &|_| Err(String::new())).unwrap().coverage().unwrap()
    }

    #[test]
    fn what_no_assertion_asks_about_is_named() {
        let nothing = coverage("  assertTrue: []");
        assert_eq!((nothing.parts, nothing.untouched.len(), nothing.percent()), (10, 10, 0));
        let relation = coverage("  assertTrue: [\"folder:home#viewer@user:bob\"]");
        assert_eq!(relation.untouched.len(), 9);
        assert!(!relation.untouched.contains(&"folder#viewer".to_owned()), "{relation:?}");
    }

    #[test]
    fn branches_are_reached_one_by_one() {
        let direct = coverage("  assertTrue: [\"document:plan#read@user:alice\"]");
        assert!(direct.untouched.contains(&"document#read: parent->view".to_owned()), "{direct:?}");
        assert!(direct.untouched.contains(&"document#other".to_owned()), "{direct:?}");
        assert!(!direct.untouched.contains(&"document#read: viewer".to_owned()), "{direct:?}");
        let both = coverage("  assertTrue: [\"document:plan#read@user:alice\", \"document:plan#read@user:bob\"]");
        assert!(!both.untouched.contains(&"document#read: parent->view".to_owned()), "{both:?}");
        assert!(!both.untouched.contains(&"document#parent".to_owned()), "{both:?}");
    }

    #[test]
    fn everything_can_be_reached() {
        let all = coverage(
            "  assertTrue:
    - document:plan#read@user:alice
    - document:plan#read@user:bob
    - document:plan#other@user:alice
  assertFalse:
    - document:plan#read@user:carol",
        );
        assert_eq!((all.untouched, all.parts), (Vec::<String>::new(), 10));
    }
}
