//! From the consistency of a call to what it is answered from: a revision, its snapshot, the schema compiled for it, and the
//! resident index where it reaches that revision.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use stonetown_graph::{Evaluation, Given, IndexView, Limits as GraphLimits, Overlay, Plan};
use stonetown_schema::{CompileOptions, Schema};
use stonetown_storage::{Snapshot, StoredSchema};
use stonetown_tuple::{CaveatContext, Consistency, Revision, StoreId, Timestamp, ZedToken};

use crate::moment::Freshness;
use crate::{Authorizer, Call, Error};

/// Everything one answer rests on. All parts of an answer, and all items of a bulk, come from one world.
pub struct World {
    /// What is stored, at one revision.
    pub snapshot: Arc<dyn Snapshot>,
    /// The schema of that revision, compiled.
    pub plan: Arc<Plan>,
    /// The resident index at that revision, where it has it.
    pub index: Option<IndexView>,
    /// The revision that wrote the schema; 0 when there is none.
    pub schema_at: Revision,
    /// The time of the call.
    pub now: Timestamp,
    /// The token of the revision.
    pub token: ZedToken,
    /// See [`World::newest`]; `None` where it is the plan of the world itself.
    newest: Option<Arc<Plan>>,
}

/// Where a page goes on: in the world of the first page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor<P> {
    /// The revision of the first page.
    pub token: ZedToken,
    /// The time of the first page: later pages judge expiry at it.
    pub now: Timestamp,
    /// The last result given out.
    pub position: P,
}

impl Authorizer {
    /// Opens the world that `consistency` asks for, now.
    pub(crate) fn world(&self, call: &Call, consistency: Consistency) -> Result<World, Error> {
        let revision = self.revision(consistency)?;
        call.note_revision(revision);
        self.world_at(call.store, revision, self.clock.now())
    }

    /// Opens the world of a cursor's first page, or of the freshness where there is no cursor.
    pub(crate) fn world_of_page<P>(
        &self,
        call: &Call,
        freshness: impl Into<Freshness>,
        cursor: Option<&Cursor<P>>,
    ) -> Result<World, Error> {
        match cursor {
            None => self.world_of(call, freshness.into()),
            Some(cursor) => {
                let revision = self.revision(Consistency::AtExactSnapshot(cursor.token))?;
                call.note_revision(revision);
                self.world_at(call.store, revision, cursor.now)
            }
        }
    }

    fn revision(&self, consistency: Consistency) -> Result<Revision, Error> {
        // Head is published before a write is acknowledged, so it is never older than any acknowledged write.
        let head = self.datastore.head();
        let own = |token: ZedToken| token.instance == self.datastore.instance();
        let not_future = |token: ZedToken| {
            if token.revision > head { Err(Error::FutureToken { asked: token.revision, head }) } else { Ok(()) }
        };
        match consistency {
            Consistency::MinimizeLatency | Consistency::FullyConsistent => Ok(head),
            Consistency::AtLeastAsFresh(token) if own(token) => not_future(token).map(|()| head),
            Consistency::AtLeastAsFresh(_) if self.options.foreign_tokens_refused => Err(Error::ForeignToken),
            Consistency::AtLeastAsFresh(_) => {
                self.counters.foreign_tokens.fetch_add(1, Ordering::Relaxed);
                Ok(head)
            }
            Consistency::AtExactSnapshot(token) if own(token) => not_future(token).map(|()| token.revision),
            Consistency::AtExactSnapshot(_) => Err(Error::ForeignToken),
        }
    }

    pub(crate) fn world_at(&self, store: StoreId, revision: Revision, now: Timestamp) -> Result<World, Error> {
        let snapshot = self.datastore.snapshot(store, revision)?;
        let (schema_at, plan) = self.plan(&*snapshot)?;
        let index = self.index.view(store, revision);
        let head = self.datastore.head();
        let newest = if revision < head { Some(self.plan(&*self.datastore.snapshot(store, head)?)?.1) } else { None };
        Ok(World { snapshot, plan, index, schema_at, now, token: self.token(revision), newest })
    }

