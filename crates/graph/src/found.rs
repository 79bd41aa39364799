//! What a lookup has found: whole sets, to be read a page at a time in an order that is the same each time.

use std::sync::Arc;

use roaring::RoaringBitmap;
use stonetown_storage::{Ordinal, TypeId};
use stonetown_tuple::Timestamp;

use crate::error::GraphError;
use crate::evaluation::{Evaluation, Work};
use crate::fault::{PlantedFault, planted};
use crate::membership::Membership;
use crate::plan::{Plan, TypeIndex};
use crate::relations::{Relations, is_local};

/// Where a page ended. Good for the same lookup at the same revision, with the same context, moment and request-scoped
/// relationships.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(u64);

/// The resources on which a subject has a permission, or may have it.
#[derive(Debug)]
pub struct FoundResources {
    pub(crate) listing: Listing,
    pub(crate) work: Work,
    pub(crate) changes_at: Option<Timestamp>,
}

/// One of [`FoundResources`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundResource {
    /// Its id.
    pub id: Arc<str>,
    /// [`Membership::Member`] or [`Membership::Conditional`].
    pub membership: Membership,
    /// A page after this one goes on behind it.
    pub position: Position,
}

/// The subjects that have a permission on a resource, or may have it.
#[derive(Debug)]
pub struct FoundSubjects {
    pub(crate) wildcard: Option<Wildcard>,
    pub(crate) listing: Listing,
    pub(crate) work: Work,
    pub(crate) changes_at: Option<Timestamp>,
}

/// One of [`FoundSubjects`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundSubject {
    /// Its id, `*` for the wildcard.
    pub id: Arc<str>,
    /// [`Membership::Member`] or [`Membership::Conditional`].
    pub membership: Membership,
    /// Whom the wildcard does not cover, or not to the same extent.
    pub excluded: Vec<ExcludedSubject>,
    /// A page after this one goes on behind it.
    pub position: Position,
}

/// A subject that a wildcard does not cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExcludedSubject {
    /// Its id.
    pub id: Arc<str>,
    /// What it is instead: [`Membership::NotMember`], or [`Membership::Conditional`] if it is a member on this condition.
    pub membership: Membership,
}

/// `*` among the subjects.
#[derive(Debug)]
pub(crate) struct Wildcard {
    pub(crate) membership: Membership,
    pub(crate) excluded: Listing,
}

/// Objects of one type, each with a membership: first the stored ones by ordinal, then those that only the question
/// mentions, by name.
#[derive(Debug)]
pub(crate) struct Listing {
    object_type: Option<TypeId>,
    stored: RoaringBitmap,
    parts: Vec<(Membership, RoaringBitmap)>,
    local: Vec<(Arc<str>, Membership)>,
}

/// Puts an object where its membership belongs.
pub(crate) fn insert(parts: &mut Vec<(Membership, RoaringBitmap)>, membership: Membership, object: u32) {
    match parts.iter_mut().find(|(known, _)| *known == membership) {
        Some((_, objects)) => {
            objects.insert(object);
        }
        None => parts.push((membership, RoaringBitmap::from_iter([object]))),
    }
}

impl Position {
    /// Before everything but the wildcard.
    const WILDCARD: Position = Position(0);
    /// Before everything that is not stored.
    const LOCAL: Position = Position(1 << 32);

    /// The position as a number, to be kept in a cursor.
    #[must_use]
    pub fn to_u64(self) -> u64 {
        self.0
    }

    /// A position from its number. Any number is a position.
    #[must_use]
    pub fn from_u64(number: u64) -> Position {
        Position(number)
    }
}

impl FoundResources {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.listing.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it took to find them.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work
    }

    /// The first moment at which something that any of them rests on begins or ends: until then, and for ever where there is none,
    /// the same lookup finds the same if nothing is written.
    #[must_use]
    pub fn changes_at(&self) -> Option<Timestamp> {
        self.changes_at
    }

    /// The next `limit` behind `after`, fewer only at the end. `evaluation` is the one that they were found with.
    ///
    /// # Errors
    /// When storage fails.
    pub fn page(
        &self,
        evaluation: &Evaluation<'_>,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<FoundResource>, GraphError> {
        let entries = self.listing.page(evaluation, after, limit)?;
        let found = |(id, membership, position)| FoundResource { id, membership, position };
        Ok(entries.into_iter().map(found).collect())
    }
}

