//! Reading relationships as they are stored, by filter, in a stable order.

use std::ops::ControlFlow;

use stonetown_storage::read::{ReadPosition, read};
use stonetown_tuple::{Consistency, Relationship, RelationshipFilter, ZedToken};

use crate::admission::Weight;
use crate::check::above;
use crate::error::RequestLimit;
use crate::gate::enumerating;
use crate::recording::{Asked, Recording};
use crate::world::Cursor;
use crate::write::check_filter;
use crate::{Authorizer, Call, Error};

/// Which relationships to read.
#[derive(Debug, Clone, Default)]
pub struct ReadRequest {
    /// How fresh the answer must be; a cursor's revision comes before it.
    pub consistency: Consistency,
    /// Which.
    pub filter: RelationshipFilter,
    /// At most so many; `None` for all.
    pub limit: Option<u64>,
    /// Where to go on.
    pub after: Option<Cursor<ReadPosition>>,
}

/// A relationship with the place it was read at.
#[derive(Debug, Clone)]
pub struct ReadItem {
    /// What is stored.
    pub relationship: Relationship,
    /// Continues just after it.
    pub cursor: Cursor<ReadPosition>,
}

impl Authorizer {
    /// Hands relationships to `visit` as they are read, until it breaks, the limit is reached or all were read. Expired and
    /// not yet valid ones are left out.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn read(
        &self,
        call: &Call,
        request: &ReadRequest,
        visit: &mut dyn FnMut(ReadItem) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        self.recorded(call, Asked::of("read").filter(&request.filter), |recording| {
            let max = self.options.limits.read_limit_max;
            let limit = request.limit.unwrap_or(0);
            above(RequestLimit::Results, to_usize(limit), to_usize(max))?;
            self.scan(call, request, true, recording, visit)
        })
    }

    /// As [`Authorizer::read`], with no bound on the limit.
    pub(crate) fn scan(
        &self,
        call: &Call,
        request: &ReadRequest,
        filter_required: bool,
        recording: &mut Recording<'_>,
        visit: &mut dyn FnMut(ReadItem) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        /// Relationships between two looks at the deadline.
        const LOOK_EVERY: u32 = 1024;
        let _permit = self.admit(call, Weight::Heavy, &[enumerating(&request.filter)])?;
        let world = self.world_of_page(call, request.consistency, request.after.as_ref())?;
        if filter_required || !request.filter.is_empty() {
            check_filter(world.schema(), &request.filter)?;
        }
        recording.see_page(&world, request.after.is_some());
        recording.begin_results(self)?;
        let (token, now) = (world.token, world.now);
        let mut left = request.limit.filter(|limit| *limit > 0);
        let mut since_look = 0;
        let mut ended = Ok(());
        let after = request.after.map(|cursor| cursor.position);
        read(&*world.snapshot, &request.filter, now, after, &mut |position, relationship, _| {
            since_look += 1;
            if since_look == LOOK_EVERY {
                since_look = 0;
                ended = call.check_alive();
                if ended.is_err() {
                    return ControlFlow::Break(());
                }
            }
            recording.result(&relationship);
            let flow = visit(ReadItem { relationship, cursor: Cursor { token, now, position } });
            left = left.map(|left| left - 1);
            if left == Some(0) { ControlFlow::Break(()) } else { flow }
        })?;
        ended.map(|()| token)
    }
}

impl Call {
    /// Ends a call whose caller has left or whose deadline has passed.
    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        use std::sync::atomic::Ordering;
        if self.cancelled.as_ref().is_some_and(|cancelled| cancelled.load(Ordering::Relaxed)) {
            return Err(Error::Cancelled);
        }
        if self.deadline.is_some_and(|deadline| deadline <= std::time::Instant::now()) {
            return Err(Error::Deadline);
        }
        Ok(())
    }
}

pub(crate) fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
