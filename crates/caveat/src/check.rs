//! The type check. It resolves every name, gives every expression a type, and leaves [`Node`]s to evaluate.
//!
//! Errors are found here rather than at a request: undeclared names, functions that do not exist or do not take what
//! they are given, and a result that is no bool. Where a type is `any`, the check is left to the evaluation.

use cel::common::ast::{EntryExpr, Expr, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue, SelectExpr, SourceInfo};
use std::sync::Arc;

use crate::compile::CompileError;
use crate::evaluate::{Element, Meter, Node};
use crate::functions::{self, Function};
use crate::limits::{EVALUATION_STEPS_MAX, NESTING_MAX, PATTERN_BYTES_MAX, PATTERNS_BYTES_MAX};
use crate::overloads::{self, Style};
use crate::pattern::Pattern;
use crate::types::Parameter;
use crate::value::{Key, Kind, Type, Value};

mod macros;

/// An expression that is well-typed.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) root: Node,
    /// The parameters it mentions, as a set of bits.
    pub(crate) used: u32,
    /// What its patterns hold in memory.
    pub(crate) pattern_bytes: usize,
}

/// Checks a whole expression.
pub(crate) fn check(parameters: &[Parameter], tree: &IdedExpr, source: &SourceInfo) -> Result<Checked, CompileError> {
    let mut checker = Checker { parameters, source, locals: Vec::new(), used: 0, pattern_bytes: 0, depth: 0 };
    let (root, result) = checker.check(tree)?;
    if !result.kind().may_be(Kind::Bool) {
        return Err(checker.error(tree, format!("the expression must result in bool, not {result}")));
    }
    Ok(Checked { root, used: checker.used, pattern_bytes: checker.pattern_bytes })
}

type Typed = Result<(Node, Type), CompileError>;

struct Checker<'a> {
    parameters: &'a [Parameter],
    source: &'a SourceInfo,
    /// The variables of the macros around, outermost first.
    locals: Vec<(String, Type)>,
    used: u32,
    pattern_bytes: usize,
    depth: usize,
}

