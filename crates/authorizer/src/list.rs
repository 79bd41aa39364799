//! Relationships with all that is stored of them, those that have yet to begin included where asked for.

use std::ops::ControlFlow;

use stonetown_storage::read::{ReadPosition, edges, relationship};
use stonetown_tuple::{Consistency, Relationship, RelationshipFilter, ZedToken};

use crate::admission::Weight;
use crate::check::above;
use crate::error::RequestLimit;
use crate::gate::enumerating;
use crate::moment::Freshness;
use crate::read::to_usize;
use crate::recording::{Asked, Recording};
use crate::world::Cursor;
use crate::write::check_filter;
use crate::{Authorizer, Call, Error};

/// Which relationships to list.
#[derive(Debug, Clone)]
pub struct ListRequest {
    /// Which state the answer rests on; a cursor's comes before it.
    pub freshness: Freshness,
    /// Which.
    pub filter: RelationshipFilter,
    /// Whether those that have yet to begin are among them.
    pub pending: bool,
    /// At most so many; `None` for all.
    pub limit: Option<u64>,
    /// Where to go on.
    pub after: Option<Cursor<ReadPosition>>,
}

impl Authorizer {
    /// Hands relationships that have not expired to `visit`, each with the cursor after it, until it breaks. One that comes
    /// from several sources comes once for each.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn list_relationships(
        &self,
        call: &Call,
        request: &ListRequest,
        visit: &mut dyn FnMut(Relationship, Cursor<ReadPosition>) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        let asked = Asked::of("list_relationships").filter(&request.filter);
        self.recorded(call, asked, |recording| self.answer_list_relationships(call, request, recording, visit))
    }

    fn answer_list_relationships(
        &self,
        call: &Call,
        request: &ListRequest,
        recording: &mut Recording<'_>,
        visit: &mut dyn FnMut(Relationship, Cursor<ReadPosition>) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        /// Relationships between two looks at the deadline.
        const LOOK_EVERY: u32 = 1024;
        let _permit = self.admit(call, Weight::Heavy, &[enumerating(&request.filter)])?;
        let max = self.options.limits.read_limit_max;
        above(RequestLimit::Results, to_usize(request.limit.unwrap_or(0)), to_usize(max))?;
        let world = self.world_of_list(call, request.freshness, request.after.as_ref())?;
        check_filter(world.schema(), &request.filter)?;
        recording.see_page(&world, request.after.is_some() || matches!(request.freshness, Freshness::At(_)));
        recording.begin_results(self)?;
        let (token, now) = (world.token, world.now);
        let mut left = request.limit.filter(|limit| *limit > 0);
        let mut seen = 0_u32;
        let mut ended = Ok(());
        let after = request.after.map(|cursor| cursor.position);
        edges(&*world.snapshot, &request.filter, after, &mut |table, position, edge| {
            seen = seen.wrapping_add(1);
            if seen.is_multiple_of(LOOK_EVERY) {
                ended = call.check_alive();
            }
            if ended.is_err() {
                return ControlFlow::Break(());
            }
            if edge.is_expired(now) || !(request.pending || edge.is_live(now)) {
                return ControlFlow::Continue(());
            }
            match relationship(&*world.snapshot, table, edge) {
                Ok(found) => {
                    recording.result(&found);
                    left = left.map(|left| left - 1);
                    let flow = visit(found, Cursor { token, now, position });
                    if left == Some(0) { ControlFlow::Break(()) } else { flow }
                }
                Err(error) => {
                    ended = Err(error.into());
                    ControlFlow::Break(())
                }
            }
        })?;
        ended.map(|()| token)
    }

    /// The world of a cursor's first page, or of the state asked for where there is no cursor.
    pub(crate) fn world_of_list<P>(
        &self,
        call: &Call,
        freshness: Freshness,
        after: Option<&Cursor<P>>,
    ) -> Result<crate::world::World, Error> {
        match after {
            None => self.world_of(call, freshness),
            cursor => self.world_of_page(call, Consistency::MinimizeLatency, cursor),
        }
    }
}
