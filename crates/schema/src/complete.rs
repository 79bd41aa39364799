//! What could be written at a place of a text, for editors.

use std::ops::Range;

use crate::error::Reports;
use crate::lexer::{self, Token, TokenKind};
use crate::limits::SCHEMA_BYTES_MAX;
use crate::outline::{Outline, Symbol, SymbolKind};
use crate::parser;
use crate::syntax::{CaveatNode, Flags};

/// Names of parameter types, those with arguments last.
const PARAMETER_TYPES: &[&str] =
    &["any", "bool", "string", "int", "uint", "double", "bytes", "duration", "timestamp", "ipaddress", "list", "map"];

/// What could be written, and what it would replace.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Completions {
    /// The bytes of the word that has been begun; empty between words.
    pub replaces: Range<usize>,
    /// Sorted as they should be offered. Not filtered by the word that has been begun.
    pub items: Vec<Completion>,
}

/// One thing that could be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The text.
    pub label: String,
    /// What it is.
    pub kind: CompletionKind,
    /// Index of the symbol in [`Outline::symbols`], where it is one.
    pub symbol: Option<usize>,
}

/// What a completion is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompletionKind {
    /// A word of the language.
    Keyword,
    /// A name that is declared.
    Symbol(SymbolKind),
    /// A parameter of the caveat.
    Parameter,
    /// A type of parameters.
    ParameterType,
}

/// What could be written at the byte `offset` of the text that `outline` was read from.
#[must_use]
pub fn complete(outline: &Outline, offset: usize) -> Completions {
    let Some(source) = outline.files().first().map(|file| file.text.as_str()) else { return Completions::default() };
    if source.len() > SCHEMA_BYTES_MAX || !source.is_char_boundary(offset) {
        return Completions::default();
    }
    let tokens = lexer::tokens(source, 0, &mut Reports::default());
    let is_before = |token: &Token| {
        let start = token.start as usize;
        // The body of a caveat may be empty.
        token.kind != TokenKind::End && (start < offset || (start == offset && token.kind == TokenKind::CelBody))
    };
    let mut before: Vec<Token> = tokens.into_iter().filter(is_before).collect();
    if before.last().is_some_and(|last| is_inside_text(*last, offset)) {
        return Completions { replaces: offset..offset, items: Vec::new() };
    }
    let file = parser::parse(source, 0, &mut Reports::default());
    let completer = Completer { source, outline, flags: file.flags, offset };
    if let Some(body) = before.last().filter(|last| last.kind == TokenKind::CelBody && offset <= last.end as usize) {
        let caveat = file.caveats.iter().find(|caveat| {
            let at = caveat.expression.at;
            body.start <= at.start && at.end <= body.end
        });
        return completer.parameters(caveat);
    }
    before.retain(|token| !token.kind.is_comment());
    let word = before.pop_if(|last| last.kind == TokenKind::Word && offset <= last.end as usize);
    // A path is one name: what has been written of it is replaced.
    let mut start = word.map_or(offset, |word| word.start as usize);
    let mut path = before.len();
    while path >= 2 && before[path - 1].kind == TokenKind::Slash && before[path - 2].kind == TokenKind::Word {
        path -= 2;
        start = before[path].start as usize;
    }
    before.truncate(path);
    let replaces = start..word.map_or(offset, |word| word.end as usize);
    Completions { replaces, items: completer.items(&before) }
}

/// Comments and quoted paths have no completions.
fn is_inside_text(token: Token, offset: usize) -> bool {
    match token.kind {
        TokenKind::LineComment => offset <= token.end as usize,
        TokenKind::BlockComment | TokenKind::Text => offset < token.end as usize,
        _ => false,
    }
}

struct Completer<'a> {
    source: &'a str,
    outline: &'a Outline,
    flags: Flags,
    offset: usize,
}

/// The statement that is being written, up to the word that has been begun.
struct Statement {
    /// Whether it stands in a definition or partial.
    is_member: bool,
    /// Without newlines.
    tokens: Vec<Token>,
}

