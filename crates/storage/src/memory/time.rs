//! What the passing of time does to versions.

use stonetown_tuple::{Revision, StoreId, Timestamp};

use super::state::{EdgeKey, Moment, State};
use crate::log::{Change, EdgeState, Effect};
use crate::{LogEntry, Provenance};

/// Moments that were found, as a commit.
pub(super) struct Found {
    pub(super) entry: Option<LogEntry>,
    /// Whether there is more to be found.
    pub(super) more: bool,
    /// The clock of the call.
    pub(super) now: Timestamp,
}

impl State {
    /// Notes the moments of a version just written, and says what it means after the one before it.
    pub(super) fn replaced(
        &mut self,
        store: StoreId,
        key: EdgeKey,
        revision: Revision,
        state: Option<&EdgeState>,
        now: Timestamp,
    ) -> Effect {
        let held = self.held(store, key, revision);
        let Some(state) = state else { return Effect::of(held, false) };
        let moments = state.moments(now);
        self.ahead.extend([moments.start, moments.end].into_iter().flatten().map(|time| (time, store, key, revision)));
        if let (Some(end), None) = (state.expires_at, moments.end) {
            self.expired.insert((end, store, key, revision));
        }
        Effect::of(held, state.is_live(now))
    }

    /// Whether the log has an edge as one that holds, just before a revision.
    fn held(&self, store: StoreId, key: EdgeKey, revision: Revision) -> bool {
        let versions = self.stores.get(&store).and_then(|store| store.edges.get(&key));
        let Some((written, Some(state))) = versions.and_then(|versions| versions.range(..revision).next_back()) else {
            return false;
        };
        let ahead = |time| self.ahead.contains(&(time, store, key, *written));
        !state.not_before.is_some_and(ahead) && state.expires_at.is_none_or(ahead)
    }

    /// The state of a version, if it is the newest of its edge.
    fn newest(&self, (_, store, key, written): &Moment) -> Option<&EdgeState> {
        let versions = self.stores.get(store)?.edges.get(key)?;
        let (newest, state) = versions.last_key_value()?;
        state.as_ref().filter(|_| newest == written)
    }

    /// See [`crate::Datastore::pass_time`].
    pub(super) fn pass_time(&mut self, now: Timestamp, limit: usize) -> Found {
        self.find(
            now,
            now,
            limit,
            |state| &mut state.ahead,
            |state, moment| {
                let edge = state.newest(&moment)?.clone();
                let ends = edge.expires_at == Some(moment.0);
                if ends {
                    state.expired.insert(moment);
                }
                Some((Some(edge), if ends { Effect::Ends } else { Effect::Begins }))
            },
        )
    }

    /// See [`crate::Datastore::remove_expired`].
    pub(super) fn remove_expired(&mut self, now: Timestamp, until: Timestamp, limit: usize) -> Found {
        let revision = self.head.next();
        self.find(
            now,
            until,
            limit,
            |state| &mut state.expired,
            |state, moment| {
                state.newest(&moment)?;
                let (_, store, key, _) = moment;
                state.stores.get_mut(&store)?.edges.get_mut(&key)?.insert(revision, None);
                Some((None, Effect::Silent))
            },
        )
    }

    fn find(
        &mut self,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
        moments: fn(&mut State) -> &mut std::collections::BTreeSet<Moment>,
        mut take: impl FnMut(&mut State, Moment) -> Option<(Option<EdgeState>, Effect)>,
    ) -> Found {
        let first_store = moments(self).first().map(|(_, store, ..)| *store).unwrap_or_default();
        let mut changes = Vec::new();
        let mut more = false;
        for looked_at in 0.. {
            let Some(moment) = moments(self).first().copied().filter(|(time, ..)| *time <= until) else { break };
            more = looked_at >= limit || moment.1 != first_store;
            if more {
                break;
            }
            moments(self).remove(&moment);
            let EdgeKey { table, resource, subject, source } = moment.2;
            if let Some((state, effect)) = take(self, moment) {
                changes.push(Change { table, resource, subject, source, state, effect });
            }
        }
        let provenance = Provenance { time: now, actor: None, metadata: None };
        let revision = self.head.next();
        let entry = LogEntry { revision, store: first_store, schema_changed: false, provenance, changes };
        Found { entry: Some(entry).filter(|entry| !entry.changes.is_empty()), more, now }
    }
}
