//! All sets at one revision, whole or in pages.

use std::ops::ControlFlow;

use stonetown_graph::sets::{Certainty, Form, Objects, Place, Reader};
use stonetown_storage::Ordinal;
use stonetown_tuple::{Timestamp, ZedToken};

use super::{Moment, SetChild, SetRef, set_child, set_ref};
use crate::admission::Weight;
use crate::recording::{Asked, Recording};
use crate::world::Cursor;
use crate::{Authorizer, Call, Error};

/// Which sets are asked for.
#[derive(Debug, Clone, Default)]
pub struct LookupSetsRequest {
    /// At which revision; the newest if none is named. A cursor's revision comes before it.
    pub at: Option<ZedToken>,
    /// At most so many children; `None` for all.
    pub limit: Option<u64>,
    /// Where to go on.
    pub after: Option<Cursor<Position>>,
}

/// Where a listing of sets goes on: just after this child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which kind of set, by its number.
    pub shape: u32,
    /// Of which object.
    pub object: Ordinal,
    /// Which child.
    pub place: Place,
}

/// What was listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetsListed {
    /// At which revision.
    pub at: ZedToken,
    /// At which moment.
    pub now: Timestamp,
}

impl Authorizer {
    /// Hands each child of each set of the materialized permissions to `visit`, with the cursor after it: what applying all
    /// changes until that revision to nothing would give. Children in doubt are left out.
    ///
    /// # Errors
    /// [`Error::NotMaterialized`]; [`Error::SnapshotExpired`] for a revision that the log and the snapshots do not reach back
    /// to; see [`Error`].
    pub fn lookup_permission_sets(
        &self,
        call: &Call,
        request: &LookupSetsRequest,
        visit: &mut dyn FnMut(SetRef, SetChild, Cursor<Position>) -> ControlFlow<()>,
    ) -> Result<SetsListed, Error> {
        let asked = Asked::of("lookup_permission_sets");
        self.recorded(call, asked, |recording| self.answer_sets(call, request, recording, visit))
    }

    fn answer_sets(
        &self,
        call: &Call,
        request: &LookupSetsRequest,
        recording: &mut Recording<'_>,
        visit: &mut dyn FnMut(SetRef, SetChild, Cursor<Position>) -> ControlFlow<()>,
    ) -> Result<SetsListed, Error> {
        let _permit = self.admit(call, Weight::Heavy, &Authorizer::enumerating_all(self.materialized()))?;
        self.check_materialized(call.store, &[])?;
        let moment = self.moment_of_request(call, request)?;
        let scene = self.scene(call.store, moment, &self.options.materialize, Form::Shared)?;
        recording.see(&scene.world);
        recording.see_watched(&scene.world, self.materialized());
        recording.begin(self)?;
        let evaluation = scene.evaluation(call, &self.options.limits.graph);
        let mut reader = Reader::new(&evaluation, &scene.sets);
        let names = Reader::new(&evaluation, &scene.sets);
        let (token, now) = (scene.world.token, moment.now);
        let mut left = request.limit.filter(|limit| *limit > 0);
        let from = request.after.map(|cursor| cursor.position);
        let first = from.map_or(0, |from| from.shape);
        for (shape, number) in scene.sets.shapes().iter().zip(0..).skip(first as usize) {
            let from = from.filter(|from| from.shape == number);
            // The set that the last page ended in may have more.
            let last = from.map_or(Ordinal::WILDCARD, |from| Ordinal(from.object.0.saturating_sub(1)));
            let mut objects = Objects::after(&reader, shape, last);
            while let Some(object) = objects.next(&mut reader)? {
                call.check_alive()?;
                let after = from.filter(|from| from.object == object).map(|from| from.place);
                let mut failed = Ok(());
                let flow = reader.children(shape, object, after, &mut |child, certainty, place| {
                    if certainty != Certainty::Yes {
                        return ControlFlow::Continue(());
                    }
                    let named =
                        set_ref(&names, shape.node, object).and_then(|set| Ok((set, set_child(&names, child)?)));
                    let (set, child) = match named {
                        Ok(named) => named,
                        Err(error) => {
                            failed = Err(error);
                            return ControlFlow::Break(());
                        }
                    };
                    left = left.map(|left| left - 1);
                    let position = Position { shape: number, object, place };
                    let flow = visit(set, child, Cursor { token, now, position });
                    if left == Some(0) { ControlFlow::Break(()) } else { flow }
                })?;
                failed?;
                if flow.is_break() {
                    return Ok(SetsListed { at: token, now });
                }
            }
        }
        Ok(SetsListed { at: token, now })
    }

    /// The moment that all of what is asked for is of.
    ///
    /// # Errors
    /// As [`Authorizer::lookup_permission_sets`].
    pub fn moment_of_sets(&self, call: &Call, at: Option<ZedToken>) -> Result<(ZedToken, Timestamp), Error> {
        self.recorded(call, Asked::of("download_permission_sets"), |recording| {
            let _permit = self.admit(call, Weight::Light, &Authorizer::enumerating_all(self.materialized()))?;
            self.check_materialized(call.store, &[])?;
            let moment = self.moment_of_request(call, &LookupSetsRequest { at, ..LookupSetsRequest::default() })?;
            recording.see_watched(&self.world_at(call.store, moment.revision, moment.now)?, self.materialized());
            recording.see_revision(moment.revision);
            Ok((self.token(moment.revision), moment.now))
        })
    }

    fn moment_of_request(&self, call: &Call, request: &LookupSetsRequest) -> Result<Moment, Error> {
        if let Some(cursor) = &request.after {
            return Ok(Moment { revision: cursor.token.revision, now: cursor.now });
        }
        let Some(token) = request.at else { return self.newest_moment(call.store) };
        let expired = || Error::SnapshotExpired { asked: token.revision, floor: self.datastore.floor() };
        self.moment_of_token(token)?.ok_or_else(expired)
    }
}
