//! Whether two expressions are written alike, layout aside.

use cel::common::ast::{EntryExpr, Expr, IdedExpr};

use crate::compile::{self, Caveat};

impl Caveat {
    /// Whether both expressions have the same syntax tree: white space, comments and parentheses that change nothing do
    /// not count. Names count as they are written, so `a && b` is not `b && a`. Parameters are not compared.
    #[must_use]
    pub fn has_same_expression(&self, other: &Caveat) -> bool {
        if self.expression() == other.expression() {
            return true;
        }
        let same = compile::on_a_large_stack(|| {
            let mut trees = [compile::parse(self.expression())?.0, compile::parse(other.expression())?.0];
            trees.iter_mut().for_each(forget_ids);
            Ok(trees[0] == trees[1])
        });
        same.unwrap_or(false)
    }
}

/// Ids number the parts of a tree in the order in which they were read.
fn forget_ids(tree: &mut IdedExpr) {
    tree.id = 0;
    match &mut tree.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Call(call) => call.target.as_deref_mut().into_iter().chain(&mut call.args).for_each(forget_ids),
        Expr::Comprehension(one) => {
            let parts =
                [&mut one.iter_range, &mut one.accu_init, &mut one.loop_cond, &mut one.loop_step, &mut one.result];
            parts.into_iter().for_each(forget_ids);
        }
        Expr::List(list) => list.elements.iter_mut().for_each(forget_ids),
        Expr::Select(select) => forget_ids(&mut select.operand),
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| forget_ids_of_entry(&mut entry.id, &mut entry.expr)),
        Expr::Struct(message) => {
            message.entries.iter_mut().for_each(|entry| forget_ids_of_entry(&mut entry.id, &mut entry.expr));
        }
    }
}

fn forget_ids_of_entry(id: &mut u64, entry: &mut EntryExpr) {
    *id = 0;
    match entry {
        EntryExpr::StructField(field) => forget_ids(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            forget_ids(&mut entry.key);
            forget_ids(&mut entry.value);
        }
    }
}
