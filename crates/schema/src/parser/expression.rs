//! The expression of a permission. `+` binds tightest, then `&`, then `-`; all group to the left.

use super::{Parsed, Parser};
use crate::error::Place;
use crate::lexer::TokenKind;
use crate::limits::NESTING_MAX;
use crate::schema::ArrowFunction;
use crate::syntax::{ExpressionKind, ExpressionNode};

impl Parser<'_> {
    pub(super) fn expression(&mut self) -> Parsed<ExpressionNode> {
        self.exclusion(1)
    }

    /// `intersection - intersection - …`, where `parens` counts the parentheses around it, plus one.
    fn exclusion(&mut self, parens: usize) -> Parsed<ExpressionNode> {
        let mut left = self.intersection(parens)?;
        while self.take(TokenKind::Minus) {
            let right = self.intersection(parens)?;
            let (at, depth) = (left.at.to(right.at), left.depth.max(right.depth) + 1);
            self.bound_depth(at, depth)?;
            left = ExpressionNode { at, depth, kind: ExpressionKind::Exclusion(Box::new(left), Box::new(right)) };
        }
        Ok(left)
    }

    /// `union & union & …`
    fn intersection(&mut self, parens: usize) -> Parsed<ExpressionNode> {
        let mut operands = vec![self.union(parens)?];
        while self.take(TokenKind::And) {
            operands.push(self.union(parens)?);
        }
        self.flat(operands, ExpressionKind::Intersection, |kind| match kind {
            ExpressionKind::Intersection(inner) => Ok(inner),
            other => Err(other),
        })
    }

    /// `operand + operand + …`
    fn union(&mut self, parens: usize) -> Parsed<ExpressionNode> {
        let mut operands = vec![self.operand(parens)?];
        while self.take(TokenKind::Plus) {
            operands.push(self.operand(parens)?);
        }
        self.flat(operands, ExpressionKind::Union, |kind| match kind {
            ExpressionKind::Union(inner) => Ok(inner),
            other => Err(other),
        })
    }

    /// Joins operands by an associative operator; operands that are joined by the same one are taken apart.
    fn flat(
        &mut self,
        mut operands: Vec<ExpressionNode>,
        join: fn(Vec<ExpressionNode>) -> ExpressionKind,
        take_apart: fn(ExpressionKind) -> Result<Vec<ExpressionNode>, ExpressionKind>,
    ) -> Parsed<ExpressionNode> {
        if operands.len() == 1 {
            return operands.pop().ok_or(super::Failed);
        }
        let at = operands[0].at.to(operands[operands.len() - 1].at);
        let mut flat = Vec::with_capacity(operands.len());
        for operand in operands {
            match take_apart(operand.kind) {
                Ok(inner) => flat.extend(inner),
                Err(kind) => flat.push(ExpressionNode { kind, ..operand }),
            }
        }
        let depth = flat.iter().map(|operand| operand.depth).max().unwrap_or(0) + 1;
        self.bound_depth(at, depth)?;
        Ok(ExpressionNode { at, depth, kind: join(flat) })
    }

    /// `(expression)`, `nil`, `self`, `name`, `name->name`, `name.any(name)` or `name.all(name)`
    fn operand(&mut self, parens: usize) -> Parsed<ExpressionNode> {
        self.skip_newlines_in(parens);
        let start = self.here();
        if self.kind() == TokenKind::LeftParen {
            self.bound_depth(start, parens)?;
            self.advance();
            let mut inner = self.exclusion(parens + 1)?;
            self.expect(TokenKind::RightParen, "to close the parenthesis")?;
            inner.at = start.to(self.previous());
            return Ok(inner);
        }
        self.count_term()?;
        if self.kind() != TokenKind::Word {
            return Err(self.unexpected("in an expression", &["a relation or permission", "`nil`", "`(`"]));
        }
        for (word, kind) in [("nil", ExpressionKind::Nil), ("self", ExpressionKind::Itself)] {
            if self.is_keyword(word) {
                self.advance();
                return Ok(ExpressionNode { at: start, depth: 1, kind });
            }
        }
        let relation = self.name("an operator")?;
        let (target, function) = if self.take(TokenKind::Arrow) {
            (self.name("`->`")?, ArrowFunction::Any)
        } else if self.take(TokenKind::Dot) {
            let function = match self.text() {
                "any" => ArrowFunction::Any,
                "all" => ArrowFunction::All,
                _ => return Err(self.unexpected("after `.`", &["`any`", "`all`"])),
            };
            self.advance();
            self.expect(TokenKind::LeftParen, "after the arrow's function")?;
            let target = self.name("`(`")?;
            self.expect(TokenKind::RightParen, "after the arrow's target")?;
            (target, function)
        } else {
            return Ok(ExpressionNode { at: start, depth: 1, kind: ExpressionKind::Reference(relation) });
        };
        let at = start.to(self.previous());
        if matches!(self.kind(), TokenKind::Arrow | TokenKind::Dot) {
            let message = "an arrow cannot follow an arrow; give the first one a permission of its own".into();
            return Err(self.fail(at.to(self.here()), message, &[]));
        }
        Ok(ExpressionNode { at, depth: 1, kind: ExpressionKind::Arrow { relation, target, function } })
    }

    /// Inside parentheses no newline ends the statement.
    fn skip_newlines_in(&mut self, parens: usize) {
        if parens > 1 {
            self.skip_newlines();
        }
    }

    fn bound_depth(&mut self, at: Place, depth: usize) -> Parsed<()> {
        if depth > NESTING_MAX {
            let message = format!("the expression is nested more than {NESTING_MAX} deep");
            return Err(self.fail(at, message, &[]));
        }
        Ok(())
    }
}
