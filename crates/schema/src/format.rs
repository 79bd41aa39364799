//! Lays schema text out.
//!
//! The formatter moves white space only: the tokens stay the same, in the same order, with every comment, so that it
//! cannot change a decision. Lines that were broken inside a statement stay broken.

use std::collections::HashMap;

use crate::error::{Place, Reports, SchemaError, SchemaErrorKind, SourceFile};
use crate::lexer::{self, Token, TokenKind};
use crate::limits::SCHEMA_BYTES_MAX;
use crate::parser;

/// `source` in the usual layout: a tab per level, one statement per line, one space around operators, an empty line
/// between definitions. Order, `use` and `import` lines, partials, comments and caveat expressions stay as they are.
/// Formatting twice gives what formatting once gives.
///
/// # Errors
/// When the text cannot be read. Names, imports and types are not checked.
pub fn format(source: &str) -> Result<String, Vec<SchemaError>> {
    let mut reports = Reports::default();
    if source.len() > SCHEMA_BYTES_MAX {
        let files = [SourceFile { path: None, text: String::new() }];
        reports.at(Place { file: 0, start: 0, end: 0 }, format!("the schema has more than {SCHEMA_BYTES_MAX} bytes"));
        return Err(reports.into_errors(SchemaErrorKind::Parse, &files));
    }
    let file = parser::parse(source, 0, &mut reports);
    if !reports.is_empty() {
        let files = [SourceFile { path: None, text: source.to_owned() }];
        return Err(reports.into_errors(SchemaErrorKind::Parse, &files));
    }
    let tokens = lexer::tokens(source, 0, &mut reports);
    let statements: HashMap<u32, u32> = file.statements.iter().map(|at| (at.start, at.end)).collect();
    let documents = documents(&tokens, &statements);
    let mut formatter = Formatter {
        source,
        statements,
        out: String::with_capacity(source.len()),
        statement_end: 0,
        in_block: false,
        previous: None,
        blank_due: false,
    };
    for (token, documents) in tokens.into_iter().zip(documents) {
        match token.kind {
            TokenKind::Newline | TokenKind::Semicolon | TokenKind::End => continue,
            TokenKind::LineComment | TokenKind::BlockComment => formatter.comment(token, documents),
            TokenKind::CelBody => formatter.cel_body(token),
            TokenKind::RightBrace => formatter.close_block(),
            _ => formatter.word(token),
        }
        formatter.previous = Some(token);
    }
    Ok(formatter.finish())
}

/// For each token, whether it is a comment that documents the statement after it, rather than standing inside a
/// statement or between it and its end.
fn documents(tokens: &[Token], statements: &HashMap<u32, u32>) -> Vec<bool> {
    let mut documents = vec![false; tokens.len()];
    // Forwards: whatever comes after the end of a statement.
    let mut has_ended = false;
    for (token, documents) in tokens.iter().zip(&mut documents) {
        match token.kind {
            TokenKind::LineComment | TokenKind::BlockComment => *documents = has_ended,
            TokenKind::Newline | TokenKind::Semicolon => has_ended = true,
            _ => has_ended = false,
        }
    }
    // Backwards: what comes before a statement, if nothing ended the one before.
    let mut is_next_a_start = false;
    for (token, documents) in tokens.iter().zip(&mut documents).rev() {
        match token.kind {
            TokenKind::LineComment | TokenKind::BlockComment => *documents |= is_next_a_start,
            _ => is_next_a_start = statements.contains_key(&token.start),
        }
    }
    documents
}

struct Formatter<'a> {
    source: &'a str,
    /// The end of each statement, by its start.
    statements: HashMap<u32, u32>,
    out: String,
    /// The end of the statement that the current token is in, or of the last one.
    statement_end: u32,
    in_block: bool,
    /// The last token that was written.
    previous: Option<Token>,
    /// A definition has ended: an empty line comes before whatever follows.
    blank_due: bool,
}

impl<'a> Formatter<'a> {
    fn word(&mut self, token: Token) {
        if let Some(end) = self.statements.get(&token.start).copied() {
            self.break_line(token, false);
            self.statement_end = end;
        } else if self.must_break(token) && token.kind == TokenKind::RightParen {
            // It stands below the start of its statement.
            self.out.push('\n');
            self.out.push_str(self.indent(false));
        } else if self.must_break(token) {
            self.break_line(token, true);
        } else if self.needs_space(token) {
            self.out.push(' ');
        }
        self.out.push_str(self.text(token));
        if token.kind == TokenKind::LeftBrace {
            self.in_block = true;
        }
    }