impl Checker<'_> {
    fn check(&mut self, tree: &IdedExpr) -> Typed {
        // The tree may be a little higher than the text was deep, as a macro is more than a call.
        if self.depth > 3 * NESTING_MAX {
            return Err(self.error(tree, "the expression is nested too deeply"));
        }
        self.depth += 1;
        let checked = self.check_one(tree);
        self.depth -= 1;
        checked
    }

    fn check_one(&mut self, tree: &IdedExpr) -> Typed {
        match &tree.expr {
            Expr::Literal(literal) => Ok(constant(literal)),
            Expr::Ident(name) => self.name(tree, name),
            Expr::Select(select) => self.select(tree, select),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(tree, &map.entries),
            Expr::Call(call) => match &call.target {
                Some(target) => self.method(tree, target, &call.func_name, &call.args),
                None => self.function(tree, &call.func_name, &call.args),
            },
            Expr::Comprehension(comprehension) => self.comprehension(tree, comprehension),
            Expr::Struct(message) => Err(self.error(tree, format!("there is no message type `{}`", message.type_name))),
            Expr::Unspecified => Err(self.error(tree, "an expression is missing")),
        }
    }

    /// A variable, else a parameter, else a type. A leading dot skips variables.
    fn name(&mut self, tree: &IdedExpr, name: &str) -> Typed {
        let global = name.strip_prefix('.');
        if global.is_none()
            && let Some(depth) = self.locals.iter().rposition(|(local, _)| local == name)
        {
            return Ok((Node::Local(depth), self.locals[depth].1.clone()));
        }
        let name = global.unwrap_or(name);
        if let Some(index) = self.parameters.iter().position(|parameter| parameter.name == name) {
            self.used |= 1 << index;
            return Ok((Node::Parameter(index), Type::of(&self.parameters[index].parameter_type)));
        }
        match Kind::named(name) {
            Some(kind) => Ok((Node::Constant(Value::Type(kind)), Type::Plain(Kind::Type))),
            None => Err(self.error(tree, format!("`{name}` is neither a parameter nor a variable"))),
        }
    }

    fn select(&mut self, tree: &IdedExpr, select: &SelectExpr) -> Typed {
        if let Some(kind) = self.qualified_name(tree).and_then(|name| Kind::named(&name)) {
            return Ok((Node::Constant(Value::Type(kind)), Type::Plain(Kind::Type)));
        }
        let (operand, operand_type) = self.check(&select.operand)?;
        let Some(field_type) = field_type(&operand_type) else {
            return Err(self.error(tree, format!("`.{}`: {operand_type} has no fields", select.field)));
        };
        let field = Key::String(Arc::from(select.field.as_str()));
        let node = Node::Select { operand: Box::new(operand), field, only_test: select.test };
        Ok((node, if select.test { Type::BOOL } else { field_type }))
    }

    /// The dotted name that a selection spells, unless its first part is declared.
    fn qualified_name(&self, tree: &IdedExpr) -> Option<String> {
        match &tree.expr {
            Expr::Ident(name) if self.is_declared(name) => None,
            Expr::Ident(name) => Some(name.trim_start_matches('.').to_owned()),
            Expr::Select(select) if !select.test => {
                Some(format!("{}.{}", self.qualified_name(&select.operand)?, select.field))
            }
            _ => None,
        }
    }

    fn is_declared(&self, name: &str) -> bool {
        self.locals.iter().any(|(local, _)| local == name) || self.parameters.iter().any(|p| p.name == name)
    }

    fn list(&mut self, list: &ListExpr) -> Typed {
        let mut elements = Vec::with_capacity(list.elements.len());
        let mut joined = None;
        for (index, tree) in list.elements.iter().enumerate() {
            let is_optional = list.optional_indices.contains(&index);
            let (element, element_type) = self.element(tree, is_optional)?;
            joined = Some(join(joined, element_type));
            elements.push(element);
        }
        let list_type = Type::list(joined.unwrap_or(Type::DYN));
        let constants: Option<Vec<Value>> = elements.iter().map(Element::constant).collect();
        match constants {
            Some(items) => Ok((Node::Constant(Value::List(Arc::new(items))), list_type)),
            None => Ok((Node::List(elements), list_type)),
        }
    }

    fn map(&mut self, tree: &IdedExpr, entries: &[IdedEntryExpr]) -> Typed {
        let mut nodes = Vec::with_capacity(entries.len());
        let mut joined_key = None;
        let mut joined = None;
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(self.error(tree, "a map has keys and values"));
            };
            let (key, key_type) = self.check(&entry.key)?;
            if !matches!(key_type.kind(), Kind::Bool | Kind::Int | Kind::Uint | Kind::String | Kind::Dyn) {
                return Err(self.error(&entry.key, format!("{key_type} cannot be the key of a map")));
            }
            let (element, element_type) = self.element(&entry.value, entry.optional)?;
            joined_key = Some(join(joined_key, key_type));
            joined = Some(join(joined, element_type));
            nodes.push((key, element));
        }
        Ok((Node::Map(nodes), Type::map(joined_key.unwrap_or(Type::DYN), joined.unwrap_or(Type::DYN))))
    }

    fn element(&mut self, tree: &IdedExpr, is_optional: bool) -> Result<(Element, Type), CompileError> {
        let (node, node_type) = self.check(tree)?;
        let element_type = match node_type {
            Type::Optional(value) if is_optional => Arc::unwrap_or_clone(value),
            other if is_optional && other.kind() != Kind::Dyn => {
                return Err(self.error(tree, format!("an element after `?` must be optional, not {other}")));
            }
            other => other,
        };
        Ok((Element { node, is_optional }, element_type))
    }

    fn function(&mut self, tree: &IdedExpr, name: &str, arguments: &[IdedExpr]) -> Typed {
        let name = name.strip_prefix('.').unwrap_or(name);
        match (name, arguments) {
            ("_&&_", [a, b]) => self.logic(false, a, b),
            ("_||_", [a, b]) => self.logic(true, a, b),
            ("_?_:_", [condition, a, b]) => self.conditional(condition, a, b),
            ("dyn", [argument]) => Ok((self.check(argument)?.0, Type::DYN)),
            _ => {
                let arguments = arguments.iter().map(|tree| self.check(tree)).collect::<Result<Vec<_>, _>>()?;
                self.call(tree, name, Style::Global, arguments)
            }
        }
    }

    fn method(&mut self, tree: &IdedExpr, target: &IdedExpr, name: &str, arguments: &[IdedExpr]) -> Typed {
        if matches!(&target.expr, Expr::Ident(namespace) if namespace == "optional" && !self.is_declared(namespace)) {
            return match (name, arguments) {
                ("none", []) => Ok((Node::Constant(Value::Optional(None)), Type::optional(Type::DYN))),
                _ => self.function(tree, &format!("optional.{name}"), arguments),
            };
        }
        match (name, arguments) {
            ("or", [other]) => self.or_else(tree, false, target, other),
            ("orValue", [other]) => self.or_else(tree, true, target, other),
            ("optMap", [variable, body]) => self.map_optional(tree, false, target, variable, body),
            ("optFlatMap", [variable, body]) => self.map_optional(tree, true, target, variable, body),
            _ => {
                let all = std::iter::once(target).chain(arguments);
                let arguments = all.map(|tree| self.check(tree)).collect::<Result<Vec<_>, _>>()?;
                self.call(tree, name, Style::Method, arguments)
            }
        }
    }

    fn call(&mut self, tree: &IdedExpr, name: &str, style: Style, arguments: Vec<(Node, Type)>) -> Typed {
        let (nodes, types): (Vec<Node>, Vec<Type>) = arguments.into_iter().unzip();
        let (function, result) =
            overloads::resolve(name, style, &types).map_err(|message| self.error(tree, message))?;
        let node = self.specialize(tree, function, nodes)?;
        Ok((node, result))
    }

    /// Does once what would be the same in every evaluation.
    fn specialize(&mut self, tree: &IdedExpr, function: Function, mut nodes: Vec<Node>) -> Result<Node, CompileError> {
        if let [_, Node::Constant(Value::String(literal))] = nodes.as_slice() {
            let literal = Arc::clone(literal);
            match function {
                Function::Matches => {
                    let pattern = self.pattern(&literal).map_err(|message| self.error(tree, message))?;
                    return Ok(Node::Matches { text: Box::new(nodes.swap_remove(0)), pattern: Box::new(pattern) });
                }
                Function::InCidr => {
                    let network = functions::parse_network(&literal).map_err(|message| self.error(tree, message))?;
                    return Ok(Node::InNetwork { address: Box::new(nodes.swap_remove(0)), network });
                }
                _ => {}
            }
        }
        let constants: Option<Vec<Value>> = nodes.iter().map(Node::constant).collect();
        // A call that has no result keeps that for the evaluation, where `||` may absorb it.
        if let Some(constants) = constants
            && let Ok(value) = functions::apply(function, &constants, &mut Meter::new(EVALUATION_STEPS_MAX))
        {
            return Ok(Node::Constant(value));
        }
        Ok(Node::Call { function, arguments: nodes.into_boxed_slice() })
    }

    fn pattern(&mut self, literal: &str) -> Result<Pattern, String> {
        let pattern = Pattern::compile(literal, PATTERN_BYTES_MAX)?;
        self.pattern_bytes += pattern.bytes();
        if self.pattern_bytes > PATTERNS_BYTES_MAX {
            return Err("the regular expressions of the caveat are too large together".to_owned());
        }
        Ok(pattern)
    }

    fn logic(&mut self, deciding: bool, a: &IdedExpr, b: &IdedExpr) -> Typed {
        let terms = Box::new([self.condition(a)?, self.condition(b)?]);
        Ok((Node::Logic { deciding, terms }, Type::BOOL))
    }

    fn condition(&mut self, tree: &IdedExpr) -> Result<Node, CompileError> {
        let (node, found) = self.check(tree)?;
        if found.kind().may_be(Kind::Bool) {
            return Ok(node);
        }
        Err(self.error(tree, format!("a condition must be bool, not {found}")))
    }

    fn conditional(&mut self, condition: &IdedExpr, a: &IdedExpr, b: &IdedExpr) -> Typed {
        let condition = self.condition(condition)?;
        let (a, a_type) = self.check(a)?;
        let (b_node, b_type) = self.check(b)?;
        if !a_type.fits(&b_type) {
            return Err(self.error(b, format!("the two results must have one type, found {a_type} and {b_type}")));
        }
        Ok((Node::Conditional(Box::new([condition, a, b_node])), a_type.join(b_type)))
    }

    fn or_else(&mut self, tree: &IdedExpr, unwrap: bool, optional: &IdedExpr, other: &IdedExpr) -> Typed {
        let (optional, optional_type) = self.check(optional)?;
        let (other, other_type) = self.check(other)?;
        let value_type = match &optional_type {
            Type::Optional(value) => (**value).clone(),
            Type::Plain(Kind::Dyn) => Type::DYN,
            found => return Err(self.error(tree, format!("{found} is not optional"))),
        };
        let expected = if unwrap { value_type } else { Type::optional(value_type) };
        if !expected.fits(&other_type) {
            return Err(self.error(tree, format!("the alternative must be {expected}, not {other_type}")));
        }
        Ok((Node::OrElse { unwrap, operands: Box::new([optional, other]) }, expected.join(other_type)))
    }

    fn error(&self, tree: &IdedExpr, message: impl Into<String>) -> CompileError {
        let offset = self.source.offset_for(tree.id).map_or(0, |(start, _)| start as usize);
        CompileError::new(offset, message)
    }
}

