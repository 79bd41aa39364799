//! How sets change, revision after revision.

use std::ops::ControlFlow;
use std::sync::Arc;

use stonetown_graph::plan::NodeId;
use stonetown_graph::sets::{self, Change, Form, Reader, Side, Touched};
use stonetown_storage::Ordinal;
use stonetown_tuple::{StoreId, ZedToken};

use super::expiring::Expiring;
use super::{Certainty, Moment, Scene, SetChild, SetRef, Watched, set_child, set_ref};
use crate::admission::Weight;
use crate::places::{Place, PlacesMax};
use crate::recording::{Asked, Recording};
use crate::{Authorizer, Call, Error};

/// What those who follow are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A child of a set has become more or less certain. Never twice the same.
    Changed {
        /// At which revision.
        at: ZedToken,
        /// The set.
        set: SetRef,
        /// The child.
        child: SetChild,
        /// What it was.
        before: Certainty,
        /// What it is.
        after: Certainty,
    },
    /// All changes up to this revision have been told.
    Completed(ZedToken),
    /// What lies between the last completed revision and this one is not known any more: all sets are to be read anew at
    /// it. What follows comes after it.
    LookupRequired(ZedToken),
    /// A schema was written in which watched permissions are no longer there. Their members were removed.
    Breaking {
        /// At which revision.
        at: ZedToken,
        /// Which.
        permissions: Vec<Watched>,
    },
}

/// Whether there was something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// A revision was completed; there may be more.
    Moved,
    /// Everything that is committed has been told.
    CaughtUp,
    /// The listener wants no more.
    Left,
}

/// Follows the log and tells how sets change. Keeps its place and the times that lie ahead, nothing else.
pub struct Follower {
    store: StoreId,
    watched: Arc<[Watched]>,
    form: Form,
    from: From,
    expiring: Expiring,
    /// How many sets have a child, where that is asked for. `None` after changes that were too many to tell.
    sets: Option<i64>,
    /// Its place among the streams; the server's own has none.
    place: Option<Place>,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// With what is committed from now on.
    #[default]
    Now,
    /// With everything there is, as if nothing had been before.
    Everything,
    /// With what was committed after a token.
    After(ZedToken),
}

enum From {
    /// Nothing was told: the first are all sets there are.
    Nothing,
    /// Nothing was told, nor shall be, up to this moment.
    Now(Moment),
    /// Everything up to this moment was told; what the moment expects is still to be read.
    Resumed(Moment),
    /// Everything up to this moment was told.
    At(Moment),
    /// What was told last is not known any more.
    Lost,
}

impl Authorizer {
    /// Follows sets of the materialized permissions, taken apart into sets that are shared.
    ///
    /// # Errors
    /// [`Error::Denied`], [`Error::NotMaterialized`], [`Error::TooManyStreams`], [`Error::MemoryPressure`], and [`Error::ForeignToken`],
    /// [`Error::FutureToken`] for a token that is not of the past.
    pub fn follow_sets(&self, call: &Call, start: Start) -> Result<Follower, Error> {
        self.recorded(call, Asked::of("follow_sets"), |recording| {
            self.stream(call, self.options.materialize.clone(), Form::Shared, start, recording)
        })
    }

    /// As [`Authorizer::follow_sets`], for the server itself: takes no place.
    pub(crate) fn follow_own_sets(&self, call: &Call, start: Start) -> Result<Follower, Error> {
        self.check_materialized(call.store, &[])?;
        self.follower(call, self.options.materialize.clone(), Form::Shared, start)
    }

    /// Follows members of some of the materialized permissions; each member is a child of the permission itself.
    ///
    /// # Errors
    /// As [`Authorizer::follow_sets`], and [`Error::SnapshotExpired`] where the log or the snapshots do not reach back to the
    /// token.
    pub fn follow_permissions(&self, call: &Call, permissions: Vec<Watched>, start: Start) -> Result<Follower, Error> {
        self.recorded(call, Asked::of("follow_permissions"), |recording| {
            self.stream(call, permissions.into(), Form::Flat, start, recording)
        })
    }

