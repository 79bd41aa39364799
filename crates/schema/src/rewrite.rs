//! A schema under other names, or a part of one.

use std::collections::BTreeSet;

use stonetown_tuple::name::NameError;
use stonetown_tuple::{CaveatName, ObjectType, RelationName};

use crate::guards::Guard;
use crate::schema::{CaveatDefinition, Definition, Expression, MemberKind, Permission, Relation, Schema, SubjectForm};
use crate::text;

/// What becomes of a schema; the default leaves everything as it is.
#[derive(Clone, Copy)]
pub struct Rewriting<'r> {
    /// Which definitions and caveats stay, by their old names.
    pub keep: &'r dyn Fn(&str) -> bool,
    /// The new name of a definition.
    pub type_name: &'r dyn Fn(&str) -> String,
    /// The new name of a caveat.
    pub caveat_name: &'r dyn Fn(&str) -> String,
    /// The new name of a relation or permission.
    pub relation_name: &'r dyn Fn(&str) -> String,
    /// Whether comments stay.
    pub comments: bool,
}

impl Default for Rewriting<'_> {
    fn default() -> Self {
        let same: &dyn Fn(&str) -> String = &|name| name.to_owned();
        Rewriting { keep: &|_| true, type_name: same, caveat_name: same, relation_name: same, comments: true }
    }
}

impl Schema {
    /// The text of the schema after a rewriting. It may no longer compile: what was kept can need what was not, and two names
    /// can become one.
    ///
    /// # Errors
    /// When a new name is not well-formed.
    pub fn rewritten(&self, rewriting: &Rewriting<'_>) -> Result<String, NameError> {
        let kept = |name: &str| (rewriting.keep)(name);
        let definitions = self.definitions.iter().filter(|definition| kept(definition.name.as_str()));
        let caveats = self.caveats.iter().filter(|caveat| kept(caveat.name.as_str()));
        let rewritten = Schema::of(
            definitions.map(|one| rewriting.definition(one)).collect::<Result<_, _>>()?,
            caveats.map(|one| rewriting.caveat(one)).collect::<Result<_, _>>()?,
        );
        Ok(text::write(&rewritten))
    }
}

