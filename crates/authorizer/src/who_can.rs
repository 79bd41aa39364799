//! "Who can do this to that?" and "what can this one do?", each result with the way on which it can, until when, and who wrote
//! the relationships of the way. All results of a list, over all its pages, come from one state and one moment.

use std::ops::ControlFlow;

use stonetown_graph::{
    Evaluation, ExcludedSubject, FoundResource, FoundSubject, Membership, NamedSubject, Position, Step,
};
use stonetown_tuple::{
    CaveatContext, ObjectId, ObjectRef, ObjectType, RelationName, SubjectId, SubjectRef, Timestamp, ZedToken,
};

use crate::admission::Weight;
use crate::check::refuse_wildcard;
use crate::explain::{Written, written};
use crate::gate::{Act, CutOff, names};
use crate::moment::Freshness;
use crate::question::until;
use crate::read::to_usize;
use crate::recording::{Asked, Recording};
use crate::world::{Cursor, World};
use crate::{Authorizer, Call, Error};

/// Results taken from a computed set at a time.
const STEP: usize = 256;

/// Who has a permission.
#[derive(Debug, Clone)]
pub struct WhoCanRequest {
    /// Which state the answer must rest on; a cursor's comes before it.
    pub freshness: Freshness,
    /// The resource.
    pub resource: ObjectRef,
    /// A permission or relation of its type.
    pub permission: RelationName,
    /// Whom to list.
    pub subjects: Subjects,
    /// Values for caveats.
    pub context: CaveatContext,
    /// Whether to show the way of each.
    pub with_path: bool,
    /// At most so many; `None` for all.
    pub limit: Option<u64>,
    /// Where to go on.
    pub after: Option<Cursor<PartPosition>>,
}

/// Whom to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subjects {
    /// Objects of every type that can have the permission, whatever groups they have it through.
    All,
    /// Objects of one type.
    Of(ObjectType),
    /// Usersets of one type and relation.
    Usersets(ObjectType, RelationName),
    /// Those whom relationships name: groups as they are, and whoever has it without one.
    Named,
}

/// Somebody who has a permission, or may have it.
#[derive(Debug, Clone)]
pub struct Holder {
    /// Who; a wildcard for everybody of a type.
    pub subject: SubjectRef,
    /// [`Membership::Member`] or [`Membership::Conditional`].
    pub membership: Membership,
    /// Of a wildcard: whom it does not cover, or not to the same extent.
    pub excluded: Vec<ExcludedSubject>,
    /// How and for how long.
    pub way: Way,
}

/// What a subject can do.
#[derive(Debug, Clone)]
pub struct WhatCanRequest {
    /// Which state the answer must rest on; a cursor's comes before it.
    pub freshness: Freshness,
    /// Who; not a wildcard.
    pub subject: SubjectRef,
    /// Resources of this type; `None` for every type.
    pub resource_type: Option<ObjectType>,
    /// This permission or relation; `None` for every permission.
    pub permission: Option<RelationName>,
    /// Values for caveats.
    pub context: CaveatContext,
    /// Whether to show the way to each.
    pub with_path: bool,
    /// At most so many; `None` for all.
    pub limit: Option<u64>,
    /// Where to go on.
    pub after: Option<Cursor<PartPosition>>,
}

/// Something that a subject can do, or may be able to do.
#[derive(Debug, Clone)]
pub struct Reach {
    /// The resource.
    pub resource: ObjectRef,
    /// The permission.
    pub permission: RelationName,
    /// [`Membership::Member`] or [`Membership::Conditional`].
    pub membership: Membership,
    /// How and for how long.
    pub way: Way,
}

/// How a permission is had, and for how long.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// Until when (exclusively) if nothing is written; `None` if for ever or if it is conditional.
    pub until: Option<Timestamp>,
    /// The relationships, where asked for and where it is not conditional.
    pub path: Vec<Step>,
    /// Who wrote them.
    pub written: Written,
}

/// A position in a list of several parts, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartPosition {
    /// Which part.
    pub part: u32,
    /// The last result given out of it.
    pub position: Position,
}

