//! What expand shows: a permission taken apart along its expression.

use std::collections::BTreeSet;

use stonetown_schema::{ArrowFunction, Expression};
use stonetown_tuple::{ObjectRef, RelationName, SubjectRef};

use super::{Reference, object_of};

/// A relation or permission of an object, or a part of its expression, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// The object.
    pub object: ObjectRef,
    /// Its relation or permission.
    pub name: RelationName,
    /// What it is made of.
    pub parts: Parts,
}

/// What a part of a permission is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parts {
    /// Subjects of live relationships, whatever their caveats; usersets and wildcards as they stand there.
    Subjects(BTreeSet<SubjectRef>),
    /// In any of these.
    Any(Vec<Tree>),
    /// In all of these.
    All(Vec<Tree>),
    /// In the first and not in the second.
    Without(Vec<Tree>),
}

impl Reference {
    /// Takes a relation or permission apart. What leads back to a part around it is nobody there. `None` if the tree has
    /// more than `parts_max` parts: it can grow exponentially.
    #[must_use]
    pub fn expand(&self, resource: &ObjectRef, name: &RelationName, parts_max: usize) -> Option<Tree> {
        Expansion { reference: self, around: Vec::new(), parts_left: parts_max }.node(resource, name)
    }
}

struct Expansion<'a> {
    reference: &'a Reference,
    /// The relations and permissions around the current one, outermost first.
    around: Vec<(ObjectRef, RelationName)>,
    parts_left: usize,
}

impl Expansion<'_> {
    fn node(&mut self, object: &ObjectRef, name: &RelationName) -> Option<Tree> {
        let here = (object.clone(), name.clone());
        if self.around.contains(&here) {
            return self.tree(&here, Parts::Any(Vec::new()));
        }
        let definition = self.reference.schema.definition(object.object_type.as_str());
        let Some(permission) = definition.and_then(|definition| definition.permission(name.as_str())) else {
            return self.tree(&here, Parts::Subjects(self.subjects(object, name)));
        };
        self.around.push(here.clone());
        let part = self.expression(&here, &permission.expression);
        self.around.pop();
        match permission.expression {
            Expression::Union(_) | Expression::Intersection(_) | Expression::Exclusion(..) => part,
            _ => self.tree(&here, Parts::Any(vec![part?])),
        }
    }

    fn expression(&mut self, here: &(ObjectRef, RelationName), expression: &Expression) -> Option<Tree> {
        let object = &here.0;
        let parts = match expression {
            Expression::Reference(name) => return self.node(object, name),
            Expression::Nil => Parts::Any(Vec::new()),
            Expression::Itself => Parts::Subjects(BTreeSet::from([SubjectRef::object(object.clone())])),
            Expression::Union(parts) => Parts::Any(self.expressions(here, parts)?),
            Expression::Intersection(parts) => Parts::All(self.expressions(here, parts)?),
            Expression::Exclusion(left, right) => {
                Parts::Without(vec![self.expression(here, left)?, self.expression(here, right)?])
            }
            Expression::Arrow { relation, target, function } => {
                let mut parts = Vec::new();
                for subject in self.subjects(object, relation) {
                    let Some((object_type, object_id)) = object_of(&subject) else { continue };
                    let next = ObjectRef { object_type: object_type.clone(), object_id: object_id.clone() };
                    let definition = self.reference.schema.definition(object_type.as_str());
                    match definition.and_then(|definition| definition.member(target.as_str())) {
                        Some(_) => parts.push(self.node(&next, target)?),
                        None if *function == ArrowFunction::All => parts.push(self.tree(here, Parts::Any(Vec::new()))?),
                        None => {}
                    }
                }
                match function {
                    ArrowFunction::All if !parts.is_empty() => Parts::All(parts),
                    ArrowFunction::All | ArrowFunction::Any => Parts::Any(parts),
                }
            }
        };
        self.tree(here, parts)
    }

    fn expressions(&mut self, here: &(ObjectRef, RelationName), parts: &[Expression]) -> Option<Vec<Tree>> {
        parts.iter().map(|part| self.expression(here, part)).collect()
    }

    fn subjects(&self, object: &ObjectRef, relation: &RelationName) -> BTreeSet<SubjectRef> {
        let row = self.reference.edges.get(&(object.clone(), relation.clone()));
        row.map(|subjects| subjects.keys().cloned().collect()).unwrap_or_default()
    }

    fn tree(&mut self, (object, name): &(ObjectRef, RelationName), parts: Parts) -> Option<Tree> {
        self.parts_left = self.parts_left.checked_sub(1)?;
        Some(Tree { object: object.clone(), name: name.clone(), parts })
    }
}
