//! "What can this subject reach?" and "who can reach this resource?", whole or in pages. Results come in a stable order and
//! never twice, also across pages.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use stonetown_graph::{ExcludedSubject, FoundResource, FoundSubject, Membership, Position};
use stonetown_schema::Definition;
use stonetown_tuple::{CaveatContext, Consistency, ObjectRef, ObjectType, RelationName, StoreId, SubjectRef, ZedToken};

use crate::admission::Weight;
use crate::check::{above, refuse_wildcard};
use crate::error::RequestLimit;
use crate::gate::Act;
use crate::read::to_usize;
use crate::recording::{Asked, Recording};
use crate::world::{Cursor, World};
use crate::{Authorizer, Call, Error};

/// Results taken from a computed set at a time.
const STEP: usize = 1024;

/// Which resources are asked for.
#[derive(Debug, Clone)]
pub struct LookupResourcesRequest {
    /// How fresh the answer must be; a cursor's revision comes before it.
    pub consistency: Consistency,
    /// The type of the resources.
    pub resource_type: ObjectType,
    /// A permission or relation of that type.
    pub permission: RelationName,
    /// Who; not a wildcard.
    pub subject: SubjectRef,
    /// Values for caveats.
    pub context: CaveatContext,
    /// At most so many; `None` for all.
    pub limit: Option<u64>,
    /// Where to go on.
    pub after: Option<Cursor<Position>>,
}

/// Which subjects are asked for.
#[derive(Debug, Clone)]
pub struct LookupSubjectsRequest {
    /// How fresh the answer must be; a cursor's revision comes before it.
    pub consistency: Consistency,
    /// The resource.
    pub resource: ObjectRef,
    /// A permission or relation of its type.
    pub permission: RelationName,
    /// The type of the subjects.
    pub subject_type: ObjectType,
    /// The relation of the subjects, for usersets.
    pub subject_relation: Option<RelationName>,
    /// Values for caveats.
    pub context: CaveatContext,
    /// At most so many, `*` not counted; `None` for all.
    pub limit: Option<u64>,
    /// Where to go on.
    pub after: Option<Cursor<Position>>,
    /// Whether `*` itself, with its exclusions, is left out.
    pub without_wildcard: bool,
}

