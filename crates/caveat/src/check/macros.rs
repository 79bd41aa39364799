//! Macros: the parser has expanded them into loops with an accumulator; each has its own shape, by which it is known
//! again here. There is no other way to write a loop.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, IdedExpr, LiteralValue};

use super::{Checker, Typed};
use crate::compile::CompileError;
use crate::evaluate::{Macro, MacroKind, Node};
use crate::value::{Kind, Type};

/// The parts that a user wrote.
struct Written<'t> {
    kind: MacroKind,
    filter: Option<&'t IdedExpr>,
    body: &'t IdedExpr,
}

impl Checker<'_> {
    pub(super) fn comprehension(&mut self, tree: &IdedExpr, comprehension: &ComprehensionExpr) -> Typed {
        let (range, range_type) = self.check(&comprehension.iter_range)?;
        let element = match &range_type {
            Type::List(element) => (**element).clone(),
            Type::Map(key, _) => (**key).clone(),
            Type::Plain(Kind::Dyn) => Type::DYN,
            other => {
                return Err(self.error(&comprehension.iter_range, format!("{other} has no elements to walk over")));
            }
        };
        let Some(written) = written(comprehension) else {
            return Err(self.error(tree, "this macro is not known"));
        };
        self.locals.push((comprehension.iter_var.clone(), element));
        let checked = self.bodies(&written);
        self.locals.pop();
        let (filter, body, body_type) = checked?;
        let result = if written.kind == MacroKind::Map { Type::list(body_type) } else { Type::BOOL };
        Ok((Node::Macro(Box::new(Macro { kind: written.kind, range, filter, body })), result))
    }

    fn bodies(&mut self, written: &Written<'_>) -> Result<(Option<Node>, Node, Type), CompileError> {
        let filter = written.filter.map(|filter| self.condition(filter)).transpose()?;
        if written.kind == MacroKind::Map {
            let (body, body_type) = self.check(written.body)?;
            return Ok((filter, body, body_type));
        }
        Ok((filter, self.condition(written.body)?, Type::BOOL))
    }

    /// `optional.optMap(variable, body)`, which the parser leaves as a call.
    pub(super) fn map_optional(
        &mut self,
        tree: &IdedExpr,
        flatten: bool,
        optional: &IdedExpr,
        variable: &IdedExpr,
        body: &IdedExpr,
    ) -> Typed {
        let Expr::Ident(variable) = &variable.expr else {
            return Err(self.error(variable, "the first argument must be a name"));
        };
        let (optional, optional_type) = self.check(optional)?;
        let value_type = match optional_type {
            Type::Optional(value) => (*value).clone(),
            Type::Plain(Kind::Dyn) => Type::DYN,
            other => return Err(self.error(tree, format!("{other} is not optional"))),
        };
        self.locals.push((variable.clone(), value_type));
        let checked = self.check(body);
        self.locals.pop();
        let (body_node, body_type) = checked?;
        let result = match body_type {
            found if !flatten => Type::optional(found),
            found if found.kind().may_be(Kind::Optional) => found,
            found => return Err(self.error(body, format!("the result must be optional, not {found}"))),
        };
        Ok((Node::MapOptional { flatten, operands: Box::new([optional, body_node]) }, result))
    }
}

fn written(comprehension: &ComprehensionExpr) -> Option<Written<'_>> {
    let step = call(&comprehension.loop_step)?;
    match (&comprehension.accu_init.expr, step.func_name.as_str(), step.args.as_slice()) {
        (Expr::Literal(LiteralValue::Boolean(_)), "_&&_", [_, body]) => {
            Some(Written { kind: MacroKind::All, filter: None, body })
        }
        (Expr::Literal(LiteralValue::Boolean(_)), "_||_", [_, body]) => {
            Some(Written { kind: MacroKind::Exists, filter: None, body })
        }
        (Expr::Literal(LiteralValue::Int(_)), "_?_:_", [body, _, _]) => {
            Some(Written { kind: MacroKind::ExistsOne, filter: None, body })
        }
        (Expr::List(_), "_+_", [_, appended]) => {
            Some(Written { kind: MacroKind::Map, filter: None, body: only_element(appended)? })
        }
        (Expr::List(_), "_?_:_", [filter, append, _]) => {
            let [_, appended] = call(append)?.args.as_slice() else { return None };
            Some(Written { kind: MacroKind::Map, filter: Some(filter), body: only_element(appended)? })
        }
        _ => None,
    }
}

fn call(tree: &IdedExpr) -> Option<&CallExpr> {
    match &tree.expr {
        Expr::Call(call) => Some(call),
        _ => None,
    }
}

fn only_element(tree: &IdedExpr) -> Option<&IdedExpr> {
    match &tree.expr {
        Expr::List(list) => list.elements.first(),
        _ => None,
    }
}
