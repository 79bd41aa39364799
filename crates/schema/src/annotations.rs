//! What schemas say to Stonetown beyond the language: words after `@stonetown` in the comments before a declaration.
//!
//! To every other reader of a schema they are comments. `@stonetown` begins an annotation, which ends with its line:
//!
//! ```text
//! annotation := "@stonetown" term { term }
//! term       := name [ "(" argument { "," argument } ")" ]
//! argument   := [ name ":" ] name { "." name }
//! ```
//!
//! A name has letters, digits and `_`. What does not fit is an error of the schema, and so is an annotation that stands
//! where it says nothing, since what its author believed to be guarded would not be. Any other `@word` is somebody's comment.

use crate::error::Place;
use crate::listing::ENUMERATE_AS;
use crate::syntax::Name;

/// How an annotation begins.
const MARK: &str = "@stonetown";

/// What an annotation can stand above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Declaration {
    Definition,
    Partial,
    Relation,
    Permission,
    Splat,
    Caveat,
}

/// One term of an annotation.
#[derive(Debug, Clone)]
pub(crate) struct Annotation {
    pub(crate) name: Name,
    pub(crate) arguments: Vec<Argument>,
}

#[derive(Debug, Clone)]
pub(crate) struct Argument {
    /// What stands before the colon.
    pub(crate) label: Option<Name>,
    /// A path such as `resource.env`.
    pub(crate) value: Name,
}

impl Argument {
    /// The label, or else the last name of the value.
    pub(crate) fn name(&self) -> &str {
        let value = || self.value.text.rsplit('.').next().unwrap_or_default();
        self.label.as_ref().map_or_else(value, |label| &*label.text)
    }

    /// All of it.
    pub(crate) fn at(&self) -> Place {
        self.label.as_ref().map_or(self.value.at, |label| label.at.to(self.value.at))
    }
}

impl Declaration {
    /// What it is called, and the terms that mean something above it.
    fn terms(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Declaration::Definition => ("a definition", &[ENUMERATE_AS]),
            Declaration::Partial => ("a partial", &[]),
            Declaration::Relation => ("a relation", &["audit", ENUMERATE_AS, "requires"]),
            Declaration::Permission => ("a permission", &["audit", ENUMERATE_AS]),
            Declaration::Splat => ("`...`", &[]),
            Declaration::Caveat => ("a caveat", &["server", "stored", "trusted"]),
        }
    }
}

/// An annotation that cannot be read: where, and what is wrong.
pub(crate) type Refused = (Place, String);

/// The place of the first annotation in a comment.
pub(crate) fn find(comment: &str, at: Place) -> Option<Place> {
    let start = marks(comment).next()?;
    Some(Place { start: at.start + start as u32, end: at.start + (start + MARK.len()) as u32, ..at })
}

/// The terms of all annotations in a comment, which stands at `at` above a declaration.
pub(crate) fn read(comment: &str, at: Place, above: Declaration) -> Result<Vec<Annotation>, Refused> {
    let mut terms = Vec::new();
    for mark in marks(comment) {
        let start = mark + MARK.len();
        let line = comment[start..].find(['\n', '\r']).map_or(comment.len(), |length| start + length);
        let end = comment[start..line].find("*/").map_or(line, |length| start + length);
        let mut reader = Reader { text: &comment[..end], position: start, at };
        reader.space();
        loop {
            let term = reader.term()?;
            let (place, known) = above.terms();
            if !known.contains(&&*term.name.text) {
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let message = format!("unknown annotation `{}`; above {place} there are: {known}", term.name.text);
                return Err((term.name.at, message));
            }
            terms.push(term);
            if reader.rest().is_empty() {
                break;
            }
        }
    }
    Ok(terms)
}

/// Where annotations begin: at the mark as a word of its own.
fn marks(comment: &str) -> impl Iterator<Item = usize> + '_ {
    comment.match_indices(MARK).map(|(start, _)| start).filter(|start| {
        let before = comment[..*start].chars().next_back();
        let after = comment[start + MARK.len()..].chars().next();
        before.is_none_or(|c| c.is_whitespace() || matches!(c, '*' | '/'))
            && after.is_none_or(|c| !is_word(c) && !matches!(c, '-' | '/' | '.'))
    })
}

struct Reader<'a> {
    /// The comment up to the end of the annotation.
    text: &'a str,
    position: usize,
    /// Of the comment.
    at: Place,
}

impl Reader<'_> {
    fn term(&mut self) -> Result<Annotation, Refused> {
        let name = self.name("the name of an annotation")?;
        let mut arguments = Vec::new();
        if self.take('(') {
            loop {
                arguments.push(self.argument()?);
                if !self.take(',') {
                    break;
                }
            }
            if !self.take(')') {
                return Err(self.expected("`,` or `)`"));
            }
        }
        Ok(Annotation { name, arguments })
    }

    fn argument(&mut self) -> Result<Argument, Refused> {
        let first = self.name("an argument")?;
        if self.take(':') {
            let value = self.name("an argument")?;
            return Ok(Argument { label: Some(first), value: self.path(value)? });
        }
        Ok(Argument { label: None, value: self.path(first)? })
    }

    fn path(&mut self, first: Name) -> Result<Name, Refused> {
        let (mut text, mut at) = (String::from(first.text), first.at);
        while self.take('.') {
            let next = self.name("a name")?;
            text.push('.');
            text.push_str(&next.text);
            at = at.to(next.at);
        }
        Ok(Name { text: text.into(), at })
    }

    fn name(&mut self, what: &str) -> Result<Name, Refused> {
        let rest = self.rest();
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if length == 0 {
            return Err(self.expected(what));
        }
        let name = Name { text: rest[..length].into(), at: self.place(length) };
        self.position += length;
        self.space();
        Ok(name)
    }

    fn take(&mut self, punctuation: char) -> bool {
        let found = self.rest().starts_with(punctuation);
        if found {
            self.position += punctuation.len_utf8();
            self.space();
        }
        found
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.position += rest.len() - rest.trim_start().len();
    }

    fn rest(&self) -> &str {
        &self.text[self.position..]
    }

    fn expected(&self, what: &str) -> Refused {
        let found = self.rest().chars().next();
        let length = found.map_or(0, char::len_utf8);
        let found = found.map_or_else(|| "the end of the annotation".to_owned(), |c| format!("`{c}`"));
        (self.place(length), format!("expected {what} after `{MARK}`, found {found}"))
    }

    fn place(&self, length: usize) -> Place {
        let start = self.at.start + self.position as u32;
        Place { start, end: start + length as u32, ..self.at }
    }
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_ascii_alphanumeric()
}

#[cfg(test)]
mod tests;
