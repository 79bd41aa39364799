//! Copies the members of partials into the definitions that name them.

use std::collections::HashMap;

use crate::error::Reports;
use crate::limits::{MEMBERS_MAX, NESTING_MAX, SCHEMA_BYTES_MAX};
use crate::syntax::{Block, MemberNode, Name};

/// The definitions with every splat replaced. What cannot be resolved is reported and left out.
pub(crate) fn expand(definitions: Vec<Block>, partials: &[Block], reports: &mut Reports) -> Vec<Block> {
    let mut expander = Expander {
        by_name: partials.iter().map(|partial| (&*partial.name.text, partial)).collect(),
        expanded: HashMap::new(),
        open: Vec::new(),
        copied: Size::default(),
        reports,
    };
    // Also those that no definition uses: a cycle among them is a mistake.
    for partial in partials {
        expander.expand_partial(partial);
    }
    definitions.into_iter().map(|definition| expander.expand_definition(definition)).collect()
}

struct Expander<'a, 'r> {
    by_name: HashMap<&'a str, &'a Block>,
    /// Members of the partials that are done.
    expanded: HashMap<&'a str, Vec<&'a MemberNode>>,
    /// The partials that led to the one being expanded.
    open: Vec<&'a str>,
    copied: Size,
    reports: &'r mut Reports,
}

/// How much has been copied.
#[derive(Default)]
struct Size {
    members: usize,
    bytes: usize,
}

impl<'a> Expander<'a, '_> {
    fn expand_definition(&mut self, mut definition: Block) -> Block {
        let written = std::mem::take(&mut definition.members);
        for member in written {
            let MemberNode::Splat(name) = &member else {
                definition.members.push(member);
                continue;
            };
            let Some(partial) = self.by_name.get(&*name.text).copied() else {
                self.unknown(name, &definition.name.text);
                continue;
            };
            let members = self.expanded.get(&*partial.name.text).map_or(&[][..], Vec::as_slice);
            if self.copied.exceeds(members) {
                let message = format!(
                    "partials are copied too often: at most {MEMBERS_MAX} members and {SCHEMA_BYTES_MAX} bytes in all"
                );
                self.reports.within(name.at, &definition.name.text, None, message);
                break;
            }
            definition.members.extend(members.iter().copied().cloned());
        }
        definition
    }

    /// Works out the members of a partial, once. Recursion is bounded by the length of `open`.
    fn expand_partial(&mut self, partial: &'a Block) {
        let partial_name = &*partial.name.text;
        if self.expanded.contains_key(partial_name) {
            return;
        }
        self.open.push(partial_name);
        let mut members = Vec::new();
        for member in &partial.members {
            let MemberNode::Splat(name) = member else {
                members.push(member);
                continue;
            };
            let Some(used) = self.by_name.get(&*name.text).copied() else {
                self.unknown(name, partial_name);
                continue;
            };
            if self.open.contains(&&*used.name.text) {
                let message = format!("partial `{}` includes itself: {} -> {0}", name.text, self.open.join(" -> "));
                self.reports.within(name.at, partial_name, None, message);
                continue;
            }
            if self.open.len() >= NESTING_MAX {
                let message = format!("partials are nested more than {NESTING_MAX} deep");
                self.reports.within(name.at, partial_name, None, message);
                continue;
            }
            self.expand_partial(used);
            members.extend(self.expanded.get(&*used.name.text).into_iter().flatten());
            if members.len() > MEMBERS_MAX {
                let message = format!("the partial has more than {MEMBERS_MAX} members");
                self.reports.within(name.at, partial_name, None, message);
                break;
            }
        }
        self.open.pop();
        self.expanded.insert(partial_name, members);
    }

    fn unknown(&mut self, name: &Name, definition: &str) {
        self.reports.within(name.at, definition, None, format!("there is no partial `{}`", name.text));
    }
}

impl Size {
    /// Adds `members` and says whether that is too much.
    fn exceeds(&mut self, members: &[&MemberNode]) -> bool {
        if !self.is_exceeded() {
            self.members += members.len();
            self.bytes = members.iter().fold(self.bytes, |bytes, member| bytes.saturating_add(member.size()));
        }
        self.is_exceeded()
    }

    fn is_exceeded(&self) -> bool {
        self.members > MEMBERS_MAX || self.bytes > SCHEMA_BYTES_MAX
    }
}

impl MemberNode {
    /// About how many bytes of text it takes.
    fn size(&self) -> usize {
        match self {
            MemberNode::Relation(relation) => {
                let types = relation.types.iter().map(|allowed| (allowed.at.end - allowed.at.start) as usize);
                relation.doc.len() + relation.name.text.len() + types.sum::<usize>()
            }
            MemberNode::Permission(permission) => {
                let at = permission.expression.at;
                permission.doc.len() + permission.name.text.len() + (at.end - at.start) as usize
            }
            MemberNode::Splat(name) => name.text.len(),
        }
    }
}

#[cfg(test)]
mod tests;
