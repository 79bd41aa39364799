//! Text to schema: reads it, folds in imports and partials, checks names, compiles caveats, checks types.

use std::collections::{BTreeSet, HashMap, HashSet};

use stonetown_caveat::{Caveat, Parameter, ParameterType};
use stonetown_tuple::{CaveatName, NameError, ObjectType, RESERVED_PREFIX, RelationName, is_reserved};

use crate::check;
use crate::error::{Place, Reports, SchemaError, SchemaErrorKind, SourceFile};
use crate::guards::Guard;
use crate::imports;
use crate::limits::{
    ARROW_TYPES_MAX, CAVEAT_PARAMETERS_MAX, CAVEATS_MAX, EXPRESSION_TERMS_MAX, MEMBERS_MAX, PATTERN_BYTES_MAX,
    SCHEMA_BYTES_MAX,
};
use crate::listing;
use crate::partials;
use crate::schema::{
    AllowedType, CaveatDefinition, Definition, Expression, MemberKind, Permission, Relation, Schema, SubjectForm,
};
use crate::sources;
use crate::syntax::{
    Block, CaveatNode, ExpressionKind, ExpressionNode, Flags, FormNode, MemberNode, Name, ParameterTypeNode,
    PermissionNode, RelationNode, TypeNode,
};
use crate::text;

/// Gives the text of the file at a path, or says why it cannot.
pub type ResolveImport<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// How a schema is compiled. The default allows names without prefix and refuses imports.
#[derive(Clone, Copy, Default)]
pub struct CompileOptions<'a> {
    /// Whether object types and caveats must have a prefix, as in `tenant/document`.
    pub prefixes_required: bool,
    /// Resolves an import to its text, or says why it cannot. The path is relative to the schema and never leaves its
    /// folder; it has no empty, `.` or `..` parts. Without it an `import` is an error.
    pub imports: Option<ResolveImport<'a>>,
}

/// A schema and what it was compiled from.
pub(crate) struct Compiled {
    pub(crate) schema: Schema,
    /// The definitions with partials and imports folded in, sorted by name.
    pub(crate) blocks: Vec<Block>,
    pub(crate) files: Vec<SourceFile>,
}

pub(crate) fn compile(source: &str, options: &CompileOptions<'_>) -> Result<Compiled, Vec<SchemaError>> {
    let mut reports = Reports::default();
    if source.len() > SCHEMA_BYTES_MAX {
        let files = [SourceFile { path: None, text: String::new() }];
        reports.at(Place { file: 0, start: 0, end: 0 }, format!("the schema has more than {SCHEMA_BYTES_MAX} bytes"));
        return Err(reports.into_errors(SchemaErrorKind::Parse, &files));
    }
    let sources = imports::load(source, options.imports, &mut reports);
    let files = sources.files;
    if !reports.is_empty() {
        return Err(reports.into_errors(SchemaErrorKind::Parse, &files));
    }

    let (mut definitions, mut partials, mut caveats) = (Vec::new(), Vec::new(), Vec::new());
    let mut typechecking = false;
    for tree in sources.trees {
        definitions.extend(tree.definitions);
        partials.extend(tree.partials);
        caveats.extend(tree.caveats);
        typechecking |= tree.flags.typechecking;
    }
    check_duplicates(&definitions, &partials, &caveats, &mut reports);
    let mut blocks = partials::expand(definitions, &partials, &mut reports);
    if !typechecking {
        blocks.iter_mut().for_each(forget_annotations);
    }
    blocks.sort_by(|a, b| a.name.text.cmp(&b.name.text));
    caveats.sort_by(|a, b| a.name.text.cmp(&b.name.text));
    check_size(&blocks, &caveats, &mut reports);
    if !reports.is_empty() {
        return Err(reports.into_errors(SchemaErrorKind::Parse, &files));
    }

    let prefixes_required = options.prefixes_required;
    let mut lower = Lower { prefixes_required, reports: &mut reports, context: None, pattern_bytes: 0 };
    let definitions: Vec<Definition> = blocks.iter().filter_map(|block| lower.definition(block)).collect();
    let compiled: Vec<CaveatDefinition> = caveats.iter().filter_map(|caveat| lower.caveat(caveat)).collect();
    check_keywords(&definitions, &blocks, &caveats, &mut reports);
    if !reports.is_empty() {
        return Err(reports.into_errors(SchemaErrorKind::Parse, &files));
    }

    check::check(&blocks, &caveats, &compiled, &mut reports);
    sources::check_names(&caveats, &compiled, &mut reports);
    if !reports.is_empty() {
        return Err(reports.into_errors(SchemaErrorKind::Type, &files));
    }

    let mut schema = Schema::of(definitions, compiled);
    schema.text = text::write(&schema);
    if schema.text.len() > SCHEMA_BYTES_MAX {
        let message = format!("the schema has more than {SCHEMA_BYTES_MAX} bytes in its canonical form");
        reports.at(Place { file: 0, start: 0, end: 0 }, message);
        return Err(reports.into_errors(SchemaErrorKind::Parse, &files));
    }
    Ok(Compiled { schema, blocks, files })
}

