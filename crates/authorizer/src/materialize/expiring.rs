//! Relationships that will begin or end by the passing of time, by when.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use stonetown_graph::sets::Touched;
use stonetown_storage::{Change, Direction, Snapshot};
use stonetown_tuple::Timestamp;

use super::memory::Held;
use crate::Error;

/// Bytes that one time is counted as: an entry of a B-tree that is half full.
const ENTRY_BYTES: usize = 2 * size_of::<(Timestamp, Touched)>();

/// Times that lie ahead, with the relationships that they change. Those that were written over meanwhile stay: looking again at
/// something that has not changed costs little.
#[derive(Debug)]
pub(crate) struct Expiring {
    times: BTreeSet<(Timestamp, Touched)>,
    held: Held,
}

impl Expiring {
    /// None yet.
    pub(crate) fn new(held: Held) -> Expiring {
        Expiring { times: BTreeSet::new(), held }
    }

    /// Begins anew with all of a snapshot that lie behind `now`.
    pub(crate) fn load(&mut self, snapshot: &dyn Snapshot, now: Timestamp) -> Result<(), Error> {
        self.held.shrink(self.times.len() * ENTRY_BYTES);
        self.times.clear();
        for table in snapshot.tables().iter() {
            let mut failed = Ok(());
            snapshot.scan_table(table.id, Direction::Forward, None, &mut |edge| {
                let touched = Touched { table: table.id, resource: edge.resource, subject: edge.subject };
                failed = self.add(touched, [edge.not_before, edge.expires_at], now);
                if failed.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            failed?;
        }
        Ok(())
    }

    /// Takes in what a commit wrote.
    pub(crate) fn follow(&mut self, changes: &[Change], now: Timestamp) -> Result<(), Error> {
        for change in changes {
            let Some(state) = &change.state else { continue };
            let touched = Touched { table: change.table, resource: change.resource, subject: change.subject };
            self.add(touched, [state.not_before, state.expires_at], now)?;
        }
        Ok(())
    }

    /// Takes out what begins or ends until `now`.
    pub(crate) fn due(&mut self, now: Timestamp) -> Vec<Touched> {
        let mut due = Vec::new();
        while self.times.first().is_some_and(|(time, _)| *time <= now) {
            due.extend(self.times.pop_first().map(|(_, touched)| touched));
        }
        self.held.shrink(due.len() * ENTRY_BYTES);
        due
    }

    fn add(&mut self, touched: Touched, times: [Option<Timestamp>; 2], now: Timestamp) -> Result<(), Error> {
        for time in times.into_iter().flatten().filter(|time| *time > now) {
            if !self.times.contains(&(time, touched)) {
                self.held.grow(ENTRY_BYTES)?;
                self.times.insert((time, touched));
            }
        }
        Ok(())
    }
}