/// The type of a field of a value; an optional is looked through. None if values of this type have no fields.
fn field_type(operand: &Type) -> Option<Type> {
    match operand {
        Type::Map(key, value) if key.kind().may_be(Kind::String) => Some((**value).clone()),
        Type::Optional(inner) => field_type(inner).map(Type::optional),
        Type::Plain(Kind::Dyn) => Some(Type::DYN),
        _ => None,
    }
}

fn join(earlier: Option<Type>, found: Type) -> Type {
    match earlier {
        Some(earlier) => earlier.join(found),
        None => found,
    }
}

fn constant(literal: &LiteralValue) -> (Node, Type) {
    let value = match literal {
        LiteralValue::Boolean(value) => Value::Bool(*value.inner()),
        LiteralValue::Int(value) => Value::Int(*value.inner()),
        LiteralValue::UInt(value) => Value::Uint(*value.inner()),
        LiteralValue::Double(value) => Value::Double(*value.inner()),
        LiteralValue::String(value) => Value::text(value.inner()),
        LiteralValue::Bytes(value) => Value::Bytes(Arc::from(value.inner())),
        LiteralValue::Null => Value::Null,
    };
    let kind = value.kind();
    (Node::Constant(value), Type::Plain(kind))
}

impl Node {
    fn constant(&self) -> Option<Value> {
        match self {
            Node::Constant(value) => Some(value.clone()),
            _ => None,
        }
    }
}

impl Element {
    fn constant(&self) -> Option<Value> {
        if self.is_optional { None } else { self.node.constant() }
    }
}
