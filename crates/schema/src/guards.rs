//! What a schema asks of the server beyond answers: `audit(strict)` in the annotations of a relation or permission.

use std::collections::BTreeSet;
use std::fmt;

use crate::annotations::{Annotation, Refused};

/// One thing that an annotation of a relation or permission asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guard {
    /// Questions about it are answered only after their record is synced.
    StrictAudit,
}

impl Guard {
    const ALL: [Guard; 1] = [Guard::StrictAudit];

    /// The term and its argument.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Guard::StrictAudit => ("audit", "strict"),
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

/// The guards that annotations name, and what is wrong with them.
pub(crate) fn read(annotations: &[Annotation]) -> (BTreeSet<Guard>, Vec<Refused>) {
    let (mut guards, mut refused) = (BTreeSet::new(), Vec::new());
    for Annotation { name, arguments } in annotations {
        let known = Guard::ALL.into_iter().filter(|guard| guard.words().0 == &*name.text);
        let takes = || known.clone().map(|guard| format!("`{}`", guard.words().1)).collect::<Vec<_>>().join(" and ");
        if arguments.is_empty() {
            refused.push((name.at, format!("`{}` takes {}", name.text, takes())));
        }
        for argument in arguments {
            let said = &*argument.value.text;
            match known.clone().find(|guard| guard.words().1 == said && argument.label.is_none()) {
                None => refused.push((argument.at(), format!("`{}` takes {}, not `{said}`", name.text, takes()))),
                Some(guard) if guards.insert(guard) => {}
                Some(guard) => refused.push((argument.at(), format!("`{guard}` is said twice"))),
            }
        }
    }
    (guards, refused)
}

#[cfg(test)]
mod tests;