    /// The schema in force now, compiled.
    pub(crate) fn plan_now(&self, store: StoreId) -> Result<Arc<Plan>, Error> {
        let snapshot = self.datastore.snapshot(store, self.datastore.head())?;
        Ok(self.plan(&*snapshot)?.1)
    }

    /// The compiled schema of a snapshot, compiled once for each version of it, and the revision that wrote it.
    fn plan(&self, snapshot: &dyn Snapshot) -> Result<(Revision, Arc<Plan>), Error> {
        /// Compiled versions kept at a time; more come only from reading far back in history.
        const PLANS_MAX: usize = 64;
        let stored = snapshot.schema()?;
        let key = (snapshot.store(), stored.as_ref().map_or(Revision(0), |schema| schema.revision));
        if let Some(plan) = self.plans.load().get(&key) {
            return Ok((key.1, Arc::clone(plan)));
        }
        let schema = Arc::new(compile_stored(stored.as_ref())?);
        let plan = Arc::new(Plan::compile(schema, snapshot));
        self.plans.rcu(|plans| {
            let mut plans: HashMap<_, _> = if plans.len() < PLANS_MAX { (**plans).clone() } else { HashMap::default() };
            plans.insert(key, Arc::clone(&plan));
            plans
        });
        Ok((key.1, plan))
    }
}

impl World {
    /// The question's surroundings, as the graph takes them.
    ///
    /// # Errors
    /// [`Error::ParameterNotYours`] when the context names a parameter that has a source.
    pub(crate) fn evaluation<'a>(
        &'a self,
        call: &'a Call,
        context: &'a CaveatContext,
        overlay: Option<&'a Overlay>,
        limits: &'a GraphLimits,
    ) -> Result<Evaluation<'a>, Error> {
        if call.given != Given::Context {
            let sourced = context.keys().find_map(|name| self.plan.sourced(name));
            if let Some((caveat, parameter, source)) = sourced {
                return Err(Error::parameter_not_yours(caveat, parameter, source));
            }
        }
        Ok(self.surroundings(call, call.given, context, overlay, limits))
    }

    /// As [`World::evaluation`], for a context that no request gave.
    pub(crate) fn surroundings<'a>(
        &'a self,
        call: &'a Call,
        given: Given,
        context: &'a CaveatContext,
        overlay: Option<&'a Overlay>,
        limits: &'a GraphLimits,
    ) -> Evaluation<'a> {
        Evaluation {
            plan: &self.plan,
            snapshot: &*self.snapshot,
            index: self.index.as_ref(),
            overlay,
            now: self.now,
            context,
            given,
            limits,
            deadline: call.deadline,
            cancel: call.cancelled.as_deref(),
        }
    }

    /// Whether an answer about a relation or permission waits for its record: as this schema says, or the newest. Asking of the
    /// past is no way around what is told since.
    pub(crate) fn is_audited_strictly(&self, resource_type: &str, permission: &str) -> bool {
        let says = |plan: &Plan| plan.schema().is_audited_strictly(resource_type, permission);
        says(&self.plan) || says(self.newest())
    }

    /// The newest schema of the store, compiled, as of when the world was opened.
    pub(crate) fn newest(&self) -> &Plan {
        self.newest.as_ref().unwrap_or(&self.plan)
    }

    /// The schema of this world.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        self.plan.schema()
    }
}

/// The text of a stored schema.
pub(crate) fn stored_text(stored: &StoredSchema) -> Result<&str, Error> {
    std::str::from_utf8(&stored.bytes).map_err(|_| Error::Internal("the stored schema is not text".to_owned()))
}

/// Compiles what is stored; nothing stored is a schema without definitions.
fn compile_stored(stored: Option<&StoredSchema>) -> Result<Schema, Error> {
    let text = stored.map_or(Ok(""), stored_text)?;
    Schema::compile(text, &CompileOptions::default())
        .map_err(|errors| Error::Internal(format!("the stored schema does not compile: {errors:?}")))
}