/// Definitions, partials and caveats each have a name of their own; only a partial's may not be that of another kind.
fn check_duplicates(definitions: &[Block], partials: &[Block], caveats: &[CaveatNode], reports: &mut Reports) {
    let mut types = HashSet::new();
    for definition in definitions {
        report_duplicate(types.insert(&*definition.name.text), "definition", &definition.name, reports);
    }
    let mut conditions = HashSet::new();
    for caveat in caveats {
        report_duplicate(conditions.insert(&*caveat.name.text), "caveat", &caveat.name, reports);
    }
    let mut fragments = HashSet::new();
    for partial in partials {
        let name = &*partial.name.text;
        let is_new = fragments.insert(name) && !types.contains(name) && !conditions.contains(name);
        report_duplicate(is_new, "partial", &partial.name, reports);
    }
}

fn report_duplicate(is_new: bool, what: &str, name: &Name, reports: &mut Reports) {
    if !is_new {
        let message = format!("{what} `{}` has a name that is already taken", name.text);
        reports.within(name.at, &name.text, None, message);
    }
}

fn forget_annotations(block: &mut Block) {
    for member in &mut block.members {
        if let MemberNode::Permission(permission) = member {
            permission.annotation.clear();
        }
    }
}

fn check_size(blocks: &[Block], caveats: &[CaveatNode], reports: &mut Reports) {
    let members: usize = blocks.iter().map(|block| block.members.len() + listing::count(block)).sum();
    let terms: usize = permissions(blocks).map(|permission| sum_leaves(&permission.expression, &|_| 1)).sum();
    let start = Place { file: 0, start: 0, end: 0 };
    if members > MEMBERS_MAX {
        let twice = "where what lists one is named, it counts twice";
        reports.at(start, format!("the schema has more than {MEMBERS_MAX} relations and permissions; {twice}"));
    }
    if let Some(caveat) = caveats.get(CAVEATS_MAX) {
        reports.at(caveat.name.at, format!("the schema has more than {CAVEATS_MAX} caveats"));
    }
    if terms > EXPRESSION_TERMS_MAX {
        reports.at(start, format!("the permissions have more than {EXPRESSION_TERMS_MAX} operands"));
    }
    if blocks.iter().map(arrow_types).sum::<usize>() > ARROW_TYPES_MAX {
        reports.at(start, format!("the arrows walk relations with more than {ARROW_TYPES_MAX} allowed types in all"));
    }
}

/// The allowed types of the relations that a definition's arrows walk, once for each arrow.
fn arrow_types(block: &Block) -> usize {
    let types: HashMap<&str, usize> = block
        .members
        .iter()
        .filter_map(|member| match member {
            MemberNode::Relation(relation) => Some((&*relation.name.text, relation.types.len())),
            MemberNode::Permission(_) | MemberNode::Splat(_) => None,
        })
        .collect();
    let of_leaf = |leaf: &ExpressionKind| match leaf {
        ExpressionKind::Arrow { relation, .. } => types.get(&*relation.text).copied().unwrap_or(0),
        _ => 0,
    };
    permissions(std::slice::from_ref(block)).map(|permission| sum_leaves(&permission.expression, &of_leaf)).sum()
}

fn permissions(blocks: &[Block]) -> impl Iterator<Item = &PermissionNode> {
    blocks.iter().flat_map(|block| &block.members).filter_map(|member| match member {
        MemberNode::Permission(permission) => Some(permission),
        MemberNode::Relation(_) | MemberNode::Splat(_) => None,
    })
}

fn sum_leaves(expression: &ExpressionNode, of_leaf: &dyn Fn(&ExpressionKind) -> usize) -> usize {
    match &expression.kind {
        ExpressionKind::Union(operands) | ExpressionKind::Intersection(operands) => {
            operands.iter().map(|operand| sum_leaves(operand, of_leaf)).sum()
        }
        ExpressionKind::Exclusion(left, right) => sum_leaves(left, of_leaf) + sum_leaves(right, of_leaf),
        leaf => of_leaf(leaf),
    }
}