impl Rewriting<'_> {
    fn definition(&self, definition: &Definition) -> Result<Definition, NameError> {
        let order: Vec<MemberKind> = definition.order.clone();
        Ok(Definition {
            name: self.object_type(&definition.name)?,
            doc: self.comment(&definition.doc),
            relations: definition.relations.iter().map(|one| self.relation(one)).collect::<Result<_, _>>()?,
            permissions: definition.permissions.iter().map(|one| self.permission(one)).collect::<Result<_, _>>()?,
            order,
        })
    }

    fn caveat(&self, caveat: &CaveatDefinition) -> Result<CaveatDefinition, NameError> {
        let name = CaveatName::new((self.caveat_name)(caveat.name.as_str()))?;
        let doc = self.comment(&caveat.doc);
        Ok(CaveatDefinition { name, doc, caveat: caveat.caveat.clone(), sources: caveat.sources.clone() })
    }

    fn relation(&self, relation: &Relation) -> Result<Relation, NameError> {
        let mut allowed = relation.allowed.clone();
        for one in &mut allowed {
            one.subject_type = self.object_type(&one.subject_type)?;
            if let SubjectForm::Userset(name) = &one.form {
                one.form = SubjectForm::Userset(self.relation_name(name)?);
            }
            if let Some(caveat) = &one.caveat {
                one.caveat = Some(CaveatName::new((self.caveat_name)(caveat.as_str()))?);
            }
        }
        let (name, doc) = (self.relation_name(&relation.name)?, self.comment(&relation.doc));
        Ok(Relation { name, doc, guards: self.guards(&relation.guards)?, allowed })
    }

    fn guards(&self, guards: &BTreeSet<Guard>) -> Result<BTreeSet<Guard>, NameError> {
        let renamed = |guard: &Guard| match guard {
            Guard::EnumerateAs(lister) => self.relation_name(lister).map(Guard::EnumerateAs),
            Guard::StrictAudit | Guard::Reason | Guard::Ticket => Ok(guard.clone()),
        };
        guards.iter().map(renamed).collect()
    }

    fn permission(&self, permission: &Permission) -> Result<Permission, NameError> {
        let annotation = permission.annotation.as_ref();
        let annotation = annotation.map(|types| types.iter().map(|one| self.object_type(one)).collect());
        Ok(Permission {
            name: self.relation_name(&permission.name)?,
            doc: self.comment(&permission.doc),
            guards: self.guards(&permission.guards)?,
            expression: self.expression(&permission.expression)?,
            annotation: annotation.transpose()?,
        })
    }

    fn expression(&self, expression: &Expression) -> Result<Expression, NameError> {
        let all = |operands: &[Expression]| -> Result<Vec<_>, NameError> {
            operands.iter().map(|one| self.expression(one)).collect()
        };
        Ok(match expression {
            Expression::Nil | Expression::Itself => expression.clone(),
            Expression::Reference(name) => Expression::Reference(self.relation_name(name)?),
            Expression::Arrow { relation, target, function } => Expression::Arrow {
                relation: self.relation_name(relation)?,
                target: self.relation_name(target)?,
                function: *function,
            },
            Expression::Union(operands) => Expression::Union(all(operands)?),
            Expression::Intersection(operands) => Expression::Intersection(all(operands)?),
            Expression::Exclusion(left, right) => {
                Expression::Exclusion(Box::new(self.expression(left)?), Box::new(self.expression(right)?))
            }
        })
    }

    fn object_type(&self, name: &ObjectType) -> Result<ObjectType, NameError> {
        ObjectType::new((self.type_name)(name.as_str()))
    }

    fn relation_name(&self, name: &RelationName) -> Result<RelationName, NameError> {
        RelationName::new((self.relation_name)(name.as_str()))
    }

    fn comment(&self, doc: &str) -> String {
        if self.comments { doc.to_owned() } else { String::new() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::CompileOptions;

    const TEXT: &str = "use expiration
use typechecking

// the hour of day
caveat tod(hour int) { hour > 8 }
definition user {}
// a team
definition team { relation member: user | team#member }
definition doc {
    relation parent: doc
    // who reads
    relation reader: user:* | team#member with tod and expiration
    relation banned: user
    permission read: user = (reader + parent->read) - banned
    permission all = parent.all(read) & reader
}";

    #[test]
    fn nothing_changes_by_default() {
        let schema = Schema::compile(TEXT, &CompileOptions::default()).unwrap();
        assert_eq!(schema.rewritten(&Rewriting::default()).unwrap(), schema.text());
    }

    #[test]
    fn every_mention_of_a_name_changes() {
        let schema = Schema::compile(TEXT, &CompileOptions::default()).unwrap();
        let new: &dyn Fn(&str) -> String = &|name| format!("{name}_new");
        let rewriting =
            Rewriting { keep: &|_| true, type_name: new, caveat_name: new, relation_name: new, comments: false };
        let text = schema.rewritten(&rewriting).unwrap();
        assert!(!text.contains("//"), "{text}");
        let renamed = Schema::compile(&text, &CompileOptions::default()).unwrap();
        assert!(renamed.definition("doc_new").unwrap().permission("read_new").is_some());
        let old: &dyn Fn(&str) -> String = &|name| name.trim_end_matches("_new").to_owned();
        let back = Rewriting { type_name: old, caveat_name: old, relation_name: old, ..Rewriting::default() };
        let bare = Rewriting { comments: false, ..Rewriting::default() };
        assert_eq!(renamed.rewritten(&back).unwrap(), schema.rewritten(&bare).unwrap());
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        let schema = Schema::compile(TEXT, &CompileOptions::default()).unwrap();
        let bad: &dyn Fn(&str) -> String = &|_| "Not A Name".to_owned();
        assert!(schema.rewritten(&Rewriting { type_name: bad, ..Rewriting::default() }).is_err());
    }
}