impl Completer<'_> {
    fn items(&self, before: &[Token]) -> Vec<Completion> {
        let statement = self.statement(before);
        let tokens = &*statement.tokens;
        let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
            return if statement.is_member { self.member_starts() } else { self.top_level_starts() };
        };
        match (statement.is_member, self.text(*first)) {
            (false, "use") if tokens.len() == 1 => keywords(Flags::NAMES),
            (false, "caveat") => self.parameter_types(tokens),
            (true, "...") if tokens.len() == 1 => self.symbols(SymbolKind::Partial),
            (true, "relation") => match after(tokens, TokenKind::Colon) {
                Some(types) => self.types(types),
                None => Vec::new(),
            },
            (true, "permission") => match after(tokens, TokenKind::Equals) {
                Some(expression) => self.expression(tokens.get(1).map_or("", |name| self.text(*name)), expression),
                None if matches!(last.kind, TokenKind::Colon | TokenKind::Pipe) => self.symbols(SymbolKind::Definition),
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// Follows the text as far as it goes. Newlines end statements as they do for the parser.
    fn statement(&self, before: &[Token]) -> Statement {
        let mut statement = Statement { is_member: false, tokens: Vec::new() };
        let (mut ended, mut open) = (false, 0_usize);
        for token in before {
            let text = self.text(*token);
            match token.kind {
                TokenKind::Semicolon => ended = true,
                TokenKind::Newline => ended |= open == 0,
                TokenKind::LeftBrace => {
                    let head = statement.tokens.first().map_or("", |first| self.text(*first));
                    statement.is_member |= matches!(head, "definition" | "partial");
                    statement.tokens.clear();
                    (ended, open) = (false, 0);
                }
                TokenKind::RightBrace => {
                    statement = Statement { is_member: false, tokens: Vec::new() };
                    (ended, open) = (false, 0);
                }
                TokenKind::CelBody => {}
                kind => {
                    let goes_on = !matches!(kind, TokenKind::Word | TokenKind::Ellipsis | TokenKind::Text);
                    let starts_file_level = kind == TokenKind::Word && matches!(text, "definition" | "caveat");
                    let starts_member = kind == TokenKind::Word && matches!(text, "relation" | "permission");
                    if starts_file_level {
                        statement.is_member = false;
                    }
                    if starts_file_level || (starts_member && statement.is_member) || (ended && !goes_on) {
                        statement.tokens.clear();
                        open = 0;
                    }
                    ended = false;
                    match kind {
                        TokenKind::LeftParen => open += 1,
                        TokenKind::RightParen => open = open.saturating_sub(1),
                        _ => {}
                    }
                    statement.tokens.push(*token);
                }
            }
        }
        if ended {
            statement.tokens.clear();
        }
        statement
    }

    fn top_level_starts(&self) -> Vec<Completion> {
        let mut words = vec!["definition", "caveat", "use"];
        words.extend(self.flags.partial.then_some("partial"));
        words.extend(self.flags.import.then_some("import"));
        keywords(&words)
    }

    fn member_starts(&self) -> Vec<Completion> {
        let mut items = keywords(&["relation", "permission"]);
        if self.flags.partial {
            let partials = self.symbols(SymbolKind::Partial).into_iter();
            items.extend(partials.map(|item| Completion { label: format!("...{}", item.label), ..item }));
        }
        items
    }

    /// What stands between the `:` of a relation and the cursor.
    fn types(&self, tokens: &[Token]) -> Vec<Completion> {
        let current = tokens.rsplit(|token| token.kind == TokenKind::Pipe).next().unwrap_or_default();
        let Some(last) = current.last() else { return self.symbols(SymbolKind::Definition) };
        match (last.kind, self.text(*last)) {
            (TokenKind::Hash, _) => {
                let name: String = current[..current.len() - 1].iter().map(|token| self.text(*token)).collect();
                self.outline.definition(&name).map(|definition| self.members(definition)).unwrap_or_default()
            }
            (TokenKind::Colon, _) => keywords(&["*"]),
            (TokenKind::Word, "with") => {
                let mut items = self.symbols(SymbolKind::Caveat);
                items.extend(keywords(if self.flags.expiration { &["expiration"] } else { &[] }));
                items
            }
            (TokenKind::Word, "and") => keywords(&["expiration"]),
            (TokenKind::Word | TokenKind::Star | TokenKind::Ellipsis, _) => {
                let with = current.iter().position(|token| self.text(*token) == "with");
                match with {
                    None => keywords(&["with"]),
                    Some(_) if self.flags.expiration && self.text(*last) != "expiration" => keywords(&["and"]),
                    Some(_) => Vec::new(),
                }
            }
            _ => Vec::new(),
        }
    }

    /// What stands between the `=` of the permission `name` and the cursor.
    fn expression(&self, name: &str, tokens: &[Token]) -> Vec<Completion> {
        use TokenKind::{And, Arrow, Dot, LeftParen, Minus, Plus, Word};
        let Some(block) = self.outline.block_before(self.offset) else { return Vec::new() };
        let is_function = |token: &Token| matches!(self.text(*token), "any" | "all");
        let operand = || {
            let mut items = self.members(block);
            // It may name itself, but that adds nothing.
            items.retain(|item| item.label != name);
            items.extend(keywords(if self.flags.itself { &["nil", "self"] } else { &["nil"] }));
            items
        };
        match tokens {
            [.., relation, arrow] if relation.kind == Word && arrow.kind == Arrow => self.targets(block, *relation),
            [.., relation, dot] if relation.kind == Word && dot.kind == Dot => keywords(&["any", "all"]),
            [.., relation, dot, function, paren]
                if relation.kind == Word && dot.kind == Dot && is_function(function) && paren.kind == LeftParen =>
            {
                self.targets(block, *relation)
            }
            [] => operand(),
            [.., last] if matches!(last.kind, Plus | And | Minus | LeftParen) => operand(),
            _ => Vec::new(),
        }
    }

    /// The members of all types that a relation leads to.
    fn targets(&self, block: usize, relation: Token) -> Vec<Completion> {
        let types = self.outline.leads_to(block, self.text(relation));
        let mut items: Vec<Completion> = types.into_iter().flat_map(|definition| self.members(definition)).collect();
        items.sort_by(|a, b| a.label.cmp(&b.label));
        items.dedup_by(|a, b| a.label == b.label);
        items
    }

    /// What stands between `caveat` and the cursor.
    fn parameter_types(&self, tokens: &[Token]) -> Vec<Completion> {
        let Some(parameters) = after(tokens, TokenKind::LeftParen) else { return Vec::new() };
        let mut angles = 0_usize;
        let mut start = 0;
        for (index, token) in parameters.iter().enumerate() {
            match token.kind {
                TokenKind::Less => angles += 1,
                TokenKind::Greater => angles = angles.saturating_sub(1),
                TokenKind::Comma if angles == 0 => start = index + 1,
                TokenKind::RightParen => return Vec::new(),
                _ => {}
            }
        }
        let current = &parameters[start..];
        let expects_type = match current {
            [name] => name.kind == TokenKind::Word,
            [_, .., last] => matches!(last.kind, TokenKind::Less | TokenKind::Comma),
            [] => false,
        };
        let types = if expects_type { PARAMETER_TYPES } else { &[] };
        types.iter().map(|name| item(name, CompletionKind::ParameterType, None)).collect()
    }

    fn parameters(&self, caveat: Option<&CaveatNode>) -> Completions {
        let is_word = |c: char| c == '_' || c.is_ascii_alphanumeric();
        let before = &self.source[..self.offset];
        let start = before.trim_end_matches(is_word).len();
        let rest = &self.source[self.offset..];
        let end = self.offset + rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        // What follows a dot is a field or method.
        let is_field = self.source[..start].trim_end().ends_with('.');
        let parameters = caveat.filter(|_| !is_field).map_or(&[][..], |caveat| &caveat.parameters);
        let items = parameters.iter().map(|parameter| item(&parameter.name.text, CompletionKind::Parameter, None));
        Completions { replaces: start..end, items: items.collect() }
    }

    fn symbols(&self, kind: SymbolKind) -> Vec<Completion> {
        let symbols = self.outline.symbols().iter().enumerate().filter(|(_, symbol)| symbol.kind == kind);
        sorted(symbols.map(|(index, symbol)| of_symbol(index, symbol)).collect())
    }

    fn members(&self, block: usize) -> Vec<Completion> {
        let members = self.outline.members(block).into_iter();
        sorted(members.map(|index| of_symbol(index, &self.outline.symbols()[index])).collect())
    }

    fn text(&self, token: Token) -> &str {
        &self.source[token.start as usize..token.end as usize]
    }
}

/// What follows the first token of that kind.
fn after(tokens: &[Token], kind: TokenKind) -> Option<&[Token]> {
    let index = tokens.iter().position(|token| token.kind == kind)?;
    Some(&tokens[index + 1..])
}

fn keywords(words: &[&str]) -> Vec<Completion> {
    words.iter().map(|word| item(word, CompletionKind::Keyword, None)).collect()
}

fn of_symbol(index: usize, symbol: &Symbol) -> Completion {
    item(&symbol.name, CompletionKind::Symbol(symbol.kind), Some(index))
}

fn item(label: &str, kind: CompletionKind, symbol: Option<usize>) -> Completion {
    Completion { label: label.to_owned(), kind, symbol }
}

fn sorted(mut items: Vec<Completion>) -> Vec<Completion> {
    items.sort_by(|a, b| a.label.cmp(&b.label));
    items
}

#[cfg(test)]
mod tests;