    fn stream(
        &self,
        call: &Call,
        watched: Arc<[Watched]>,
        form: Form,
        start: Start,
        recording: &mut Recording<'_>,
    ) -> Result<Follower, Error> {
        drop(self.admit(call, Weight::Heavy, &Authorizer::enumerating_all(&watched))?);
        self.check_materialized(call.store, &watched)?;
        recording.see_watched(&self.world_at(call.store, self.datastore.head(), self.clock.now())?, &watched);
        let mut follower = self.follower(call, watched, form, start)?;
        let limits = &self.options.limits;
        let max = PlacesMax {
            per_caller: ("sets_streams_per_caller_max", limits.sets_streams_per_caller_max),
            all: ("sets_streams_max", limits.sets_streams_max),
        };
        let at = follower.completed().map_or(self.datastore.head(), |moment| moment.revision);
        follower.place = Some(self.sets.places.enter(&call.caller, at, max)?);
        Ok(follower)
    }

    fn follower(&self, call: &Call, watched: Arc<[Watched]>, form: Form, start: Start) -> Result<Follower, Error> {
        let from = match start {
            Start::Everything => From::Nothing,
            Start::Now => From::Now(self.newest_moment(call.store)?),
            Start::After(token) => match self.moment_of_token(token)? {
                Some(moment) => From::Resumed(moment),
                None if form == Form::Shared => From::Lost,
                None => return Err(Error::SnapshotExpired { asked: token.revision, floor: self.datastore.floor() }),
            },
        };
        let expiring = Expiring::new(self.sets.memory.hold());
        Ok(Follower { store: call.store, watched, form, from, expiring, sets: None, place: None })
    }
}

impl Follower {
    /// The last moment that was completed.
    #[must_use]
    pub fn completed(&self) -> Option<Moment> {
        match self.from {
            From::Resumed(moment) | From::At(moment) => Some(moment),
            From::Nothing | From::Now(_) | From::Lost => None,
        }
    }

