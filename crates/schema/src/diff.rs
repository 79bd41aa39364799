//! What changed from one schema to another.

use stonetown_caveat::{Parameter, ParameterType};

use crate::guards::Guard;
use crate::schema::{AllowedType, CaveatDefinition, Definition, Permission, Relation, Schema};
use crate::sources::ParameterSource;

/// One change. What was added, removed or changed is borrowed from the schema that has it; a change shows the new state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Difference<'a> {
    /// A definition that is new, with all its members.
    DefinitionAdded(&'a Definition),
    /// A definition that is gone, with all its members.
    DefinitionRemoved(&'a Definition),
    /// Another comment before a definition.
    DefinitionDocChanged(&'a Definition),
    /// A change of a relation.
    Relation(&'a Definition, &'a Relation, RelationChange<'a>),
    /// A change of a permission.
    Permission(&'a Definition, &'a Permission, PermissionChange<'a>),
    /// A change of a caveat.
    Caveat(&'a CaveatDefinition, CaveatChange<'a>),
}

/// What happened to a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelationChange<'a> {
    /// It is new, or was a permission.
    Added,
    /// It is gone, or has become a permission.
    Removed,
    /// The comment before it is another.
    DocChanged,
    /// It allows one more kind of subjects.
    TypeAdded(&'a AllowedType),
    /// It allows one kind of subjects less.
    TypeRemoved(&'a AllowedType),
    /// Its annotations ask for something more.
    GuardAdded(&'a Guard),
    /// Its annotations ask for something no more.
    GuardRemoved(&'a Guard),
}

/// What happened to a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PermissionChange<'a> {
    /// It is new, or was a relation.
    Added,
    /// It is gone, or has become a relation.
    Removed,
    /// The comment before it is another.
    DocChanged,
    /// Its expression is another than in this permission.
    ExpressionChanged(&'a Permission),
    /// Its annotations ask for something more.
    GuardAdded(&'a Guard),
    /// Its annotations ask for something no more.
    GuardRemoved(&'a Guard),
}

/// What happened to a caveat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CaveatChange<'a> {
    /// It is new, with all its parameters.
    Added,
    /// It is gone.
    Removed,
    /// The comment before it is another.
    DocChanged,
    /// Its expression is another than in this caveat.
    ExpressionChanged(&'a CaveatDefinition),
    /// It has one more parameter.
    ParameterAdded(&'a Parameter),
    /// It has one parameter less.
    ParameterRemoved(&'a Parameter),
    /// A parameter has another type than this.
    ParameterTypeChanged(&'a Parameter, &'a ParameterType),
    /// A parameter that relationships and requests could give is now given by this source alone.
    SourceAdded(&'a Parameter, &'a ParameterSource),
    /// A parameter that this source alone gave can now be given by relationships and requests: whoever asks may choose it.
    SourceRemoved(&'a Parameter, &'a ParameterSource),
    /// A parameter is given by the second source, and was by the first.
    SourceChanged(&'a Parameter, &'a ParameterSource, &'a ParameterSource),
}

impl Difference<'_> {
    /// Whether a guard that the old schema had by annotation is gone, so that more may be allowed than before, or with less
    /// behind it.
    #[must_use]
    pub fn loosens(&self) -> bool {
        matches!(
            self,
            Difference::Caveat(_, CaveatChange::SourceRemoved(..))
                | Difference::Relation(_, _, RelationChange::GuardRemoved(_))
                | Difference::Permission(_, _, PermissionChange::GuardRemoved(_))
        )
    }
}

/// The changes from `old` to `new`: first those that loosen a guard ([`Difference::loosens`]); then definitions by name, each with its relations, then its permissions, by name; then caveats
/// by name, each with its parameters by name.
///
/// Expressions are compared by their structure: layout, needless parentheses and `.any()` for `->` are no change, another
/// order of the operands is. The order of members, of types and of parameters is no change, nor is an annotation.
#[must_use]
pub fn diff<'a>(old: &'a Schema, new: &'a Schema) -> Vec<Difference<'a>> {
    let mut found = Vec::new();
    for pair in pairs(&old.definitions, &new.definitions, |definition| definition.name.as_str()) {
        match pair {
            Pair::Removed(definition) => found.push(Difference::DefinitionRemoved(definition)),
            Pair::Added(definition) => found.push(Difference::DefinitionAdded(definition)),
            Pair::Both(old, new) => definitions(old, new, &mut found),
        }
    }
    for pair in pairs(&old.caveats, &new.caveats, |caveat| caveat.name.as_str()) {
        match pair {
            Pair::Removed(caveat) => found.push(Difference::Caveat(caveat, CaveatChange::Removed)),
            Pair::Added(caveat) => found.push(Difference::Caveat(caveat, CaveatChange::Added)),
            Pair::Both(old, new) => caveats(old, new, &mut found),
        }
    }
    found.sort_by_key(|difference| !difference.loosens());
    found
}

fn definitions<'a>(old: &'a Definition, new: &'a Definition, found: &mut Vec<Difference<'a>>) {
    if old.doc != new.doc {
        found.push(Difference::DefinitionDocChanged(new));
    }
    for pair in pairs(&old.relations, &new.relations, |relation| relation.name.as_str()) {
        match pair {
            Pair::Removed(relation) => found.push(Difference::Relation(old, relation, RelationChange::Removed)),
            Pair::Added(relation) => found.push(Difference::Relation(new, relation, RelationChange::Added)),
            Pair::Both(before, after) => {
                found.extend(relations(before, after).map(|change| Difference::Relation(new, after, change)));
            }
        }
    }
    for pair in pairs(&old.permissions, &new.permissions, |permission| permission.name.as_str()) {
        match pair {
            Pair::Removed(one) => found.push(Difference::Permission(old, one, PermissionChange::Removed)),
            Pair::Added(one) => found.push(Difference::Permission(new, one, PermissionChange::Added)),
            Pair::Both(before, after) => {
                let mut changed = |change| found.push(Difference::Permission(new, after, change));
                if before.doc != after.doc {
                    changed(PermissionChange::DocChanged);
                }
                if before.expression != after.expression {
                    changed(PermissionChange::ExpressionChanged(before));
                }
                before.guards.difference(&after.guards).for_each(|gone| changed(PermissionChange::GuardRemoved(gone)));
                after.guards.difference(&before.guards).for_each(|come| changed(PermissionChange::GuardAdded(come)));
            }
        }
    }
}

fn relations<'a>(old: &'a Relation, new: &'a Relation) -> impl Iterator<Item = RelationChange<'a>> {
    let doc = (old.doc != new.doc).then_some(RelationChange::DocChanged);
    let types = pairs(&old.allowed, &new.allowed, |allowed| allowed).into_iter();
    let types = types.filter_map(|pair| match pair {
        Pair::Removed(allowed) => Some(RelationChange::TypeRemoved(allowed)),
        Pair::Added(allowed) => Some(RelationChange::TypeAdded(allowed)),
        Pair::Both(..) => None,
    });
    let gone = old.guards.difference(&new.guards).map(RelationChange::GuardRemoved);
    let come = new.guards.difference(&old.guards).map(RelationChange::GuardAdded);
    doc.into_iter().chain(types).chain(gone).chain(come)
}

fn caveats<'a>(old: &'a CaveatDefinition, new: &'a CaveatDefinition, found: &mut Vec<Difference<'a>>) {
    let mut changed = |change| found.push(Difference::Caveat(new, change));
    if old.doc != new.doc {
        changed(CaveatChange::DocChanged);
    }
    for pair in pairs(old.caveat.parameters(), new.caveat.parameters(), |parameter| parameter.name.as_str()) {
        match pair {
            Pair::Removed(parameter) => changed(CaveatChange::ParameterRemoved(parameter)),
            Pair::Added(parameter) => changed(CaveatChange::ParameterAdded(parameter)),
            Pair::Both(old, new) if old.parameter_type != new.parameter_type => {
                changed(CaveatChange::ParameterTypeChanged(new, &old.parameter_type));
            }
            Pair::Both(..) => {}
        }
    }
    let parameters = pairs(old.caveat.parameters(), new.caveat.parameters(), |parameter| parameter.name.as_str());
    for pair in parameters {
        let Pair::Both(parameter, _) = pair else { continue };
        match (old.source(&parameter.name), new.source(&parameter.name)) {
            (None, Some(source)) => changed(CaveatChange::SourceAdded(parameter, source)),
            (Some(source), None) => changed(CaveatChange::SourceRemoved(parameter, source)),
            (Some(old), Some(new)) if old != new => changed(CaveatChange::SourceChanged(parameter, old, new)),
            _ => {}
        }
    }
    if !old.caveat.has_same_expression(&new.caveat) {
        changed(CaveatChange::ExpressionChanged(old));
    }
}

enum Pair<'a, T> {
    Removed(&'a T),
    Added(&'a T),
    Both(&'a T, &'a T),
}

/// What two lists have in common by their keys, which no list has twice, in the order of the keys.
fn pairs<'a, T, K: Ord>(old: &'a [T], new: &'a [T], key: impl Fn(&'a T) -> K) -> Vec<Pair<'a, T>> {
    use std::collections::BTreeMap;
    let mut both: BTreeMap<K, (Option<&T>, Option<&T>)> = BTreeMap::new();
    old.iter().for_each(|one| both.entry(key(one)).or_default().0 = Some(one));
    new.iter().for_each(|one| both.entry(key(one)).or_default().1 = Some(one));
    let pair = |(old, new)| match (old, new) {
        (Some(old), Some(new)) => Some(Pair::Both(old, new)),
        (Some(old), None) => Some(Pair::Removed(old)),
        (None, Some(new)) => Some(Pair::Added(new)),
        (None, None) => None,
    };
    both.into_values().filter_map(pair).collect()
}

#[cfg(test)]
mod tests;
