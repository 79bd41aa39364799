//! Text to tokens.
//!
//! Comments stay in the list, since they document definitions and the formatter keeps them. A newline becomes a token
//! only where it can end a statement. Words are not told from keywords here: which words are keywords depends on the
//! `use` lines, which the parser reads. The body of a caveat is one token, whatever CEL it holds.

use crate::error::{Place, Reports};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Word,
    Text,
    LeftBrace,
    RightBrace,
    LeftParen,
    RightParen,
    Less,
    Greater,
    Pipe,
    Plus,
    Minus,
    And,
    Slash,
    Equals,
    Colon,
    Comma,
    Hash,
    Star,
    Dot,
    Ellipsis,
    Arrow,
    /// `;`
    Semicolon,
    /// A newline that may end a statement.
    Newline,
    /// What stands between the braces of a caveat.
    CelBody,
    LineComment,
    BlockComment,
    End,
}

impl TokenKind {
    /// What people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            TokenKind::Word => "a name",
            TokenKind::Text => "a quoted path",
            TokenKind::LeftBrace => "`{`",
            TokenKind::RightBrace => "`}`",
            TokenKind::LeftParen => "`(`",
            TokenKind::RightParen => "`)`",
            TokenKind::Less => "`<`",
            TokenKind::Greater => "`>`",
            TokenKind::Pipe => "`|`",
            TokenKind::Plus => "`+`",
            TokenKind::Minus => "`-`",
            TokenKind::And => "`&`",
            TokenKind::Slash => "`/`",
            TokenKind::Equals => "`=`",
            TokenKind::Colon => "`:`",
            TokenKind::Comma => "`,`",
            TokenKind::Hash => "`#`",
            TokenKind::Star => "`*`",
            TokenKind::Dot => "`.`",
            TokenKind::Ellipsis => "`...`",
            TokenKind::Arrow => "`->`",
            TokenKind::Semicolon => "`;`",
            TokenKind::Newline => "the end of the line",
            TokenKind::CelBody => "an expression",
            TokenKind::LineComment | TokenKind::BlockComment => "a comment",
            TokenKind::End => "the end of the schema",
        }
    }

    pub(crate) fn is_comment(self) -> bool {
        matches!(self, TokenKind::LineComment | TokenKind::BlockComment)
    }

    /// Whether a newline after this token ends a statement (unless the next line goes on with an operator).
    fn ends_statement(self) -> bool {
        use TokenKind::{Ellipsis, RightBrace, RightParen, Star, Text, Word};
        matches!(self, Word | RightBrace | RightParen | Star | Ellipsis | Text)
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// The tokens of `source`, the last of which is [`TokenKind::End`]. Characters that fit nowhere are reported and left
/// out. Offsets are 32 bits: the caller bounds the length of `source`.
pub(crate) fn tokens(source: &str, file: u32, reports: &mut Reports) -> Vec<Token> {
    let mut lexer = Lexer { source, file, position: 0, tokens: Vec::new(), last: None, cel: Cel::Outside };
    if source.starts_with('\u{feff}') {
        lexer.position = '\u{feff}'.len_utf8();
    }
    while lexer.position < source.len() {
        lexer.next(reports);
    }
    lexer.push(TokenKind::End, source.len());
    lexer.tokens
}

/// Whether the next `{` opens the body of a caveat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cel {
    Outside,
    /// After the word `caveat`.
    Ahead,
}

struct Lexer<'a> {
    source: &'a str,
    file: u32,
    position: usize,
    tokens: Vec<Token>,
    /// The last token that is no comment.
    last: Option<TokenKind>,
    cel: Cel,
}

