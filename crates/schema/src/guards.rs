//! What a schema asks of the server beyond answers: `audit(strict)` and [`enumerate_as(…)`](crate::listing) in the annotations of
//! a relation or permission, and `requires(reason, ticket)` in those of a relation.

use std::collections::BTreeSet;
use std::fmt;

use stonetown_tuple::RelationName;

use crate::annotations::{Annotation, Refused};
use crate::listing::ENUMERATE_AS;

/// One thing that an annotation of a relation or permission asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guard {
    /// Questions about it are answered only after their record is synced.
    StrictAudit,
    /// Lookups of it list whoever has this, too.
    EnumerateAs(RelationName),
    /// Changes of its relationships say why, in words.
    Reason,
    /// Changes of its relationships say where they were asked for.
    Ticket,
}

impl Guard {
    /// Those that are said with a fixed word.
    const WORDS: [Guard; 3] = [Guard::StrictAudit, Guard::Reason, Guard::Ticket];

    /// The term and its argument.
    fn words(&self) -> (&'static str, &str) {
        match self {
            Guard::StrictAudit => ("audit", "strict"),
            Guard::EnumerateAs(lister) => (ENUMERATE_AS, lister.as_str()),
            Guard::Reason => ("requires", "reason"),
            Guard::Ticket => ("requires", "ticket"),
        }
    }
}

/// As an annotation has it, such as `audit(strict)`.
impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (term, argument) = self.words();
        write!(f, "{term}({argument})")
    }
}

/// The guards that annotations name, but for a lister, and what is wrong with them.
pub(crate) fn read(annotations: &[Annotation]) -> (BTreeSet<Guard>, Vec<Refused>) {
    let (mut guards, mut refused) = (BTreeSet::new(), Vec::new());
    for Annotation { name, arguments } in annotations.iter().filter(|annotation| &*annotation.name.text != ENUMERATE_AS)
    {
        let known = Guard::WORDS.into_iter().filter(|guard| guard.words().0 == &*name.text);
        let takes = || known.clone().map(|guard| format!("`{}`", guard.words().1)).collect::<Vec<_>>().join(" and ");
        if arguments.is_empty() {
            refused.push((name.at, format!("`{}` takes {}", name.text, takes())));
        }
        for argument in arguments {
            let said = &*argument.value.text;
            match known.clone().find(|guard| guard.words().1 == said && argument.label.is_none()) {
                None => refused.push((argument.at(), format!("`{}` takes {}, not `{said}`", name.text, takes()))),
                Some(guard) if guards.contains(&guard) => {
                    refused.push((argument.at(), format!("`{guard}` is said twice")));
                }
                Some(guard) => {
                    guards.insert(guard);
                }
            }
        }
    }
    (guards, refused)
}

#[cfg(test)]
mod tests;
