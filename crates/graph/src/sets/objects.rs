//! Which objects may have a set, in the order of their numbers.

use std::ops::ControlFlow;

use stonetown_storage::{Direction, EdgePosition, Ordinal};
use stonetown_tuple::Source;

use super::content::Reader;
use super::shape::{Shape, ShapeBody};
use crate::error::GraphError;
use crate::plan::Slot;

/// The objects that may have a set of one shape: those that a relationship mentions. Remembers of each table the next row, so
/// that rows which a snapshot does not see are passed over once, however many objects other tables have before them.
pub struct Objects {
    rows: Vec<Row>,
    last: Ordinal,
}

struct Row {
    slot: Slot,
    direction: Direction,
    next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// To be looked for.
    Unknown,
    Found(Ordinal),
    /// There are no more.
    None,
}

impl Objects {
    /// Those after `after`. To be read by a reader of the same sets.
    #[must_use]
    pub fn after(reader: &Reader<'_>, shape: &Shape, after: Ordinal) -> Objects {
        let mut rows = Vec::new();
        let mut add = |slot, direction| rows.push(Row { slot, direction, next: Next::Unknown });
        if let (ShapeBody::Direct { parts, .. }, false) = (&shape.body, shape.is_reflexive()) {
            parts.iter().for_each(|part| add(part.slot, Direction::Forward));
            return Objects { rows, last: after };
        }
        for table in reader.evaluation.plan.tables() {
            if table.resource_type == shape.owner {
                add(table.slot, Direction::Forward);
            }
            if table.subject_type == shape.owner && shape.is_reflexive() {
                add(table.slot, Direction::Reverse);
            }
        }
        Objects { rows, last: after }
    }

    /// The next. The reader begins to count its work anew with each.
    ///
    /// # Errors
    /// When storage fails, or a limit is exceeded.
    pub fn next(&mut self, reader: &mut Reader<'_>) -> Result<Option<Ordinal>, GraphError> {
        reader.begin();
        let mut next: Option<Ordinal> = None;
        for row in &mut self.rows {
            let is_behind = match row.next {
                Next::Unknown => true,
                Next::Found(found) => found <= self.last,
                Next::None => false,
            };
            if is_behind {
                let found = next_row(reader, row.slot, row.direction, self.last)?;
                row.next = found.map_or(Next::None, Next::Found);
            }
            if let Next::Found(found) = row.next {
                next = Some(next.map_or(found, |next| next.min(found)));
            }
        }
        self.last = next.unwrap_or(self.last);
        Ok(next)
    }
}

/// The first row of a table behind another that has an edge.
fn next_row(
    reader: &mut Reader<'_>,
    slot: Slot,
    direction: Direction,
    after: Ordinal,
) -> Result<Option<Ordinal>, GraphError> {
    let Some(table) = reader.evaluation.plan.table(slot).id else { return Ok(None) };
    reader.meter.edges_seen(1)?;
    // Behind all edges of the row, and of the wildcard's.
    let after = EdgePosition { row: after, other: Ordinal(u32::MAX), source: Source(u64::MAX) };
    let mut next = None;
    reader.evaluation.snapshot.scan_table(table, direction, Some(after), &mut |edge| {
        next = Some(edge.position(direction).row);
        ControlFlow::Break(())
    })?;
    Ok(next)
}
