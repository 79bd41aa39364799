//! Relationships that will begin or end by the passing of time, by when.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use stonetown_graph::sets::Touched;
use stonetown_storage::{Change, Direction, Snapshot};
use stonetown_tuple::Timestamp;

use crate::Error;

/// Times that lie ahead, with the relationships that they change. Those that were written over meanwhile stay: looking again at
/// something that has not changed costs little.
#[derive(Debug, Default)]
pub(crate) struct Expiring {
    by_time: BTreeMap<Timestamp, Vec<Touched>>,
    count: usize,
    count_max: usize,
}

impl Expiring {
    /// All of a snapshot that lie behind `now`.
    pub(crate) fn load(snapshot: &dyn Snapshot, now: Timestamp, count_max: usize) -> Result<Expiring, Error> {
        let mut expiring = Expiring { count_max, ..Expiring::default() };
        for table in snapshot.tables().iter() {
            let mut failed = Ok(());
            snapshot.scan_table(table.id, Direction::Forward, None, &mut |edge| {
                let touched = Touched { table: table.id, resource: edge.resource, subject: edge.subject };
                failed = expiring.add(touched, [edge.not_before, edge.expires_at], now);
                if failed.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })?;
            failed?;
        }
        Ok(expiring)
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
        while let Some(entry) = self.by_time.first_entry().filter(|entry| *entry.key() <= now) {
            due.extend(entry.remove());
        }
        self.count -= due.len();
        due
    }

    /// When the next begins or ends.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.by_time.keys().next().copied()
    }

    fn add(&mut self, touched: Touched, times: [Option<Timestamp>; 2], now: Timestamp) -> Result<(), Error> {
        for time in times.into_iter().flatten().filter(|time| *time > now) {
            if self.count == self.count_max {
                return Err(Error::WorkLimit { limit: "sets_expiring_max", max: self.count_max as u64 });
            }
            self.count += 1;
            self.by_time.entry(time).or_default().push(touched);
        }
        Ok(())
    }
}
