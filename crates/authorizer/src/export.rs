//! Reading everything, in batches.

use std::ops::ControlFlow;

use stonetown_storage::read::ReadPosition;
use stonetown_tuple::{Consistency, Relationship, RelationshipFilter, ZedToken};

use crate::check::above;
use crate::error::RequestLimit;
use crate::read::{ReadRequest, to_usize};
use crate::recording::{Asked, Recording};
use crate::world::Cursor;
use crate::{Authorizer, Call, Error};

/// What to export.
#[derive(Debug, Clone, Default)]
pub struct ExportRequest {
    /// How fresh the export must be; a cursor's revision comes before it.
    pub consistency: Consistency,
    /// Which; empty for all.
    pub filter: RelationshipFilter,
    /// Relationships in a batch; `None` for the largest allowed.
    pub batch: Option<u64>,
    /// Where to go on.
    pub after: Option<Cursor<ReadPosition>>,
}

/// Some relationships, and the place after them.
#[derive(Debug, Clone)]
pub struct ExportBatch {
    /// The relationships.
    pub relationships: Vec<Relationship>,
    /// Continues just after them.
    pub cursor: Cursor<ReadPosition>,
}

impl Authorizer {
    /// Hands batches to `visit` until it breaks or everything was read. Ordered by type, relation and resource.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn export(
        &self,
        call: &Call,
        request: &ExportRequest,
        visit: &mut dyn FnMut(ExportBatch) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        let asked = Asked::of("export").filter(&request.filter);
        self.recorded(call, asked, |recording| self.answer_export(call, request, recording, visit))
    }

    fn answer_export(
        &self,
        call: &Call,
        request: &ExportRequest,
        recording: &mut Recording<'_>,
        visit: &mut dyn FnMut(ExportBatch) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        let max = self.options.limits.export_batch_max;
        let size = request.batch.filter(|batch| *batch > 0).unwrap_or(max);
        above(RequestLimit::Results, to_usize(size), to_usize(max))?;
        let read = ReadRequest {
            consistency: request.consistency,
            filter: request.filter.clone(),
            limit: None,
            after: request.after,
        };
        let mut batch = Vec::new();
        let mut last = None;
        let token = self.scan(call, &read, false, recording, &mut |item| {
            batch.push(item.relationship);
            last = Some(item.cursor);
            if batch.len() < to_usize(size) {
                return ControlFlow::Continue(());
            }
            let relationships = std::mem::take(&mut batch);
            visit(ExportBatch { relationships, cursor: item.cursor })
        })?;
        if let (Some(cursor), false) = (last, batch.is_empty()) {
            // Whether the receiver wants more no longer matters: this was all.
            let _ = visit(ExportBatch { relationships: batch, cursor });
        }
        Ok(token)
    }
}
