//! What lists a permission: `enumerate_as(…)` above a definition, relation or permission.
//!
//! Who has `view` on a record that it names may still not be one to whom records are listed. Where `view` names `list`, all
//! that a lookup of `view` finds has both.

use std::collections::HashMap;

use stonetown_tuple::RelationName;

use crate::annotations::{Annotation, Refused};
use crate::error::Reports;
use crate::guards::Guard;
use crate::schema::{Definition, Member};
use crate::syntax::{Block, MemberNode, Name};

/// The term of the annotation.
pub(crate) const ENUMERATE_AS: &str = "enumerate_as";

impl Definition {
    /// The relation or permission that subjects must have, too, for a lookup of `member` to list them; `None` where having
    /// `member` is enough.
    #[must_use]
    pub fn lister(&self, member: &str) -> Option<&RelationName> {
        lister(self.member(member)?)
    }

    /// Whether its objects are not for everybody to see who may ask about them: something of it names its lister.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.members().any(|member| lister(member).is_some())
    }

    /// Whether a lookup of `member` lists no more than the schema means to be listed: it names its lister, or is one. True of
    /// everything where the definition is not guarded.
    #[must_use]
    pub fn is_listable(&self, member: &str) -> bool {
        let lists = |other| lister(other).is_some_and(|lister| lister.as_str() == member);
        !self.is_guarded() || self.lister(member).is_some() || self.members().any(lists)
    }
}

fn lister(member: Member<'_>) -> Option<&RelationName> {
    member.guards().iter().find_map(|guard| match guard {
        Guard::EnumerateAs(lister) => Some(lister),
        Guard::StrictAudit | Guard::Reason | Guard::Ticket => None,
    })
}

/// What the annotations above a declaration name as its lister.
pub(crate) fn read(annotations: &[Annotation], refused: &mut Vec<Refused>) -> Option<Name> {
    let mut found: Option<Name> = None;
    for annotation in annotations.iter().filter(|annotation| &*annotation.name.text == ENUMERATE_AS) {
        let at = annotation.name.at;
        match &annotation.arguments[..] {
            _ if found.is_some() => refused.push((at, format!("`{ENUMERATE_AS}` is said twice"))),
            [one] if one.label.is_none() && !one.value.text.contains('.') => found = Some(one.value.clone()),
            _ => {
                let message =
                    format!("`{ENUMERATE_AS}` takes one relation or permission, as in `{ENUMERATE_AS}(list)`");
                refused.push((at, message));
            }
        }
    }
    found
}

/// How many members of a definition are listed as another, at most.
pub(crate) fn count(block: &Block) -> usize {
    let names = |member: &MemberNode| member.named().is_some_and(|(_, lister)| lister.is_some());
    block.members.iter().filter(|member| block.lister.is_some() || names(member)).count()
}

/// Reports listers that the definition lacks, and those that are not the end of the matter.
pub(crate) fn check(block: &Block, reports: &mut Reports) {
    let default = block.lister.as_ref();
    let members = block.members.iter().filter_map(MemberNode::named);
    let members: HashMap<&str, Option<&Name>> = members.map(|(name, lister)| (&*name.text, lister)).collect();
    let lister = |member: &str| {
        let own = members.get(member).copied().flatten();
        own.or(default.filter(|default| &*default.text != member))
    };
    let definition = &*block.name.text;
    let declared = members.iter().filter_map(|(member, named)| Some((Some(*member), (*named)?)));
    for (member, named) in declared.chain(default.map(|default| (None, default))) {
        let name = &*named.text;
        let message = if !members.contains_key(name) {
            format!("definition `{definition}` has no relation or permission `{name}`")
        } else if member == Some(name) {
            format!("`{name}` cannot be what lists it")
        } else if let Some(other) = lister(name) {
            format!("`{name}` is listed as `{0}` itself: name `{0}`", other.text)
        } else {
            continue;
        };
        reports.within(named.at, definition, member, message);
    }
}

#[cfg(test)]
mod tests;
