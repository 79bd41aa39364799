//! The compiled schema: what all other crates see.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use stonetown_caveat::Caveat;
use stonetown_tuple::{CaveatName, ObjectType, RelationName};

use crate::compile::{self, CompileOptions};
use crate::error::SchemaError;
use crate::guards::Guard;
use crate::sources::ParameterSource;

/// A schema that has been read and checked: every name is well-formed, every reference that must resolve does.
/// Immutable. Two schemas are equal if they say the same, in the same order within each definition, with the same
/// comments.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    pub(crate) definitions: Vec<Definition>,
    pub(crate) caveats: Vec<CaveatDefinition>,
    pub(crate) text: String,
    /// The members that are audited strictly, by type.
    strict: HashMap<ObjectType, HashSet<RelationName>>,
}

impl Schema {
    /// Reads, resolves and checks a schema.
    ///
    /// # Errors
    /// All that is wrong with it, in the order of the text, at most [`crate::ERRORS_MAX`]; types are checked only once
    /// everything can be read. A schema beyond a limit of this crate (such as [`crate::SCHEMA_BYTES_MAX`]) is refused
    /// with an error that names the limit.
    pub fn compile(source: &str, options: &CompileOptions<'_>) -> Result<Schema, Vec<SchemaError>> {
        compile::compile(source, options).map(|compiled| compiled.schema)
    }

    /// A schema of parts that have been checked, without its text.
    pub(crate) fn of(definitions: Vec<Definition>, caveats: Vec<CaveatDefinition>) -> Schema {
        let mut strict: HashMap<ObjectType, HashSet<RelationName>> = HashMap::new();
        for definition in &definitions {
            for member in definition.members().filter(|member| member.guards().contains(&Guard::StrictAudit)) {
                strict.entry(definition.name.clone()).or_default().insert(member.name().clone());
            }
        }
        Schema { definitions, caveats, text: String::new(), strict }
    }

    /// Whether a question about a relation or permission is answered only after its record is synced. An empty name stands for
    /// all there are: then whether that is so of one of them.
    #[must_use]
    pub fn is_audited_strictly(&self, object_type: &str, member: &str) -> bool {
        let has = |members: &HashSet<RelationName>| member.is_empty() || members.contains(member);
        if object_type.is_empty() {
            return self.strict.values().any(has);
        }
        self.strict.get(object_type).is_some_and(has)
    }

    /// The definitions, sorted by name.
    #[must_use]
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// The caveats, sorted by name.
    #[must_use]
    pub fn caveats(&self) -> &[CaveatDefinition] {
        &self.caveats
    }

    /// The definition of that object type.
    #[must_use]
    pub fn definition(&self, name: &str) -> Option<&Definition> {
        let found = self.definitions.binary_search_by(|definition| definition.name.as_str().cmp(name));
        found.ok().map(|index| &self.definitions[index])
    }

    /// The caveat of that name.
    #[must_use]
    pub fn caveat(&self, name: &str) -> Option<&CaveatDefinition> {
        let found = self.caveats.binary_search_by(|caveat| caveat.name.as_str().cmp(name));
        found.ok().map(|index| &self.caveats[index])
    }

    /// The canonical text: `use` lines, caveats, definitions, each sorted by name, members in the order of the source,
    /// with their doc comments; partials and imports are folded in. Compiled, it gives an equal schema, whose text is
    /// the same. At most [`crate::SCHEMA_BYTES_MAX`] bytes.
    #[must_use]
    pub fn text(&self) -> String {
        self.text.clone()
    }
}

/// A type of objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The type.
    pub name: ObjectType,
    /// The comments before it, delimiters included, one per line, without the white space around their lines.
    pub doc: String,
    /// Its relations, in the order of the source.
    pub relations: Vec<Relation>,
    /// Its permissions, in the order of the source.
    pub permissions: Vec<Permission>,
    /// For each member, in the order of the source, whether it is a permission.
    pub(crate) order: Vec<MemberKind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberKind {
    Relation,
    Permission,
}

/// A relation or a permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Member<'a> {
    /// A relation, which relationships are written to.
    Relation(&'a Relation),
    /// A permission, which is computed.
    Permission(&'a Permission),
}

impl Definition {
    /// The relation of that name.
    #[must_use]
    pub fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.name.as_str() == name)
    }

    /// The permission of that name.
    #[must_use]
    pub fn permission(&self, name: &str) -> Option<&Permission> {
        self.permissions.iter().find(|permission| permission.name.as_str() == name)
    }

    /// The relation or permission of that name; no two share one.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Member<'_>> {
        self.relation(name).map(Member::Relation).or_else(|| self.permission(name).map(Member::Permission))
    }

    /// Relations and permissions in the order of the source.
    pub fn members(&self) -> impl Iterator<Item = Member<'_>> {
        let (mut relations, mut permissions) = (self.relations.iter(), self.permissions.iter());
        self.order.iter().filter_map(move |kind| match kind {
            MemberKind::Relation => relations.next().map(Member::Relation),
            MemberKind::Permission => permissions.next().map(Member::Permission),
        })
    }
}