impl Authorizer {
    /// Hands each subject that has the permission to `visit`, with the cursor after it. `*` comes first of its type, with
    /// those that it does not cover; whom it covers is listed too where a relationship says so.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn who_can(
        &self,
        call: &Call,
        request: &WhoCanRequest,
        visit: &mut dyn FnMut(Holder, Cursor<PartPosition>) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        let asked = Asked::of("who_can").resource(&request.resource).permission(&request.permission);
        let asked = match &request.subjects {
            Subjects::Of(subject_type) => asked.subject_type(subject_type.as_str(), None),
            Subjects::Usersets(subject_type, relation) => asked.subject_type(subject_type.as_str(), Some(relation)),
            Subjects::All | Subjects::Named => asked,
        };
        self.recorded(call, asked.context(&request.context), |recording| {
            self.answer_who_can(call, request, recording, visit)
        })
    }

    fn answer_who_can(
        &self,
        call: &Call,
        request: &WhoCanRequest,
        recording: &mut Recording<'_>,
        visit: &mut dyn FnMut(Holder, Cursor<PartPosition>) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        let acts = [Act::Enumerate(Some(request.resource.object_type.as_ref()))];
        let _permit = self.admit(call, Weight::Heavy, &acts)?;
        self.refuse_large_lookup(&request.context, request.limit)?;
        let world = self.world_of_page(call, request.freshness, request.after.as_ref())?;
        recording.see_page(&world, request.after.is_some() || matches!(request.freshness, Freshness::At(_)));
        let evaluation = world.evaluation(call, &request.context, None, &self.options.limits.graph)?;
        let (resource, permission) = (&request.resource, &request.permission);
        if request.with_path {
            self.judge_ways(call, &world, &resource.object_type, permission)?;
        }
        recording.begin_results(self)?;
        let mut visit = |holder: Holder, cursor| {
            recording.result(&holder.subject);
            visit(holder, cursor)
        };
        let cut_off = self.cut_off(call.store, request.freshness, &world)?.unwrap_or_default();
        let mut list = List::new(&world, request.after, request.limit, &mut visit);
        if request.subjects == Subjects::Named {
            let named = stonetown_graph::named_subjects(&evaluation, resource, permission)?;
            call.note_work(&named.work());
            let page = |after: Option<Position>, limit| Ok(named.page(after, limit));
            list.part(0, page, |found: NamedSubject| {
                let NamedSubject { subject, membership, mut excluded, position } = found;
                if names(&cut_off, &subject) {
                    return Ok((None, position));
                }
                exclude(&subject, &cut_off, &mut excluded);
                let way = self.way(call, &world, &evaluation, (resource, permission, &subject), request.with_path)?;
                Ok((Some(Holder { subject, membership, excluded, way }), position))
            })?;
            return Ok(world.token);
        }
        for (part, (subject_type, relation)) in parts(&evaluation, request)?.into_iter().enumerate() {
            if list.is_behind(part) {
                continue;
            }
            let found =
                stonetown_graph::lookup_subjects(&evaluation, resource, permission, &subject_type, relation.as_ref())?;
            call.note_work(&found.work());
            // Where nothing begins or ends, no end has to be looked for.
            let lasts = found.changes_at().is_none() && !request.with_path;
            let page = |after: Option<Position>, limit| Ok(found.page(&evaluation, after, limit)?);
            list.part(part, page, |found: FoundSubject| {
                let id = SubjectId::new(&*found.id).map_err(|error| Error::Internal(error.to_string()))?;
                let subject = SubjectRef::new(subject_type.clone(), id, relation.clone())
                    .map_err(|error| Error::Internal(error.to_string()))?;
                let FoundSubject { membership, mut excluded, position, .. } = found;
                if names(&cut_off, &subject) {
                    return Ok((None, position));
                }
                exclude(&subject, &cut_off, &mut excluded);
                let question = (resource, permission, &subject);
                let way = if lasts {
                    Way::default()
                } else {
                    self.way(call, &world, &evaluation, question, request.with_path)?
                };
                Ok((Some(Holder { subject, membership, excluded, way }), position))
            })?;
        }
        Ok(world.token)
    }

    /// Hands what the subject can do to `visit`, with the cursor after it: by type and permission, types in the order of their names.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn what_can(
        &self,
        call: &Call,
        request: &WhatCanRequest,
        visit: &mut dyn FnMut(Reach, Cursor<PartPosition>) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        let asked = Asked::of("what_can").resource_type(request.resource_type.as_ref().map_or("", AsRef::as_ref));
        let asked = request.permission.as_ref().map_or(asked, |permission| asked.permission(permission));
        self.recorded(call, asked.subject(&request.subject).context(&request.context), |recording| {
            self.answer_what_can(call, request, recording, visit)
        })
    }

    fn answer_what_can(
        &self,
        call: &Call,
        request: &WhatCanRequest,
        recording: &mut Recording<'_>,
        visit: &mut dyn FnMut(Reach, Cursor<PartPosition>) -> ControlFlow<()>,
    ) -> Result<ZedToken, Error> {
        let acts = [Act::Enumerate(request.resource_type.as_ref().map(AsRef::as_ref))];
        let _permit = self.admit(call, Weight::Heavy, &acts)?;
        self.refuse_large_lookup(&request.context, request.limit)?;
        refuse_wildcard(&request.subject, "subject.id")?;
        let world = self.world_of_page(call, request.freshness, request.after.as_ref())?;
        recording.see_page(&world, request.after.is_some() || matches!(request.freshness, Freshness::At(_)));
        let evaluation = world.evaluation(call, &request.context, None, &self.options.limits.graph)?;
        let wanted =
            evaluation.plan.reachable(&request.subject, request.resource_type.as_ref(), request.permission.as_ref())?;
        for (of, permission) in &wanted {
            recording.see_asked(&world, of.as_str(), permission.as_str());
            if request.with_path {
                self.judge_ways(call, &world, of, permission)?;
            }
        }
        recording.begin_results(self)?;
        if self.is_cut_off(call.store, request.freshness, &world, &request.subject)? {
            return Ok(world.token);
        }
        let mut visit = |reach: Reach, cursor| {
            recording.result(format_args!("{}#{}", reach.resource, reach.permission));
            visit(reach, cursor)
        };
        let mut list = List::new(&world, request.after, request.limit, &mut visit);
        for (part, (resource_type, permission)) in wanted.into_iter().enumerate() {
            if list.is_behind(part) {
                continue;
            }
            let found = stonetown_graph::lookup_resources(&evaluation, &resource_type, &permission, &request.subject)?;
            call.note_work(&found.work());
            let lasts = found.changes_at().is_none() && !request.with_path;
            let page = |after: Option<Position>, limit| Ok(found.page(&evaluation, after, limit)?);
            list.part(part, page, |found: FoundResource| {
                let id = ObjectId::new(&*found.id).map_err(|error| Error::Internal(error.to_string()))?;
                let resource = ObjectRef { object_type: resource_type.clone(), object_id: id };
                let question = (&resource, &permission, &request.subject);
                let way = if lasts {
                    Way::default()
                } else {
                    self.way(call, &world, &evaluation, question, request.with_path)?
                };
                let membership = found.membership;
                Ok((Some(Reach { resource, permission: permission.clone(), membership, way }), found.position))
            })?;
        }
        Ok(world.token)
    }

    fn way(
        &self,
        call: &Call,
        world: &World,
        evaluation: &Evaluation<'_>,
        (resource, permission, subject): (&ObjectRef, &RelationName, &SubjectRef),
        with_path: bool,
    ) -> Result<Way, Error> {
        let (answer, path) = if with_path {
            let found = stonetown_graph::reasons(evaluation, resource, permission, subject, 0)?;
            (found.answer, found.path)
        } else {
            (stonetown_graph::check(evaluation, resource, permission, subject)?, Vec::new())
        };
        call.note_work(&answer.work);
        let until = until(evaluation, (resource, permission, subject), &answer);
        let written = written(&*world.snapshot, path.iter())?;
        Ok(Way { until, path, written })
    }
}

