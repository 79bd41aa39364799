//! The canonical text of a schema.

use std::fmt::Write;

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
    let parameters: Vec<String> = caveat
        .caveat
        .parameters()
        .iter()
        .map(|parameter| format!("{} {}", parameter.name, parameter.parameter_type))
        .collect();
    let expression = caveat.caveat.expression();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "caveat {}({}) {{\n\t{expression}\n}}", caveat.name, parameters.join(", "));
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
            Member::Relation(one) => writeln!(out, "\t{}", relation(one)),
            Member::Permission(one) => writeln!(out, "\t{}", permission(one)),
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

fn relation(relation: &Relation) -> String {
    let types: Vec<String> = relation.allowed.iter().map(ToString::to_string).collect();
    format!("relation {}: {}", relation.name, types.join(" | "))
}

fn permission(permission: &Permission) -> String {
    let mut out = format!("permission {}", permission.name);
    if let Some(types) = &permission.annotation {
        let types: Vec<&str> = types.iter().map(|one| one.as_str()).collect();
        let _ = write!(out, ": {}", types.join(" | "));
    }
    out.push_str(" = ");
    expression(&mut out, &permission.expression);
    out
}

/// Parentheses stand wherever operators mix, though precedence would need fewer.
fn expression(out: &mut String, node: &Expression) {
    match node {
        Expression::Nil => out.push_str("nil"),
        Expression::Itself => out.push_str("self"),
        Expression::Reference(name) => out.push_str(name.as_str()),
        Expression::Arrow { relation, target, function: ArrowFunction::Any } => {
            let _ = write!(out, "{relation}->{target}");
        }
        Expression::Arrow { relation, target, function: ArrowFunction::All } => {
            let _ = write!(out, "{relation}.all({target})");
        }
        Expression::Union(operands) => joined(out, operands, " + "),
        Expression::Intersection(operands) => joined(out, operands, " & "),
        Expression::Exclusion(left, right) => {
            // `a - b - c` is `(a - b) - c`, which needs no parentheses to be read.
            match &**left {
                Expression::Exclusion(..) => expression(out, left),
                _ => operand(out, left),
            }
            out.push_str(" - ");
            operand(out, right);
        }
    }
}

fn joined(out: &mut String, operands: &[Expression], operator: &str) {
    for (index, one) in operands.iter().enumerate() {
        if index > 0 {
            out.push_str(operator);
        }
        operand(out, one);
    }
}

fn operand(out: &mut String, node: &Expression) {
    let mixes = matches!(node, Expression::Union(_) | Expression::Intersection(_) | Expression::Exclusion(..));
    if mixes {
        out.push('(');
    }
    expression(out, node);
    if mixes {
        out.push(')');
    }
}

#[cfg(test)]
mod tests;
