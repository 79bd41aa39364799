//! Nobody locks everybody out: a change after which no principal could administer the server is refused.

use std::collections::{BTreeSet, HashSet};

use serde::Deserialize;
use stonetown_authorizer::{Error, StoredUpdate};
use stonetown_tuple::{ObjectRef, Operation, Relationship, RelationshipFilter, SubjectId, SubjectRef};

use crate::system::{System, parsed};

/// Groups that are looked into to find one who administers.
const GROUPS_MAX: usize = 10_000;
/// Relations that decide who administers.
const DECISIVE: [(&str, &str); 4] = [
    ("sys/root", "operator"),
    ("sys/group", "member"),
    ("sys/principal", "quarantined"),
    ("sys/principal", "document"),
];

/// Refuses updates that would leave nobody able to administer. Where nobody is yet, there is nobody to lock out.
pub(crate) fn refuse(system: &System, updates: &[StoredUpdate]) -> Result<(), Error> {
    let is_decisive = |update: &&StoredUpdate| {
        let relationship = &update.relationship;
        DECISIVE.contains(&(relationship.resource.object_type.as_str(), relationship.relation.as_str()))
    };
    if !updates.iter().any(|update| is_decisive(&update)) {
        return Ok(());
    }
    let is_left = View { system, updates }.anybody_administers()?;
    if is_left || !(View { system, updates: &[] }).anybody_administers()? {
        return Ok(());
    }
    Err(Error::Refused(
        "nobody would be left who can administer the server: give that power to another first".to_owned(),
    ))
}

/// The system store as it would be after some updates.
struct View<'a> {
    system: &'a System,
    updates: &'a [StoredUpdate],
}

/// What a principal's document says of its state.
#[derive(Deserialize)]
struct State {
    #[serde(default)]
    retired: bool,
}

impl View<'_> {
    fn anybody_administers(&self) -> Result<bool, Error> {
        let mut open: Vec<(ObjectRef, &str)> = vec![(parsed("sys/root:self")?, "operator")];
        let mut seen = HashSet::new();
        while let Some((object, relation)) = open.pop() {
            for subject in self.subjects(&object, relation)? {
                let SubjectId::Object(id) = subject.object_id() else { continue };
                let member = ObjectRef { object_type: subject.object_type().clone(), object_id: id.clone() };
                match subject.relation() {
                    None if self.is_active(&member)? => return Ok(true),
                    Some(_) if seen.len() < GROUPS_MAX && seen.insert(member.clone()) => open.push((member, "member")),
                    _ => {}
                }
            }
        }
        Ok(false)
    }

    fn is_active(&self, principal: &ObjectRef) -> Result<bool, Error> {
        let quarantined = !self.subjects(principal, "quarantined")?.is_empty();
        let document = self.relationships(principal, "document")?.into_iter().next();
        let state = document.map(|document| System::of_relationship::<State>(&document)).transpose()?;
        Ok(!quarantined && state.is_some_and(|state| !state.retired))
    }

    fn subjects(&self, object: &ObjectRef, relation: &str) -> Result<BTreeSet<SubjectRef>, Error> {
        Ok(self.relationships(object, relation)?.into_iter().map(|relationship| relationship.subject).collect())
    }

    /// The relationships of an object's relation after the updates.
    fn relationships(&self, object: &ObjectRef, relation: &str) -> Result<Vec<Relationship>, Error> {
        let filter = RelationshipFilter {
            resource_type: Some(object.object_type.clone()),
            resource_id: Some(object.object_id.clone()),
            relation: Some(parsed(relation)?),
            ..RelationshipFilter::default()
        };
        let mut found = Vec::new();
        self.system.read(&filter, &mut |relationship| found.push(relationship.clone()))?;
        for update in self.updates.iter().filter(|update| filter.matches(&update.relationship)) {
            found.retain(|relationship| !relationship.same_key(&update.relationship));
            if update.operation != Operation::Delete {
                found.push(update.relationship.clone());
            }
        }
        Ok(found)
    }
}

/// Whether there is somebody who can administer the server.
pub(crate) fn anybody_administers(system: &System) -> Result<bool, Error> {
    View { system, updates: &[] }.anybody_administers()
}