impl Lexer<'_> {
    fn next(&mut self, reports: &mut Reports) {
        let start = self.position;
        let rest = &self.source[start..];
        let Some(character) = rest.chars().next() else { return };
        match character {
            ' ' | '\t' => self.position += 1,
            '\n' | '\r' => {
                if self.last.is_some_and(TokenKind::ends_statement) {
                    self.push(TokenKind::Newline, start + 1);
                }
                self.position = start + 1;
            }
            '/' if rest.starts_with("//") => {
                let length = rest.find(['\n', '\r']).unwrap_or(rest.len());
                self.push(TokenKind::LineComment, start + length);
            }
            '/' if rest.starts_with("/*") => {
                let length = rest[2..].find("*/").map(|end| end + 4);
                if length.is_none() {
                    reports.at(self.place(start, start + 2), "this comment is never closed with `*/`".into());
                }
                self.push(TokenKind::BlockComment, start + length.unwrap_or(rest.len()));
            }
            '\'' | '"' => self.text(character, reports),
            '{' => {
                self.push(TokenKind::LeftBrace, start + 1);
                if self.cel == Cel::Ahead {
                    self.cel = Cel::Outside;
                    self.cel_body(reports);
                }
            }
            '.' if rest.starts_with("...") => self.push(TokenKind::Ellipsis, start + 3),
            '-' if rest.starts_with("->") => self.push(TokenKind::Arrow, start + 2),
            _ if is_word(character) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                match &rest[..length] {
                    "caveat" => self.cel = Cel::Ahead,
                    "definition" => self.cel = Cel::Outside,
                    _ => {}
                }
                self.push(TokenKind::Word, start + length);
            }
            _ => match punctuation(character) {
                Some(kind) => self.push(kind, start + 1),
                None => {
                    self.position += character.len_utf8();
                    let message = format!("the character `{}` has no meaning here", character.escape_debug());
                    reports.at(self.place(start, self.position), message);
                }
            },
        }
    }

    /// A quoted import path; it ends with its line at the latest.
    fn text(&mut self, quote: char, reports: &mut Reports) {
        let start = self.position;
        let rest = &self.source[start + 1..];
        let length = rest.find([quote, '\n', '\r']).unwrap_or(rest.len());
        let closed = rest[length..].starts_with(quote);
        if !closed {
            reports.at(self.place(start, start + 1), format!("this text is never closed with {quote}"));
        }
        let end = start + 1 + length + usize::from(closed);
        self.push(TokenKind::Text, end);
    }

    /// Everything up to the brace that closes the caveat.
    fn cel_body(&mut self, reports: &mut Reports) {
        let start = self.position;
        let length = cel_length(&self.source[start..]);
        if length.is_none() {
            reports.at(self.place(start - 1, start), "the caveat's `{` is never closed with `}`".into());
        }
        self.push(TokenKind::CelBody, length.map_or(self.source.len(), |length| start + length));
    }

    fn push(&mut self, kind: TokenKind, end: usize) {
        self.tokens.push(Token { kind, start: self.position as u32, end: end as u32 });
        self.position = end;
        if !kind.is_comment() {
            self.last = Some(kind);
        }
    }

    fn place(&self, start: usize, end: usize) -> Place {
        Place { file: self.file, start: start as u32, end: end as u32 }
    }
}

fn is_word(character: char) -> bool {
    character == '_' || character.is_alphanumeric()
}

fn punctuation(character: char) -> Option<TokenKind> {
    Some(match character {
        '}' => TokenKind::RightBrace,
        '(' => TokenKind::LeftParen,
        ')' => TokenKind::RightParen,
        '<' => TokenKind::Less,
        '>' => TokenKind::Greater,
        '|' => TokenKind::Pipe,
        '+' => TokenKind::Plus,
        '-' => TokenKind::Minus,
        '&' => TokenKind::And,
        '/' => TokenKind::Slash,
        '=' => TokenKind::Equals,
        ':' => TokenKind::Colon,
        ';' => TokenKind::Semicolon,
        ',' => TokenKind::Comma,
        '#' => TokenKind::Hash,
        '*' => TokenKind::Star,
        '.' => TokenKind::Dot,
        _ => return None,
    })
}

/// How many bytes of CEL come before the `}` that closes what was opened before `source`; `None` when none does. Braces
/// in strings and comments do not count.
fn cel_length(source: &str) -> Option<usize> {
    let bytes = source.as_bytes();
    let (mut position, mut open) = (0, 1_usize);
    while let Some(byte) = bytes.get(position) {
        match byte {
            b'{' => open += 1,
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(position);
                }
            }
            b'/' if bytes.get(position + 1) == Some(&b'/') => {
                position += source[position..].find('\n').unwrap_or(bytes.len() - position);
                continue;
            }
            b'"' | b'\'' => {
                position = cel_string_end(bytes, position);
                continue;
            }
            _ => {}
        }
        position += 1;
    }
    None
}

/// Where the CEL string that opens at `start` ends. One that is not closed ends with its line (with the text, if it is
/// triple-quoted), and the CEL parser will say so.
fn cel_string_end(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let triple = bytes[start..].starts_with(&[quote; 3]);
    let raw = is_raw(bytes, start);
    let mut position = start + if triple { 3 } else { 1 };
    while let Some(byte) = bytes.get(position) {
        match byte {
            b'\\' if !raw => position += 1,
            b'\n' if !triple => return position,
            _ if *byte != quote => {}
            _ if !triple => return position + 1,
            _ if bytes[position..].starts_with(&[quote; 3]) => return position + 3,
            _ => {}
        }
        position += 1;
    }
    bytes.len()
}

/// Whether the string that opens at `start` has the prefix `r`, in either case, alone or with a `b`.
fn is_raw(bytes: &[u8], start: usize) -> bool {
    let word = bytes[..start].iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let prefix = &bytes[start - word..start];
    prefix.len() <= 2
        && prefix.iter().any(|byte| byte.eq_ignore_ascii_case(&b'r'))
        && prefix.iter().all(|byte| matches!(byte.to_ascii_lowercase(), b'r' | b'b'))
}

#[cfg(test)]
mod tests;