    /// Tells what the next revision changes. Reads the disk, never waits for a commit.
    ///
    /// # Errors
    /// When a limit on the work of one change is exceeded, the call is cancelled, or storage fails. Whoever follows anew from
    /// the last completed revision misses nothing.
    pub fn step(
        &mut self,
        authorizer: &Authorizer,
        call: &Call,
        tell: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Progress, Error> {
        call.check_alive()?;
        if self.place.is_some() {
            // A power can be taken away while a stream lasts.
            let acts = Authorizer::enumerating_all(&self.watched);
            acts.into_iter().try_for_each(|act| authorizer.judge(call, act))?;
        }
        let moment = match self.from {
            From::Nothing => return self.begin(authorizer, call, tell),
            From::Lost => return self.lose(authorizer, tell),
            From::Now(moment) => {
                self.expect(authorizer, moment)?;
                let flow = tell(Event::Completed(authorizer.token(moment.revision)));
                return Ok(if flow.is_break() { Progress::Left } else { Progress::Moved });
            }
            From::Resumed(moment) => match self.expect(authorizer, moment) {
                Err(Error::SnapshotExpired { .. }) if self.form == Form::Shared => return self.lose(authorizer, tell),
                other => other.map(|()| moment)?,
            },
            From::At(moment) => moment,
        };
        match self.advance(authorizer, call, moment, tell) {
            Err(Error::SnapshotExpired { .. }) if self.form == Form::Shared => self.lose(authorizer, tell),
            other => other,
        }
    }

    /// Tells all there is.
    fn begin(
        &mut self,
        authorizer: &Authorizer,
        call: &Call,
        tell: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Progress, Error> {
        let moment = authorizer.newest_moment(self.store)?;
        let after = authorizer.scene(self.store, moment, &self.watched, self.form)?;
        let flow = self.tell_all(authorizer, call, None, &after, tell)?;
        if flow.is_break() || tell(Event::Completed(after.world.token)).is_break() {
            return Ok(Progress::Left);
        }
        self.expect(authorizer, moment)?;
        Ok(Progress::Moved)
    }

    /// Goes on at the newest revision.
    fn lose(
        &mut self,
        authorizer: &Authorizer,
        tell: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Progress, Error> {
        let moment = authorizer.newest_moment(self.store)?;
        self.expect(authorizer, moment)?;
        let flow = tell(Event::LookupRequired(authorizer.token(moment.revision)));
        Ok(if flow.is_break() { Progress::Left } else { Progress::Moved })
    }

    /// Reads which times lie behind a moment, and stands there.
    fn expect(&mut self, authorizer: &Authorizer, moment: Moment) -> Result<(), Error> {
        let snapshot = authorizer.datastore.snapshot(self.store, moment.revision)?;
        self.expiring.load(&*snapshot, moment.now)?;
        self.stand(moment);
        Ok(())
    }

    fn stand(&mut self, moment: Moment) {
        self.from = From::At(moment);
        if let Some(place) = &self.place {
            place.reach(moment.revision);
        }
    }

    fn advance(
        &mut self,
        authorizer: &Authorizer,
        call: &Call,
        moment: Moment,
        tell: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Progress, Error> {
        let touched_max = authorizer.options.limits.sets_touched_max;
        let mut log = authorizer.follow(self.store, moment.revision);
        let Some(mut piece) = log.next_piece()? else { return Ok(Progress::CaughtUp) };
        let (revision, schema_changed) = (piece.revision, piece.schema_changed);
        let next = Moment { revision, now: moment.now.max(piece.provenance.time) };
        let mut held = authorizer.sets.memory.hold();
        let mut touched = self.expiring.due(next.now);
        held.grow(size_of_val(&*touched))?;
        loop {
            self.expiring.follow(&piece.changes, next.now)?;
            // One beyond the bound is enough: all sets are compared then, whatever was touched.
            let room = touched_max.saturating_add(1).saturating_sub(touched.len());
            held.grow(room.min(piece.changes.len()) * size_of::<Touched>())?;
            touched.extend(piece.changes.iter().take(room).map(|change| Touched {
                table: change.table,
                resource: change.resource,
                subject: change.subject,
            }));
            if piece.last {
                break;
            }
            let cut_short = || Error::Internal(format!("revision {revision} ends before its last piece"));
            piece = log.next_piece()?.ok_or_else(cut_short)?;
        }
        if schema_changed || !touched.is_empty() {
            let before = authorizer.scene(self.store, moment, &self.watched, self.form)?;
            let after = authorizer.scene(self.store, next, &self.watched, self.form)?;
            let whole = schema_changed || touched.len() > touched_max;
            let flow = if whole {
                self.tell_all(authorizer, call, Some(&before), &after, tell)?
            } else {
                self.tell_changes(authorizer, call, &before, &after, &touched, tell)?
            };
            let gone: Vec<Watched> =
                after.sets.unknown().iter().filter(|gone| !before.sets.unknown().contains(gone)).cloned().collect();
            let breaking = Event::Breaking { at: after.world.token, permissions: gone };
            let told = matches!(&breaking, Event::Breaking { permissions, .. } if permissions.is_empty());
            if flow.is_break() || !told && tell(breaking).is_break() {
                return Ok(Progress::Left);
            }
        }
        self.stand(next);
        let flow = tell(Event::Completed(authorizer.token(next.revision)));
        Ok(if flow.is_break() { Progress::Left } else { Progress::Moved })
    }

    fn tell_changes(
        &mut self,
        authorizer: &Authorizer,
        call: &Call,
        before: &Scene,
        after: &Scene,
        touched: &[Touched],
        tell: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let limits = &authorizer.options.limits.graph;
        let (old, new) = (before.evaluation(call, limits), after.evaluation(call, limits));
        let at = after.world.token;
        let mut telling = Telling::new(at, Some(Reader::new(&old, &before.sets)), Reader::new(&new, &after.sets));
        telling.counts = self.sets.is_some();
        let flow = sets::changes(
            &mut Reader::new(&old, &before.sets),
            &mut Reader::new(&new, &after.sets),
            touched,
            &mut |change| telling.tell(change, tell),
        )?;
        let counted = telling.end()?;
        self.sets = self.sets.map(|sets| sets + counted);
        Ok(flow)
    }

    fn tell_all(
        &mut self,
        authorizer: &Authorizer,
        call: &Call,
        before: Option<&Scene>,
        after: &Scene,
        tell: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let limits = &authorizer.options.limits.graph;
        let new = after.evaluation(call, limits);
        let old = before.map(|scene| (scene.evaluation(call, limits), &scene.sets));
        let reader = || old.as_ref().map(|(evaluation, sets)| Reader::new(evaluation, sets));
        let mut telling = Telling::new(after.world.token, reader(), Reader::new(&new, &after.sets));
        let flow = sets::rebuilt(reader().as_mut(), &mut Reader::new(&new, &after.sets), &mut |change| {
            telling.tell(change, tell)
        })?;
        let counted = telling.end()?;
        self.sets = before.is_none().then_some(counted);
        Ok(flow)
    }

    /// How many sets have a child; `None` when that is to be counted anew.
    pub(super) fn sets(&self) -> Option<i64> {
        self.sets
    }
}

/// Gives changes their names, and counts sets. The readers are apart from those that are compared, so that names and counts
/// are no part of the work that is limited.
struct Telling<'a> {
    at: ZedToken,
    before: Option<Reader<'a>>,
    after: Reader<'a>,
    failed: Result<(), Error>,
    counts: bool,
    counted: i64,
    last: Option<(NodeId, Ordinal)>,
}

impl<'a> Telling<'a> {
    fn new(at: ZedToken, before: Option<Reader<'a>>, after: Reader<'a>) -> Telling<'a> {
        Telling { at, before, after, failed: Ok(()), counts: false, counted: 0, last: None }
    }

    fn tell(&mut self, change: Change, tell: &mut dyn FnMut(Event) -> ControlFlow<()>) -> ControlFlow<()> {
        let set = Some((change.set, change.object));
        let counted = match self.before {
            Some(_) => self.count(set),
            None => {
                // All there is: a set counts with its first child.
                if change.after == Certainty::Yes && self.last != set {
                    (self.last, self.counted) = (set, self.counted + 1);
                }
                Ok(())
            }
        };
        match counted.and_then(|()| self.named(change)) {
            Ok(event) => tell(event),
            Err(error) => {
                self.failed = Err(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Counts the set that came before this one: all changes of a set come together.
    fn count(&mut self, next: Option<(NodeId, Ordinal)>) -> Result<(), Error> {
        if !self.counts || self.last == next {
            return Ok(());
        }
        let last = std::mem::replace(&mut self.last, next);
        if let (Some((node, object)), Some(before)) = (last, &mut self.before) {
            before.begin();
            self.after.begin();
            let (before, after) = (before.has_child(node, object)?, self.after.has_child(node, object)?);
            self.counted += i64::from(after) - i64::from(before);
        }
        Ok(())
    }

    fn end(mut self) -> Result<i64, Error> {
        self.count(None)?;
        self.failed.map(|()| self.counted)
    }

    fn named(&self, change: Change) -> Result<Event, Error> {
        let reader = match (change.side, &self.before) {
            (Side::Before, Some(before)) => before,
            _ => &self.after,
        };
        Ok(Event::Changed {
            at: self.at,
            set: set_ref(reader, change.set, change.object)?,
            child: set_child(reader, change.child)?,
            before: change.before,
            after: change.after,
        })
    }
}
