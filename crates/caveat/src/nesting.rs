//! Bounds the nesting of an expression before the recursive parser sees it.
//!
//! The scan knows brackets, strings, comments and operators, and computes an upper bound of the height of the syntax
//! tree: a bracket is a level, and so is each link of a chain, since `a.b.c` and `1 + 2 + 3` lean to the left. The
//! terms of `&&` and `||` are balanced by the parser, so that many of them add little.

use crate::compile::CompileError;
use crate::limits::NESTING_MAX;

/// Refuses `expression` where its tree could be higher than [`NESTING_MAX`].
pub(crate) fn check(expression: &str) -> Result<(), CompileError> {
    let bytes = expression.as_bytes();
    let mut levels = vec![Level::default()];
    let mut enclosing_height = 0;
    let mut at = 0;
    while at < bytes.len() {
        let next = token_end(bytes, at)?;
        let is_inner = levels.len() > 1;
        let Some(level) = levels.last_mut() else { break };
        match &bytes[at..next] {
            b"(" | b"[" | b"{" => {
                level.links += 1;
                enclosing_height += level.open_height();
                levels.push(Level::default());
            }
            b")" | b"]" | b"}" if is_inner => {
                let closed = levels.pop().unwrap_or_default().height() + 1;
                if let Some(level) = levels.last_mut() {
                    enclosing_height -= level.open_height();
                    level.links = level.links.max(closed);
                }
            }
            b"&&" | b"||" => level.end_term(),
            b"," => level.end_element(),
            b"?" => {
                level.end_term();
                level.conditionals += 1;
            }
            b":" => level.end_term(),
            b"in" | b"." | b"+" | b"-" | b"*" | b"/" | b"%" | b"!" | b"<" | b">" | b"=" => level.links += 1,
            _ => {}
        }
        if levels.last().is_some_and(|level| enclosing_height + level.height() > NESTING_MAX) {
            return Err(CompileError::new(at, format!("the expression is nested more than {NESTING_MAX} deep")));
        }
        at = next;
    }
    Ok(())
}

/// What lies between a pair of brackets.
#[derive(Default)]
struct Level {
    /// The links of the current chain: its height so far.
    links: usize,
    /// The highest chain of the terms before the current one.
    term_height: usize,
    /// How many terms are combined with `&&` and `||`.
    terms: u32,
    /// How many `?` may be nested in one another.
    conditionals: usize,
    /// The highest of the elements before the current one.
    element_height: usize,
}

impl Level {
    fn end_term(&mut self) {
        self.term_height = self.term_height.max(self.links);
        self.links = 0;
        self.terms += 1;
    }

    fn end_element(&mut self) {
        *self = Level { element_height: self.height(), ..Level::default() };
    }

    /// At most so many levels are above what is opened here.
    fn open_height(&self) -> usize {
        self.links + self.conditionals + 2 * self.terms.checked_ilog2().map_or(0, |log| log as usize + 1)
    }

    fn height(&self) -> usize {
        let element = self.term_height.max(self.links) + self.open_height() - self.links;
        self.element_height.max(element)
    }
}

/// Where the token that starts at `start` ends. Strings and comments are tokens, `==` is two.
///
/// What the lexer of the parser would skip and go on after (an unclosed string, a wrong escape) is refused here, so that
/// both always agree on what is inside a string.
fn token_end(bytes: &[u8], start: usize) -> Result<usize, CompileError> {
    let rest = &bytes[start..];
    let first = rest[0];
    match first {
        b'"' | b'\'' => string_end(bytes, start, false),
        b'`' => {
            let is_plain = |b: &&u8| b.is_ascii_alphanumeric() || b"_.-/ ".contains(b);
            let end = start + 1 + rest[1..].iter().take_while(is_plain).count();
            if bytes.get(end) == Some(&b'`') {
                Ok(end + 1)
            } else {
                Err(CompileError::new(
                    start,
                    "the name is not closed, or has a character that cannot be quoted with backticks",
                ))
            }
        }
        b'/' if rest.starts_with(b"//") => {
            Ok(rest.iter().position(|b| *b == b'\n').map_or(bytes.len(), |length| start + length))
        }
        b'&' | b'|' if rest.get(1) == Some(&first) => Ok(start + 2),
        b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
            let is_word = |b: &&u8| b.is_ascii_alphanumeric() || **b == b'_';
            let end = start + rest.iter().take_while(is_word).count();
            if !matches!(bytes.get(end), Some(b'"' | b'\'')) {
                return Ok(end);
            }
            match bytes[start..end].to_ascii_lowercase().as_slice() {
                b"b" => string_end(bytes, end, false),
                b"r" | b"br" => string_end(bytes, end, true),
                _ => Err(CompileError::new(end, "a string cannot follow here")),
            }
        }
        _ => Ok(start + 1),
    }
}

/// Where the string whose quotes start at `start` ends.
fn string_end(bytes: &[u8], start: usize, is_raw: bool) -> Result<usize, CompileError> {
    let quote = bytes[start];
    let triple = [quote; 3];
    let is_triple = bytes[start..].starts_with(&triple);
    let mut at = start + if is_triple { 3 } else { 1 };
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if !is_raw => at += escape_length(&bytes[at..]).ok_or_else(|| wrong_escape(at))?,
            b'\n' | b'\r' if !is_triple => break,
            _ if is_triple && bytes[at..].starts_with(&triple) => return Ok(at + 3),
            _ if !is_triple && byte == quote => return Ok(at + 1),
            _ => at += 1,
        }
    }
    Err(CompileError::new(start, "the string is not closed"))
}

fn wrong_escape(at: usize) -> CompileError {
    CompileError::new(at, "unknown escape in a string: write `\\\\` for a backslash, or `r` before the quotes")
}

fn escape_length(escape: &[u8]) -> Option<usize> {
    let digits = |from: usize, count: usize, is_digit: fn(&u8) -> bool| {
        let found = escape.get(from..from + count)?;
        found.iter().all(is_digit).then_some(from + count)
    };
    match escape.get(1)? {
        b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`' => Some(2),
        b'x' | b'X' => digits(2, 2, u8::is_ascii_hexdigit),
        b'u' => digits(2, 4, u8::is_ascii_hexdigit),
        b'U' => digits(2, 8, u8::is_ascii_hexdigit),
        b'0'..=b'3' => digits(1, 3, |b| (b'0'..=b'7').contains(b)),
        _ => None,
    }
}