impl FoundSubjects {
    /// How many there are, the wildcard being one.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.listing.len() + u64::from(self.wildcard.is_some())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it took to find them.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work
    }

    /// The first moment at which something that any of them rests on begins or ends: until then, and for ever where there is none,
    /// the same lookup finds the same if nothing is written.
    #[must_use]
    pub fn changes_at(&self) -> Option<Timestamp> {
        self.changes_at
    }

    /// The next `limit` behind `after`, fewer only at the end; the wildcard comes first. `evaluation` is the one that they
    /// were found with.
    ///
    /// # Errors
    /// When storage fails.
    pub fn page(
        &self,
        evaluation: &Evaluation<'_>,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<FoundSubject>, GraphError> {
        let mut found = Vec::new();
        if let (Some(wildcard), None, 1..) = (&self.wildcard, after, limit) {
            let excluded = wildcard.excluded.page(evaluation, None, usize::MAX)?;
            let excluded = excluded.into_iter().map(|(id, membership, _)| ExcludedSubject { id, membership });
            found.push(FoundSubject {
                id: "*".into(),
                membership: wildcard.membership.clone(),
                excluded: excluded.filter(|_| !planted(PlantedFault::WildcardExclusionsLost)).collect(),
                position: Position::WILDCARD,
            });
        }
        let entries = self.listing.page(evaluation, after, limit - found.len())?;
        let subject = |(id, membership, position)| FoundSubject { id, membership, excluded: Vec::new(), position };
        found.extend(entries.into_iter().map(subject));
        Ok(found)
    }
}

impl Listing {
    /// Lists disjoint sets of objects.
    pub(crate) fn new(
        plan: &Plan,
        relations: &Relations<'_>,
        object_type: TypeIndex,
        mut parts: Vec<(Membership, RoaringBitmap)>,
    ) -> Result<Listing, GraphError> {
        let mut local = Vec::new();
        for (membership, objects) in &mut parts {
            while let Some(last) = objects.max().map(Ordinal).filter(|last| is_local(*last)) {
                local.push((relations.object_id(object_type, last)?, membership.clone()));
                objects.remove(last.0);
            }
        }
        local.sort_by(|a, b| a.0.cmp(&b.0));
        let stored = match parts.as_slice() {
            [(_, only)] => only.clone(),
            parts => roaring::MultiOps::union(parts.iter().map(|(_, objects)| objects)),
        };
        Ok(Listing { object_type: plan.object_type(object_type).id, stored, parts, local })
    }

    fn len(&self) -> u64 {
        self.stored.len() + self.local.len() as u64
    }

    fn page(
        &self,
        evaluation: &Evaluation<'_>,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Arc<str>, Membership, Position)>, GraphError> {
        let mut page = Vec::new();
        let step = match after {
            _ if planted(PlantedFault::PageSkipsOne) => 2,
            _ if planted(PlantedFault::PageRepeatsOne) => 0,
            _ => 1,
        };
        let first = after.map_or(0, |position| position.0.saturating_add(step));
        if let (Some(object_type), Ok(first)) = (self.object_type, u32::try_from(first)) {
            for ordinal in self.stored.range(first..).take(limit) {
                let id = evaluation.snapshot.object_id(object_type, Ordinal(ordinal))?;
                page.push((id, self.membership(ordinal), Position(u64::from(ordinal))));
            }
        }
        let passed = usize::try_from(first.saturating_sub(Position::LOCAL.0)).unwrap_or(usize::MAX);
        for (index, (id, membership)) in self.local.iter().enumerate().skip(passed).take(limit - page.len()) {
            page.push((Arc::clone(id), membership.clone(), Position(Position::LOCAL.0 + index as u64)));
        }
        Ok(page)
    }

    fn membership(&self, ordinal: u32) -> Membership {
        let part = self.parts.iter().find(|(_, objects)| objects.contains(ordinal));
        part.map_or(Membership::NotMember, |(membership, _)| membership.clone())
    }
}