impl Authorizer {
    /// Hands each resource that the subject has the permission on to `visit`, with the cursor after it.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn lookup_resources(
        &self,
        call: &Call,
        request: &LookupResourcesRequest,
        visit: &mut dyn FnMut(FoundResource, Cursor<Position>) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        let asked = Asked::of("lookup_resources").resource_type(request.resource_type.as_str());
        let asked = asked.permission(&request.permission).subject(&request.subject).context(&request.context);
        self.recorded(call, asked, |recording| self.answer_resources(call, request, recording, visit))
    }

    fn answer_resources(
        &self,
        call: &Call,
        request: &LookupResourcesRequest,
        recording: &mut Recording<'_>,
        visit: &mut dyn FnMut(FoundResource, Cursor<Position>) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        let (resource_type, permission) = (request.resource_type.as_str(), request.permission.as_str());
        let _permit = self.admit(call, Weight::Heavy, &[Act::Lookup { resource_type, permission }])?;
        self.refuse_large_lookup(&request.context, request.limit)?;
        refuse_wildcard(&request.subject, "subject_id")?;
        let world = self.world_of_page(call, request.consistency, request.after.as_ref())?;
        recording.see_page(&world, request.after.is_some());
        self.judge_lookup(call, &world, resource_type, permission)?;
        let evaluation = world.evaluation(call, &request.context, None, &self.options.limits.graph)?;
        let found = stonetown_graph::listed_resources(
            &evaluation,
            &request.resource_type,
            &request.permission,
            &request.subject,
        )?;
        call.note_work(&found.work());
        let from = request.after.map(|cursor| cursor.position);
        recording.begin_results(self)?;
        if self.is_cut_off(call.store, request.consistency.into(), &world, &request.subject)? {
            return Ok(world.token);
        }
        emit(
            &world,
            from,
            request.limit,
            |after, limit| Ok(found.page(&evaluation, after, limit)?),
            |item| (item.position, Some(1)),
            &mut |item: FoundResource, cursor| {
                recording.result(&item.id);
                visit(item, cursor)
            },
        )
    }

    /// Hands each subject that has the permission on the resource to `visit`, with the cursor after it; `*` comes first, with
    /// those that it does not cover.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn lookup_subjects(
        &self,
        call: &Call,
        request: &LookupSubjectsRequest,
        visit: &mut dyn FnMut(FoundSubject, Cursor<Position>) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        let asked = Asked::of("lookup_subjects").resource(&request.resource).permission(&request.permission);
        let asked = asked.subject_type(request.subject_type.as_str(), request.subject_relation.as_ref());
        let asked = asked.context(&request.context);
        self.recorded(call, asked, |recording| self.answer_subjects(call, request, recording, visit))
    }

    fn answer_subjects(
        &self,
        call: &Call,
        request: &LookupSubjectsRequest,
        recording: &mut Recording<'_>,
        visit: &mut dyn FnMut(FoundSubject, Cursor<Position>) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        let (resource_type, permission) = (request.resource.object_type.as_str(), request.permission.as_str());
        let _permit = self.admit(call, Weight::Heavy, &[Act::Lookup { resource_type, permission }])?;
        self.refuse_large_lookup(&request.context, request.limit)?;
        let world = self.world_of_page(call, request.consistency, request.after.as_ref())?;
        recording.see_page(&world, request.after.is_some());
        self.judge_lookup(call, &world, resource_type, permission)?;
        let subjects = world.newest().schema().definition(request.subject_type.as_str());
        if subjects.is_some_and(Definition::is_guarded) {
            // They are seen as what they are related to, which nothing lists.
            self.judge(call, Act::Enumerate(None))?;
        }
        let evaluation = world.evaluation(call, &request.context, None, &self.options.limits.graph)?;
        let found = stonetown_graph::listed_subjects(
            &evaluation,
            &request.resource,
            &request.permission,
            &request.subject_type,
            request.subject_relation.as_ref(),
        )?;
        call.note_work(&found.work());
        let from = request.after.map(|cursor| cursor.position);
        recording.begin_results(self)?;
        let cut_off = self.ids_cut_off(call.store, &world, request)?;
        emit(
            &world,
            from,
            request.limit,
            |after, limit| {
                let mut page = found.page(&evaluation, after, limit)?;
                page.iter_mut().filter(|item| item.id.as_ref() == "*").for_each(|wildcard| exclude(wildcard, &cut_off));
                Ok(page)
            },
            |item| {
                if cut_off.contains(&item.id) {
                    return (item.position, None);
                }
                let takes = if item.id.as_ref() == "*" { (!request.without_wildcard).then_some(0) } else { Some(1) };
                (item.position, takes)
            },
            &mut |item: FoundSubject, cursor| {
                recording.result(&item.id);
                visit(item, cursor)
            },
        )
    }

    /// The ids of the subjects asked for that are cut off.
    fn ids_cut_off(
        &self,
        store: StoreId,
        world: &World,
        request: &LookupSubjectsRequest,
    ) -> Result<HashSet<Arc<str>>, Error> {
        let Some(cut_off) =
            self.cut_off(store, request.consistency.into(), world)?.filter(|_| request.subject_relation.is_none())
        else {
            return Ok(HashSet::new());
        };
        let of_type = cut_off.iter().filter(|object| object.object_type == request.subject_type);
        Ok(of_type.map(|object| object.object_id.as_str().into()).collect())
    }

    pub(crate) fn refuse_large_lookup(&self, context: &CaveatContext, limit: Option<u64>) -> Result<(), Error> {
        self.refuse_large_context(context)?;
        let max = self.options.limits.lookup_limit_max;
        above(RequestLimit::Results, to_usize(limit.unwrap_or(0)), to_usize(max))
    }
}

/// Takes subjects out of a wildcard.
fn exclude(wildcard: &mut FoundSubject, ids: &HashSet<Arc<str>>) {
    wildcard.excluded.retain(|excluded| !ids.contains(&excluded.id));
    let excluded = |id: &Arc<str>| ExcludedSubject { id: Arc::clone(id), membership: Membership::NotMember };
    wildcard.excluded.extend(ids.iter().map(excluded));
    wildcard.excluded.sort_by(|a, b| a.id.cmp(&b.id));
}

/// Takes results out of a computed set step by step, until there are none, the limit is reached or the visitor breaks.
/// `place` tells a result's position, and how much of the limit it takes; `None` if it is not wanted at all.
fn emit<T>(
    world: &World,
    from: Option<Position>,
    limit: Option<u64>,
    page: impl Fn(Option<Position>, usize) -> Result<Vec<T>, Error>,
    place: impl Fn(&T) -> (Position, Option<usize>),
    visit: &mut dyn FnMut(T, Cursor<Position>) -> ControlFlow<()>,
) -> Result<ZedToken, Error> {
    let mut left = limit.filter(|limit| *limit > 0).map_or(usize::MAX, to_usize);
    let mut after = from;
    while left > 0 {
        let items = page(after, left.min(STEP))?;
        if items.is_empty() {
            break;
        }
        for item in items {
            let (position, takes) = place(&item);
            after = Some(position);
            let Some(takes) = takes else { continue };
            left -= takes;
            if visit(item, Cursor { token: world.token, now: world.now, position }).is_break() {
                return Ok(world.token);
            }
        }
    }
    Ok(world.token)
}
