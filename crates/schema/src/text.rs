//! The canonical text of a schema.

use std::fmt::{self, Display, Formatter, Write};

use crate::schema::{ArrowFunction, CaveatDefinition, Definition, Expression, Member, Permission, Relation, Schema};
use crate::syntax::Flags;

/// See [`Schema::text`].
pub(crate) fn write(schema: &Schema) -> String {
    let mut parts = Vec::with_capacity(1 + schema.caveats.len() + schema.definitions.len());
    let flags = flags(&schema.definitions);
    let uses = [("expiration", flags.expiration), ("self", flags.itself), ("typechecking", flags.typechecking)];
    let lines: Vec<String> = uses.iter().filter(|(_, used)| *used).map(|(name, _)| format!("use {name}\n")).collect();
    if !lines.is_empty() {
        parts.push(lines.concat());
    }
    parts.extend(schema.caveats.iter().map(caveat));
    parts.extend(schema.definitions.iter().map(definition));
    parts.join("\n")
}

/// The flags that the schema needs.
pub(crate) fn flags(definitions: &[Definition]) -> Flags {
    let mut flags = Flags::default();
    for definition in definitions {
        flags.expiration |=
            definition.relations.iter().flat_map(|relation| &relation.allowed).any(|one| one.expiration);
        flags.itself |= definition.permissions.iter().any(|permission| has_itself(&permission.expression));
        flags.typechecking |= definition.permissions.iter().any(|permission| permission.annotation.is_some());
    }
    flags
}

fn has_itself(expression: &Expression) -> bool {
    match expression {
        Expression::Itself => true,
        Expression::Nil | Expression::Reference(_) | Expression::Arrow { .. } => false,
        Expression::Union(operands) | Expression::Intersection(operands) => operands.iter().any(has_itself),
        Expression::Exclusion(left, right) => has_itself(left) || has_itself(right),
    }
}

fn caveat(caveat: &CaveatDefinition) -> String {
    let mut out = String::new();
    doc(&mut out, &caveat.doc, "");
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{caveat} {{\n\t{}\n}}", caveat.caveat.expression());
    out
}

fn definition(definition: &Definition) -> String {
    let mut out = String::new();
    doc(&mut out, &definition.doc, "");
    if definition.order.is_empty() {
        let _ = writeln!(out, "definition {} {{}}", definition.name);
        return out;
    }
    let _ = writeln!(out, "definition {} {{", definition.name);
    for (index, member) in definition.members().enumerate() {
        let written = match member {
            Member::Relation(relation) => &relation.doc,
            Member::Permission(permission) => &permission.doc,
        };
        if index > 0 && !written.is_empty() {
            out.push('\n');
        }
        doc(&mut out, written, "\t");
        let _ = match member {
            Member::Relation(relation) => writeln!(out, "\t{relation}"),
            Member::Permission(permission) => writeln!(out, "\t{permission}"),
        };
    }
    out.push_str("}\n");
    out
}

/// Comments, each line at its place; what goes on in a block comment with `*` is aligned below its first `*`.
fn doc(out: &mut String, doc: &str, indent: &str) {
    for line in doc.lines() {
        if !line.is_empty() {
            let align = if line.starts_with('*') { " " } else { "" };
            let _ = write!(out, "{indent}{align}{line}");
        }
        out.push('\n');
    }
}

impl Display for CaveatDefinition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "caveat {}(", self.name)?;
        let parameters = self.caveat.parameters();
        joined(f, parameters, ", ", |parameter, f| write!(f, "{} {}", parameter.name, parameter.parameter_type))?;
        f.write_char(')')
    }
}

impl Display for Relation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "relation {}: ", self.name)?;
        joined(f, &self.allowed, " | ", |allowed, f| allowed.fmt(f))
    }
}

impl Display for Permission {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "permission {}", self.name)?;
        if let Some(types) = &self.annotation {
            f.write_str(": ")?;
            joined(f, types, " | ", |one, f| one.fmt(f))?;
        }
        write!(f, " = {}", self.expression)
    }
}

/// Parentheses stand wherever operators mix, though precedence would need fewer.
impl Display for Expression {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expression::Nil => f.write_str("nil"),
            Expression::Itself => f.write_str("self"),
            Expression::Reference(name) => name.fmt(f),
            Expression::Arrow { relation, target, function: ArrowFunction::Any } => write!(f, "{relation}->{target}"),
            Expression::Arrow { relation, target, function: ArrowFunction::All } => {
                write!(f, "{relation}.all({target})")
            }
            Expression::Union(operands) => joined(f, operands, " + ", operand),
            Expression::Intersection(operands) => joined(f, operands, " & ", operand),
            Expression::Exclusion(left, right) => {
                // `a - b - c` is `(a - b) - c`, which needs no parentheses to be read.
                match &**left {
                    Expression::Exclusion(..) => left.fmt(f)?,
                    _ => operand(left, f)?,
                }
                f.write_str(" - ")?;
                operand(right, f)
            }
        }
    }
}

fn operand(node: &Expression, f: &mut Formatter<'_>) -> fmt::Result {
    let mixes = matches!(node, Expression::Union(_) | Expression::Intersection(_) | Expression::Exclusion(..));
    if mixes { write!(f, "({node})") } else { node.fmt(f) }
}

fn joined<T>(
    f: &mut Formatter<'_>,
    items: &[T],
    separator: &str,
    write: impl Fn(&T, &mut Formatter<'_>) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        write(item, f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