    /// A comment stays in its line, unless that would part it from what it documents.
    fn comment(&mut self, token: Token, documents: bool) {
        let inside = token.start < self.statement_end;
        let after = self.previous.map(|previous| previous.kind);
        let stays = match after {
            None | Some(TokenKind::LineComment) => false,
            Some(TokenKind::LeftBrace | TokenKind::BlockComment) => true,
            Some(_) => !documents,
        };
        if stays && self.lines_before(token) == 0 {
            self.out.push(' ');
        } else {
            self.break_line(token, inside);
        }
        let text = self.text(token).trim_end();
        let aligned = text.lines().skip(1).all(|line| line.trim_start().starts_with('*'));
        if !aligned {
            // The author's own layout, such as a drawing.
            self.out.push_str(text);
            return;
        }
        let indent = self.indent(inside);
        for (number, line) in text.lines().enumerate() {
            if number > 0 {
                self.out.push('\n');
                self.out.push_str(indent);
                self.out.push(' ');
            }
            self.out.push_str(line.trim());
        }
    }

    /// A caveat's expression stays as it is, on lines of its own.
    fn cel_body(&mut self, token: Token) {
        let expression = self.text(token).trim();
        if !expression.is_empty() {
            self.out.push_str("\n\t");
            self.out.push_str(expression);
        }
    }

    fn close_block(&mut self) {
        self.in_block = false;
        if self.previous.is_none_or(|previous| previous.kind != TokenKind::LeftBrace) {
            self.out.push('\n');
        }
        self.out.push('}');
        self.blank_due = true;
    }

    /// Inside a statement lines stay broken next to an operator, and must break after a comment that ends its line.
    fn must_break(&self, token: Token) -> bool {
        let Some(previous) = self.previous else { return false };
        self.ends_with_line_comment()
            || (self.lines_before(token) > 0
                && token.kind != TokenKind::LeftBrace
                && (is_operator(previous.kind) || is_operator(token.kind) || previous.kind.is_comment()))
    }

    /// Whether a space stands before a token that goes on with its line.
    fn needs_space(&self, token: Token) -> bool {
        use TokenKind::{
            Arrow, Colon, Comma, Dot, Ellipsis, Greater, Hash, LeftParen, Less, RightParen, Slash, Star, Word,
        };
        let Some(previous) = self.previous else { return false };
        match (previous.kind, token.kind) {
            (_, Comma | RightParen | Colon | Hash | Dot | Arrow | Slash | Less | Greater) => false,
            (LeftParen | Hash | Dot | Arrow | Slash | Less, _) => false,
            (Colon, Star) | (Word, LeftParen) => false,
            // `...partial`, but `group#... with caveat`
            (Ellipsis, _) => !self.statements.contains_key(&previous.start),
            _ => true,
        }
    }

    /// Starts a line for `token`, after an empty one if there was one, or where definitions are set apart.
    fn break_line(&mut self, token: Token, inside: bool) {
        if let Some(previous) = self.previous {
            self.out.push('\n');
            let opens = previous.kind == TokenKind::LeftBrace;
            let head = !self.in_block && !inside && matches!(self.text(token), "definition" | "caveat" | "partial");
            let sets_apart = self.blank_due || (head && !previous.kind.is_comment());
            if !inside && (sets_apart || (self.lines_before(token) > 1 && !opens)) {
                self.out.push('\n');
            }
        }
        self.blank_due = false;
        self.out.push_str(self.indent(inside));
    }

    fn indent(&self, inside: bool) -> &'static str {
        match (self.in_block, inside) {
            (false, false) => "",
            (true, false) | (false, true) => "\t",
            (true, true) => "\t\t",
        }
    }

    fn ends_with_line_comment(&self) -> bool {
        self.previous.is_some_and(|previous| previous.kind == TokenKind::LineComment)
    }

    /// How many line ends lie between the last token written and this one.
    fn lines_before(&self, token: Token) -> usize {
        let start = self.previous.map_or(0, |previous| previous.end as usize);
        let between = &self.source[start..token.start as usize];
        // Semicolons and the like may lie there, too; `\r\n` is one end, a lone `\r` is one as well.
        between.replace("\r\n", "\n").chars().filter(|c| matches!(c, '\n' | '\r')).count()
    }

    fn text(&self, token: Token) -> &'a str {
        &self.source[token.start as usize..token.end as usize]
    }

    fn finish(mut self) -> String {
        if !self.out.is_empty() {
            self.out.push('\n');
        }
        self.out
    }
}

fn is_operator(kind: TokenKind) -> bool {
    use TokenKind::{And, Comma, Equals, LeftParen, Minus, Pipe, Plus, RightParen};
    matches!(kind, And | Comma | Equals | LeftParen | Minus | Pipe | Plus | RightParen)
}

#[cfg(test)]
mod tests;