/// Files have their own `use` lines, the schema has one set of them: a word that one file uses as a name and another
/// as a keyword cannot be told apart in its canonical text.
fn check_keywords(definitions: &[Definition], blocks: &[Block], caveats: &[CaveatNode], reports: &mut Reports) {
    let flags = text::flags(definitions);
    let mut check = |name: &Name| {
        if let Some(word) = name.text.split('/').find(|word| flags.is_keyword(word)) {
            let message = format!("`{word}` is a name here, but a keyword elsewhere in the schema");
            reports.within(name.at, &name.text, None, message);
        }
    };
    if flags == Flags::default() {
        return;
    }
    for block in blocks {
        check(&block.name);
        for member in &block.members {
            match member {
                MemberNode::Relation(RelationNode { name, .. })
                | MemberNode::Permission(PermissionNode { name, .. }) => check(name),
                MemberNode::Splat(_) => {}
            }
        }
    }
    caveats.iter().for_each(|caveat| check(&caveat.name));
}

/// Turns syntax into the compiled form. A part whose name is wrong is reported and left out.
struct Lower<'r> {
    prefixes_required: bool,
    reports: &'r mut Reports,
    /// The definition or caveat, and the member, that is being turned.
    context: Option<(String, Option<String>)>,
    /// What the regular expressions of the caveats so far hold in memory.
    pattern_bytes: usize,
}

