//! Memory that a thread keeps from one check to the next.

use std::cell::Cell;

use rustc_hash::{FxHashMap, FxHashSet};

use super::State;
use super::solve::Memo;
use crate::membership::Value;

/// What a check writes down on the way.
#[derive(Default)]
pub(super) struct Scratch {
    /// Monotone states that the subject is certainly not a member of; during a walk also those that the walk has seen.
    pub(super) outside: FxHashSet<State>,
    /// Monotone states with another value.
    pub(super) inside: FxHashMap<State, Value>,
    /// States that a walk has yet to look at.
    pub(super) open: Vec<State>,
    /// States that the walk has added to `outside`.
    pub(super) trail: Vec<State>,
    /// Values of all other states.
    pub(super) memo: Memo,
}

/// Larger tables are not kept: clearing them would cost every later check.
const KEPT_MAX: usize = 1024;

thread_local! {
    static KEPT: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

impl Scratch {
    pub(super) fn take() -> Box<Scratch> {
        KEPT.with(Cell::take).unwrap_or_default()
    }

    pub(super) fn give_back(mut self: Box<Self>) {
        if self.outside.capacity() > KEPT_MAX || self.inside.capacity() > KEPT_MAX || self.memo.capacity() > KEPT_MAX {
            return;
        }
        self.outside.clear();
        self.inside.clear();
        self.open.clear();
        self.trail.clear();
        self.memo.clear();
        KEPT.with(|kept| kept.set(Some(self)));
    }
}
