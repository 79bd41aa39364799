//! Warnings: what is allowed, but rarely meant.

use std::fmt;

use crate::check::Index;
use crate::compile::{self, CompileOptions};
use crate::error::{Place, SchemaError, Span};
use crate::limits::WARNINGS_MAX;
use crate::schema::ArrowFunction;
use crate::syntax::{Block, ExpressionKind, ExpressionNode, FormNode, MemberNode, Name, PermissionNode};

/// A comment that starts with this, before a relation or permission, silences the warning whose id follows.
const IGNORE: &str = "// spicedb-ignore-warning:";

/// Something that is allowed, but rarely meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What kind of warning, to silence it by: `relation-name-references-parent`, `permission-references-itself`,
    /// `arrow-references-unreachable-relation`, `arrow-walks-subject-relation` or `arrow-references-relation`.
    pub id: &'static str,
    /// The imported file that it is about; `None` for the schema itself.
    pub file: Option<String>,
    /// Where.
    pub span: Span,
    /// What is odd and what to do, in lower case, user input in backticks.
    pub message: String,
}

impl Warning {
    /// The warning for people: position counted from 1, and the line with carets below what it is about. `source` is the
    /// text that it is in: the linted one, or that of [`Warning::file`].
    #[must_use]
    pub fn render(&self, source: &str) -> String {
        format!("{self}\n{}", self.span.excerpt(source))
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        write!(f, "{}:{}: {} [{}]", self.span.start_line + 1, self.span.start_column + 1, self.message, self.id)
    }
}

/// The warnings about a schema, in the order of its definitions' names, at most [`WARNINGS_MAX`].
///
/// # Errors
/// As [`crate::Schema::compile`].
pub fn lint(source: &str, options: &CompileOptions<'_>) -> Result<Vec<Warning>, Vec<SchemaError>> {
    let compiled = compile::compile(source, options)?;
    let index = Index::new(&compiled.blocks);
    let mut linter = Linter { index: &index, found: Vec::new() };
    for (number, block) in compiled.blocks.iter().enumerate() {
        linter.definition(number, block);
    }
    let warnings = linter.found.into_iter().take(WARNINGS_MAX).map(|(id, at, message)| {
        let file = &compiled.files[at.file as usize];
        Warning { id, file: file.path.clone(), span: file.span(at), message }
    });
    Ok(warnings.collect())
}

struct Linter<'a> {
    index: &'a Index<'a>,
    found: Vec<(&'static str, Place, String)>,
}

/// A permission, where it is defined, and which warnings are silenced there.
#[derive(Clone, Copy)]
struct Context<'a> {
    number: usize,
    permission: &'a PermissionNode,
}

impl Linter<'_> {
    fn definition(&mut self, number: usize, block: &Block) {
        for member in &block.members {
            match member {
                MemberNode::Relation(relation) => self.member_name(block, "relation", &relation.name, &relation.doc),
                MemberNode::Permission(permission) => {
                    self.member_name(block, "permission", &permission.name, &permission.doc);
                    self.expression(Context { number, permission }, &permission.expression);
                }
                MemberNode::Splat(_) => {}
            }
        }
    }

    fn member_name(&mut self, block: &Block, what: &str, name: &Name, doc: &str) {
        if name.text.ends_with(&*block.name.text) {
            let message = format!("{what} `{}` repeats the name of its type `{}`; drop it", name.text, block.name.text);
            self.warn("relation-name-references-parent", doc, name.at, message);
        }
    }

    fn expression(&mut self, context: Context<'_>, node: &ExpressionNode) {
        let permission = context.permission;
        match &node.kind {
            ExpressionKind::Nil | ExpressionKind::Itself => {}
            ExpressionKind::Reference(name) => {
                if name.text == permission.name.text {
                    let message = format!("permission `{}` refers to itself, which adds nothing to it", name.text);
                    self.warn("permission-references-itself", &permission.doc, node.at, message);
                }
            }
            ExpressionKind::Arrow { relation, target, function } => {
                let written = match function {
                    ArrowFunction::Any => format!("{}->{}", relation.text, target.text),
                    ArrowFunction::All => format!("{}.all({})", relation.text, target.text),
                };
                let arrow = Arrow { at: node.at, written, relation, target };
                self.unreachable(context, &arrow);
                self.walks_userset(context, &arrow);
                self.targets_relation(context, &arrow);
            }
            ExpressionKind::Union(operands) | ExpressionKind::Intersection(operands) => {
                operands.iter().for_each(|operand| self.expression(context, operand));
            }
            ExpressionKind::Exclusion(left, right) => {
                self.expression(context, left);
                self.expression(context, right);
            }
        }
    }

    /// No type that the arrow leads to has its target.
    fn unreachable(&mut self, context: Context<'_>, arrow: &Arrow<'_>) {
        let types = self.index.types_of(context.number, &arrow.relation.text);
        if types.iter().all(|number| self.index.member(*number, &arrow.target.text).is_none()) {
            let message = format!(
                "`{}` gives nothing: no type of relation `{}` has a relation or permission `{}`",
                arrow.written, arrow.relation.text, arrow.target.text
            );
            self.warn("arrow-references-unreachable-relation", &context.permission.doc, arrow.at, message);
        }
    }

    /// The arrow leads to usersets, of which only the objects count.
    fn walks_userset(&mut self, context: Context<'_>, arrow: &Arrow<'_>) {
        let Some(MemberNode::Relation(relation)) = self.index.member(context.number, &arrow.relation.text) else {
            return;
        };
        let userset = relation.types.iter().find_map(|allowed| match &allowed.form {
            FormNode::Userset(used) => Some(format!("{}#{}", allowed.subject_type.text, used.text)),
            FormNode::Object | FormNode::Wildcard => None,
        });
        if let Some(userset) = userset {
            let message = format!(
                "`{}` walks from `{userset}` to its object; the relation after `#` plays no part",
                arrow.written
            );
            self.warn("arrow-walks-subject-relation", &context.permission.doc, arrow.at, message);
        }
    }

    /// The target is a relation of another type, which may one day need to be more than that.
    fn targets_relation(&mut self, context: Context<'_>, arrow: &Arrow<'_>) {
        let types = self.index.types_of(context.number, &arrow.relation.text);
        let target = types.iter().copied().find(|number| {
            *number != context.number
                && matches!(self.index.member(*number, &arrow.target.text), Some(MemberNode::Relation(_)))
        });
        if let Some(number) = target {
            let message = format!(
                "`{}` leads to the relation `{}` of `{}`; a permission there could change without changing this one",
                arrow.written, arrow.target.text, self.index.blocks[number].name.text
            );
            self.warn("arrow-references-relation", &context.permission.doc, arrow.at, message);
        }
    }

    fn warn(&mut self, id: &'static str, doc: &str, at: Place, message: String) {
        let silenced = doc.lines().any(|line| line.strip_prefix(IGNORE).is_some_and(|rest| rest.trim() == id));
        if !silenced {
            self.found.push((id, at, message));
        }
    }
}

/// An arrow of a permission.
struct Arrow<'a> {
    at: Place,
    written: String,
    relation: &'a Name,
    target: &'a Name,
}

#[cfg(test)]
mod tests;