impl Lower<'_> {
    fn definition(&mut self, block: &Block) -> Option<Definition> {
        self.context = Some((block.name.text.to_string(), None));
        let name = self.object_type(&block.name);
        let lister = block.lister.as_ref().and_then(|lister| self.relation_name(lister));
        let (mut relations, mut permissions, mut order) = (Vec::new(), Vec::new(), Vec::new());
        for member in &block.members {
            match member {
                MemberNode::Relation(relation) => {
                    relations.extend(self.relation(relation, lister.as_ref()));
                    order.push(MemberKind::Relation);
                }
                MemberNode::Permission(permission) => {
                    permissions.extend(self.permission(permission, lister.as_ref()));
                    order.push(MemberKind::Permission);
                }
                MemberNode::Splat(_) => {}
            }
        }
        Some(Definition { name: name?, doc: block.doc.clone(), relations, permissions, order })
    }

    fn relation(&mut self, relation: &RelationNode, lister: Option<&RelationName>) -> Option<Relation> {
        self.enter_member(&relation.name);
        let name = self.relation_name(&relation.name);
        let allowed = relation.types.iter().filter_map(|allowed| self.allowed_type(allowed)).collect();
        let name = name?;
        let guards = self.guards(&name, &relation.guards, relation.lister.as_ref(), lister);
        Some(Relation { name, doc: relation.doc.clone(), guards, allowed })
    }

    /// The guards of a member, with what lists it: what it names itself, or else what its definition names.
    fn guards(
        &mut self,
        member: &RelationName,
        guards: &BTreeSet<Guard>,
        own: Option<&Name>,
        of_definition: Option<&RelationName>,
    ) -> BTreeSet<Guard> {
        let lister = match own {
            Some(own) => self.relation_name(own),
            None => of_definition.filter(|lister| *lister != member).cloned(),
        };
        guards.iter().cloned().chain(lister.map(Guard::EnumerateAs)).collect()
    }

    fn allowed_type(&mut self, node: &TypeNode) -> Option<AllowedType> {
        let subject_type = self.object_type(&node.subject_type);
        let form = match &node.form {
            FormNode::Object => SubjectForm::Object,
            FormNode::Wildcard => SubjectForm::Wildcard,
            FormNode::Userset(relation) => SubjectForm::Userset(self.relation_name(relation)?),
        };
        let caveat = match &node.caveat {
            Some(caveat) => Some(self.caveat_name(caveat)?),
            None => None,
        };
        Some(AllowedType { subject_type: subject_type?, form, caveat, expiration: node.expiration })
    }

    fn permission(&mut self, permission: &PermissionNode, lister: Option<&RelationName>) -> Option<Permission> {
        self.enter_member(&permission.name);
        let name = self.relation_name(&permission.name);
        let types: Vec<ObjectType> = permission.annotation.iter().filter_map(|name| self.object_type(name)).collect();
        let annotation = if permission.annotation.is_empty() { None } else { Some(types) };
        let expression = self.expression(&permission.expression);
        let (name, doc) = (name?, permission.doc.clone());
        let guards = self.guards(&name, &permission.guards, permission.lister.as_ref(), lister);
        Some(Permission { name, doc, guards, expression: expression?, annotation })
    }

    fn expression(&mut self, node: &ExpressionNode) -> Option<Expression> {
        Some(match &node.kind {
            ExpressionKind::Nil => Expression::Nil,
            ExpressionKind::Itself => Expression::Itself,
            ExpressionKind::Reference(name) => Expression::Reference(self.relation_name(name)?),
            ExpressionKind::Arrow { relation, target, function } => Expression::Arrow {
                relation: self.relation_name(relation)?,
                target: self.relation_name(target)?,
                function: *function,
            },
            ExpressionKind::Union(operands) => Expression::Union(self.operands(operands)?),
            ExpressionKind::Intersection(operands) => Expression::Intersection(self.operands(operands)?),
            ExpressionKind::Exclusion(left, right) => {
                Expression::Exclusion(Box::new(self.expression(left)?), Box::new(self.expression(right)?))
            }
        })
    }

    fn operands(&mut self, nodes: &[ExpressionNode]) -> Option<Vec<Expression>> {
        nodes.iter().map(|node| self.expression(node)).collect()
    }

    fn caveat(&mut self, node: &CaveatNode) -> Option<CaveatDefinition> {
        self.context = Some((node.name.text.to_string(), None));
        let name = self.caveat_name(&node.name);
        let parameters = self.parameters(node)?;
        let sources = sources::read(node, &parameters, &mut |at, message| self.report(at, message));
        match Caveat::compile(parameters, &node.expression.text) {
            Ok(caveat) => {
                self.pattern_bytes += caveat.pattern_bytes();
                if self.pattern_bytes > PATTERN_BYTES_MAX {
                    let message = "the regular expressions of all caveats are too large together".to_owned();
                    self.report(node.expression.at, message);
                    return None;
                }
                Some(CaveatDefinition { name: name?, doc: node.doc.clone(), caveat, sources })
            }
            Err(error) => {
                self.report(place_within(&node.expression, error.offset), error.message);
                None
            }
        }
    }

    fn parameters(&mut self, node: &CaveatNode) -> Option<Vec<Parameter>> {
        let count = node.parameters.len();
        if !(1..=CAVEAT_PARAMETERS_MAX).contains(&count) {
            let message = format!(
                "caveat `{}` has {count} parameters; from 1 to {CAVEAT_PARAMETERS_MAX} are possible",
                node.name.text
            );
            self.report(node.name.at, message);
            return None;
        }
        let mut seen = HashSet::new();
        let mut parameters = Vec::with_capacity(count);
        for parameter in &node.parameters {
            if !seen.insert(&parameter.name.text) {
                self.report(parameter.name.at, format!("parameter `{}` is there twice", parameter.name.text));
            }
            let parameter_type = self.parameter_type(&parameter.parameter_type);
            parameters.extend(
                parameter_type.map(|kind| Parameter { name: parameter.name.text.to_string(), parameter_type: kind }),
            );
        }
        (seen.len() == count && parameters.len() == count).then_some(parameters)
    }

    fn parameter_type(&mut self, node: &ParameterTypeNode) -> Option<ParameterType> {
        let arguments: Option<Vec<ParameterType>> =
            node.arguments.iter().map(|argument| self.parameter_type(argument)).collect();
        match ParameterType::named(&node.name.text, arguments?) {
            Ok(parameter_type) => Some(parameter_type),
            Err(error) => {
                self.report(node.at, error.to_string());
                None
            }
        }
    }

    fn object_type(&mut self, name: &Name) -> Option<ObjectType> {
        self.check_prefix(name);
        let checked = ObjectType::new(&*name.text);
        self.checked(checked, name.at)
    }

    fn caveat_name(&mut self, name: &Name) -> Option<CaveatName> {
        self.check_prefix(name);
        let checked = CaveatName::new(&*name.text);
        self.checked(checked, name.at)
    }

    fn relation_name(&mut self, name: &Name) -> Option<RelationName> {
        let checked = RelationName::new(&*name.text);
        self.checked(checked, name.at)
    }

    fn checked<T>(&mut self, checked: Result<T, NameError>, at: Place) -> Option<T> {
        checked.map_err(|error| self.report(at, error.to_string())).ok()
    }

    fn check_prefix(&mut self, name: &Name) {
        if is_reserved(&name.text) {
            self.report(name.at, format!("names that begin with `{RESERVED_PREFIX}` are reserved"));
        }
        if self.prefixes_required && !name.text.contains('/') {
            self.report(name.at, format!("`{0}` needs a prefix, as in `tenant/{0}`", name.text));
        }
    }

    fn enter_member(&mut self, name: &Name) {
        if let Some((_, member)) = &mut self.context {
            *member = Some(name.text.to_string());
        }
    }

    fn report(&mut self, at: Place, message: String) {
        match &self.context {
            Some((definition, member)) => self.reports.within(at, definition, member.as_deref(), message),
            None => self.reports.at(at, message),
        }
    }
}

/// The character at the byte `offset` of an expression, or all of it if there is none.
fn place_within(expression: &Name, offset: usize) -> Place {
    let Some(character) = expression.text.get(offset..).and_then(|rest| rest.chars().next()) else {
        return expression.at;
    };
    let start = expression.at.start + offset as u32;
    Place { start, end: start + character.len_utf8() as u32, ..expression.at }
}

#[cfg(test)]
mod tests;
