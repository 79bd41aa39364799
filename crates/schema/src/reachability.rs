//! Which relations and permissions depend on which, by the schema alone.
//!
//! Something *depends directly* on what it is written with: a permission on the relations and permissions that it names, on the
//! relation left of an arrow and on the arrow's target on each type that the relation leads to; a relation on the members
//! that its usersets name, and on the types of its other subjects; a permission with `self` on its own type.
//! Whatever does not depend on a relation, in any number of steps, stays as it is when relationships of that relation change.

use std::collections::{HashMap, HashSet};

use crate::schema::{Definition, Expression, Member, Schema, SubjectForm};

/// A relation or permission, and its definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached<'a> {
    /// Where it is defined.
    pub definition: &'a Definition,
    /// The relation or permission.
    pub member: Member<'a>,
}

/// What depends on a relation or permission, or, without `member`, on the objects of the type as subjects: sorted by
/// definition and name, itself left out. Nothing depends on what the schema does not have.
#[must_use]
pub fn dependents<'a>(schema: &'a Schema, definition: &'a str, member: Option<&'a str>) -> Vec<Reached<'a>> {
    let graph = Graph::new(schema);
    let mut users = graph.users();
    graph.closure(Node { definition, member }, |node, found| users.of(node, found))
}

/// What a relation or permission depends on: sorted by definition and name, itself left out. What the schema does not
/// have depends on nothing.
#[must_use]
pub fn dependencies<'a>(schema: &'a Schema, definition: &'a str, member: &'a str) -> Vec<Reached<'a>> {
    let graph = Graph::new(schema);
    graph.closure(Node { definition, member: Some(member) }, |node, found| {
        let Some(reached) = graph.members.get(&node) else { return };
        graph.mentioned(*reached, |mention| match mention {
            Mention::One(node) => found.push(node),
            Mention::Arrow { walked, target } => {
                found.extend(graph.types(walked).map(|definition| Node { definition, member: Some(target) }));
            }
        });
    })
}

/// A relation or permission, or without one the type itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Node<'a> {
    definition: &'a str,
    member: Option<&'a str>,
}

/// Part of what something is written with.
enum Mention<'a> {
    One(Node<'a>),
    /// The target of an arrow, on whatever the relation leads to.
    Arrow {
        walked: Node<'a>,
        target: &'a str,
    },
}

struct Graph<'a> {
    members: HashMap<Node<'a>, Reached<'a>>,
    /// The types that each relation leads to.
    leads_to: HashMap<Node<'a>, HashSet<&'a str>>,
}

impl<'a> Graph<'a> {
    fn new(schema: &'a Schema) -> Self {
        let (mut members, mut leads_to) = (HashMap::new(), HashMap::new());
        for definition in schema.definitions() {
            for member in definition.members() {
                let node = Node { definition: definition.name.as_str(), member: Some(member.name().as_str()) };
                members.insert(node, Reached { definition, member });
                if let Member::Relation(relation) = member {
                    let types = relation.allowed.iter().map(|allowed| allowed.subject_type.as_str());
                    leads_to.insert(node, types.collect());
                }
            }
        }
        Graph { members, leads_to }
    }

    /// The types that a relation leads to; none for what is no relation.
    fn types(&self, relation: Node<'a>) -> impl Iterator<Item = &'a str> {
        self.leads_to.get(&relation).into_iter().flatten().copied()
    }

    /// What a relation or permission is written with.
    fn mentioned(&self, reached: Reached<'a>, mut found: impl FnMut(Mention<'a>)) {
        let definition = reached.definition.name.as_str();
        match reached.member {
            Member::Relation(relation) => {
                for allowed in &relation.allowed {
                    let member = match &allowed.form {
                        SubjectForm::Object | SubjectForm::Wildcard => None,
                        SubjectForm::Userset(used) => Some(used.as_str()),
                    };
                    found(Mention::One(Node { definition: allowed.subject_type.as_str(), member }));
                }
            }
            Member::Permission(permission) => mentioned_by(definition, &permission.expression, &mut found),
        }
    }

    /// Everything that `next` leads to from `start`, in any number of steps.
    fn closure(&self, start: Node<'a>, mut next: impl FnMut(Node<'a>, &mut Vec<Node<'a>>)) -> Vec<Reached<'a>> {
        let mut seen = HashSet::from([start]);
        let (mut pending, mut found) = (vec![start], Vec::new());
        while let Some(node) = pending.pop() {
            next(node, &mut found);
            pending.extend(found.drain(..).filter(|node| seen.insert(*node)));
        }
        seen.remove(&start);
        let mut reached: Vec<_> = seen.into_iter().filter_map(|node| Some((node, *self.members.get(&node)?))).collect();
        reached.sort_unstable_by_key(|(node, _)| *node);
        reached.into_iter().map(|(_, reached)| reached).collect()
    }

    /// Who is written with what.
    fn users(&self) -> Users<'a, '_> {
        let mut users = Users { graph: self, direct: HashMap::new(), arrows: HashMap::new() };
        for (user, reached) in &self.members {
            self.mentioned(*reached, |mention| match mention {
                Mention::One(node) => users.direct.entry(node).or_default().push(*user),
                Mention::Arrow { walked, target } => users.arrows.entry(target).or_default().push((walked, *user)),
            });
        }
        users
    }
}

struct Users<'a, 'g> {
    graph: &'g Graph<'a>,
    direct: HashMap<Node<'a>, Vec<Node<'a>>>,
    /// By the target's name: the relation that is walked, and the permission that walks it.
    arrows: HashMap<&'a str, Vec<(Node<'a>, Node<'a>)>>,
}

impl<'a> Users<'a, '_> {
    fn of(&mut self, node: Node<'a>, found: &mut Vec<Node<'a>>) {
        found.extend(self.direct.get(&node).into_iter().flatten());
        // An arrow's target may be missing on some of the types.
        let target = node.member.filter(|_| self.graph.members.contains_key(&node));
        let Some(arrows) = target.and_then(|target| self.arrows.get_mut(target)) else { return };
        // An arrow that has been followed leads to nothing new from another type.
        arrows.retain(|(walked, permission)| {
            let leads_here = self.graph.leads_to.get(walked).is_some_and(|types| types.contains(node.definition));
            if leads_here {
                found.push(*permission);
            }
            !leads_here
        });
    }
}

/// Recursion is bounded by [`crate::NESTING_MAX`].
fn mentioned_by<'a>(definition: &'a str, expression: &'a Expression, found: &mut impl FnMut(Mention<'a>)) {
    let here = |member: &'a str| Node { definition, member: Some(member) };
    match expression {
        Expression::Nil => {}
        Expression::Itself => found(Mention::One(Node { definition, member: None })),
        Expression::Reference(name) => found(Mention::One(here(name.as_str()))),
        Expression::Arrow { relation, target, .. } => {
            let walked = here(relation.as_str());
            found(Mention::One(walked));
            found(Mention::Arrow { walked, target: target.as_str() });
        }
        Expression::Union(operands) | Expression::Intersection(operands) => {
            operands.iter().for_each(|operand| mentioned_by(definition, operand, found));
        }
        Expression::Exclusion(left, right) => {
            mentioned_by(definition, left, found);
            mentioned_by(definition, right, found);
        }
    }
}

#[cfg(test)]
mod tests;