impl<'a> Member<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a RelationName {
        match self {
            Member::Relation(relation) => &relation.name,
            Member::Permission(permission) => &permission.name,
        }
    }

    /// What its annotations ask for.
    #[must_use]
    pub fn guards(&self) -> &'a BTreeSet<Guard> {
        match self {
            Member::Relation(relation) => &relation.guards,
            Member::Permission(permission) => &permission.guards,
        }
    }
}

/// A relation: which subjects relationships may name. Its text is its line in the canonical schema, without comments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its name, unique among relations and permissions of the definition.
    pub name: RelationName,
    /// The comments before it, as in [`Definition::doc`].
    pub doc: String,
    /// What its annotations ask for.
    pub guards: BTreeSet<Guard>,
    /// The kinds of subjects, at least one, none twice, in the order of the source.
    pub allowed: Vec<AllowedType>,
}

/// One kind of subjects that a relation allows. Its text is what stands in the schema, such as
/// `group#member with on_tuesday and expiration`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllowedType {
    /// The type of the subjects; it is defined.
    pub subject_type: ObjectType,
    /// Objects of the type, all of them, or usersets.
    pub form: SubjectForm,
    /// The caveat that such relationships carry; it is defined.
    pub caveat: Option<CaveatName>,
    /// Whether such relationships expire.
    pub expiration: bool,
}

/// How subjects of an allowed type look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectForm {
    /// `user`: one object.
    Object,
    /// `user:*`: every object of the type.
    Wildcard,
    /// `group#member`: whoever has that relation or permission on the object; it is defined.
    Userset(RelationName),
}

/// A permission: a set of subjects computed from relations. Its text is its line in the canonical schema, without comments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// Its name, unique among relations and permissions of the definition.
    pub name: RelationName,
    /// The comments before it, as in [`Definition::doc`].
    pub doc: String,
    /// What its annotations ask for.
    pub guards: BTreeSet<Guard>,
    /// The set.
    pub expression: Expression,
    /// The types of subjects that may have it, if the schema says so under `use typechecking`. Complete: no subject of
    /// another type can have the permission.
    pub annotation: Option<Vec<ObjectType>>,
}

/// A set of subjects. Nested at most [`crate::NESTING_MAX`] deep. Its text has parentheses wherever operators mix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expression {
    /// `nil`: nobody.
    Nil,
    /// `self`: the resource itself, as a subject.
    Itself,
    /// The subjects of another relation or permission of the definition; it is defined.
    Reference(RelationName),
    /// The subjects that have `target` on the objects that `relation` leads to. Types that lack `target` have nobody.
    Arrow {
        /// A relation of the definition; no wildcard can be reached through it.
        relation: RelationName,
        /// A relation or permission of the objects that it leads to.
        target: RelationName,
        /// On how many of the objects.
        function: ArrowFunction,
    },
    /// In any of them. Two operands or more, none of which is a union.
    Union(Vec<Expression>),
    /// In all of them. Two operands or more, none of which is an intersection.
    Intersection(Vec<Expression>),
    /// In the first and not in the second.
    Exclusion(Box<Expression>, Box<Expression>),
}

/// On how many of the objects an arrow leads to a subject must have the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArrowFunction {
    /// `a->b` or `a.any(b)`: on one.
    Any,
    /// `a.all(b)`: on each; nobody if there is none.
    All,
}

/// A caveat: a condition on relationships. Its text is its head in the canonical schema, such as `caveat on_day(day string)`.
#[derive(Debug, Clone)]
pub struct CaveatDefinition {
    /// Its name.
    pub name: CaveatName,
    /// The comments before it, as in [`Definition::doc`].
    pub doc: String,
    /// Its parameters and expression.
    pub caveat: Caveat,
    /// Who gives the value of each parameter; `None` for relationships and requests.
    pub sources: Vec<Option<ParameterSource>>,
}

impl PartialEq for CaveatDefinition {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.doc == other.doc
            && self.sources == other.sources
            && self.caveat.parameters() == other.caveat.parameters()
            && self.caveat.expression() == other.caveat.expression()
    }
}

impl fmt::Display for AllowedType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subject_type)?;
        match &self.form {
            SubjectForm::Object => {}
            SubjectForm::Wildcard => f.write_str(":*")?,
            SubjectForm::Userset(relation) => write!(f, "#{relation}")?,
        }
        match (&self.caveat, self.expiration) {
            (None, false) => Ok(()),
            (Some(caveat), false) => write!(f, " with {caveat}"),
            (None, true) => f.write_str(" with expiration"),
            (Some(caveat), true) => write!(f, " with {caveat} and expiration"),
        }
    }
}