/// The kinds of subjects to look for, in the order of their names.
fn parts(
    evaluation: &Evaluation<'_>,
    request: &WhoCanRequest,
) -> Result<Vec<(ObjectType, Option<RelationName>)>, Error> {
    Ok(match &request.subjects {
        Subjects::Of(subject_type) => vec![(subject_type.clone(), None)],
        Subjects::Usersets(subject_type, relation) => vec![(subject_type.clone(), Some(relation.clone()))],
        Subjects::All | Subjects::Named => {
            let types = evaluation.plan.subject_types(&request.resource.object_type, &request.permission)?;
            types.into_iter().map(|subject_type| (subject_type, None)).collect()
        }
    })
}

/// Takes those who are cut off out of everybody.
fn exclude(everybody: &SubjectRef, cut_off: &CutOff, excluded: &mut Vec<ExcludedSubject>) {
    if !everybody.is_wildcard() {
        return;
    }
    let of_type = cut_off.iter().filter(|object| object.object_type == *everybody.object_type());
    for object in of_type {
        let id = object.object_id.as_str();
        excluded.retain(|one| &*one.id != id);
        excluded.push(ExcludedSubject { id: id.into(), membership: Membership::NotMember });
    }
    excluded.sort_by(|a, b| a.id.cmp(&b.id));
}

/// A list that is handed out: what it begins after, and how much more may be.
struct List<'l, T> {
    world: &'l World,
    after: Option<PartPosition>,
    left: usize,
    visit: &'l mut dyn FnMut(T, Cursor<PartPosition>) -> ControlFlow<()>,
}

impl<'l, T> List<'l, T> {
    fn new(
        world: &'l World,
        after: Option<Cursor<PartPosition>>,
        limit: Option<u64>,
        visit: &'l mut dyn FnMut(T, Cursor<PartPosition>) -> ControlFlow<()>,
    ) -> Self {
        let left = limit.filter(|limit| *limit > 0).map_or(usize::MAX, to_usize);
        List { world, after: after.map(|cursor| cursor.position), left, visit }
    }

    /// Whether nothing of a part is wanted: it has been given out, or the limit is reached.
    fn is_behind(&self, part: usize) -> bool {
        self.left == 0 || self.after.is_some_and(|after| (part as u64) < u64::from(after.part))
    }

    /// Hands out a part, a page at a time.
    fn part<F>(
        &mut self,
        part: usize,
        page: impl Fn(Option<Position>, usize) -> Result<Vec<F>, Error>,
        mut result: impl FnMut(F) -> Result<(Option<T>, Position), Error>,
    ) -> Result<(), Error> {
        let number = u32::try_from(part).unwrap_or(u32::MAX);
        let mut after = self.after.filter(|after| after.part == number).map(|after| after.position);
        while self.left > 0 {
            let found = page(after, self.left.min(STEP))?;
            if found.is_empty() {
                break;
            }
            for item in found {
                let (item, position) = result(item)?;
                after = Some(position);
                let Some(item) = item else { continue };
                self.left -= 1;
                let position = PartPosition { part: number, position };
                let cursor = Cursor { token: self.world.token, now: self.world.now, position };
                if (self.visit)(item, cursor).is_break() {
                    self.left = 0;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
