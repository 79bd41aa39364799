//! Tokens to a syntax tree.
//!
//! One function per rule of the grammar. A rule that fails has reported why and returns [`Failed`]; definitions and
//! members then go on with the next one, so that one pass finds several errors. Nesting is bounded by
//! [`NESTING_MAX`], everything else is loops.

use std::collections::BTreeSet;

use crate::annotations::{self, Annotation, Declaration};
use crate::error::{Place, Report, Reports};
use crate::guards::{self, Guard};
use crate::lexer::{self, Token, TokenKind};
use crate::limits::{EXPRESSION_TERMS_MAX, NESTING_MAX};
use crate::listing;
use crate::syntax::{
    Block, CaveatNode, File, Flags, FormNode, Import, MemberNode, Name, ParameterNode, ParameterTypeNode,
    PermissionNode, RelationNode, TypeNode,
};

mod expression;

/// Reads the file number `file` of a compilation. What could be read is returned even if there were errors.
pub(crate) fn parse(source: &str, file: u32, reports: &mut Reports) -> File {
    let tokens = lexer::tokens(source, file, reports);
    let mut parser = Parser {
        source,
        file_number: file,
        tokens,
        position: 0,
        doc_start: 0,
        documented: 0,
        terms: 0,
        definition: None,
        member: None,
        reports,
        file: File::default(),
    };
    parser.skip_comments();
    parser.file();
    parser.stray_annotations(parser.tokens.len());
    parser.file
}

/// The reason has been reported.
struct Failed;
type Parsed<T> = Result<T, Failed>;

struct Parser<'a> {
    source: &'a str,
    file_number: u32,
    tokens: Vec<Token>,
    /// Of the current token, which is never a comment.
    position: usize,
    /// The token behind the last statement and what ended it: comments from here on document the next statement.
    doc_start: usize,
    /// The token behind the last comments that were read as a document: what lies behind has no annotations any more.
    documented: usize,
    /// Operands of all permissions so far.
    terms: usize,
    /// The definition, partial or caveat that is being read.
    definition: Option<String>,
    member: Option<String>,
    reports: &'a mut Reports,
    file: File,
}

impl Parser<'_> {
    fn file(&mut self) {
        loop {
            while matches!(self.kind(), TokenKind::Newline | TokenKind::Semicolon) {
                self.advance();
            }
            if self.kind() == TokenKind::End {
                return;
            }
            (self.definition, self.member) = (None, None);
            let start = self.position;
            if self.top_level().is_err() {
                if self.position == start {
                    self.advance();
                }
                self.recover_at_top_level();
            } else if matches!(self.kind(), TokenKind::Newline | TokenKind::Semicolon) {
                self.advance();
            }
            self.start_doc();
        }
    }

    fn top_level(&mut self) -> Parsed<()> {
        let expected = &["`definition`", "`caveat`", "`use`", "`import`", "`partial`"];
        if self.kind() != TokenKind::Word {
            return Err(self.unexpected("at the top level of a schema", expected));
        }
        match self.text() {
            "definition" => {
                let block = self.block()?;
                self.file.definitions.push(block);
            }
            "caveat" => {
                let caveat = self.caveat()?;
                self.file.caveats.push(caveat);
            }
            "use" => self.use_flag()?,
            "partial" if self.file.flags.partial => {
                let block = self.block()?;
                self.file.partials.push(block);
            }
            "import" if self.file.flags.import => {
                let import = self.import()?;
                self.file.imports.push(import);
            }
            word @ ("partial" | "import") => {
                let message = format!("`{word}` needs the line `use {word}` at the start of the schema");
                return Err(self.fail(self.here(), message, &[]));
            }
            _ => return Err(self.unexpected("at the top level of a schema", expected)),
        }
        Ok(())
    }

    fn use_flag(&mut self) -> Parsed<()> {
        let start = self.here();
        self.advance();
        if self.kind() != TokenKind::Word {
            return Err(self.unexpected("after `use`", &["a flag"]));
        }
        let at = self.here();
        let word = self.text().to_owned();
        if !self.file.definitions.is_empty() || !self.file.caveats.is_empty() || !self.file.partials.is_empty() {
            let message = format!("`use {word}` must come before the first definition, partial and caveat");
            return Err(self.fail(start.to(at), message, &[]));
        }
        let Some(flag) = self.file.flags.named(&word) else {
            let message = format!("unknown flag `{word}` after `use`; there are {}", Flags::NAMES.join(", "));
            return Err(self.fail(at, message, Flags::NAMES));
        };
        *flag = true;
        self.advance();
        self.file.statements.push(start.to(at));
        Ok(())
    }

    fn import(&mut self) -> Parsed<Import> {
        let start = self.here();
        self.advance();
        if self.kind() != TokenKind::Text {
            return Err(self.unexpected("after `import`", &["a quoted path"]));
        }
        let at = self.here();
        let quoted = self.text();
        let path = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or("").into();
        self.advance();
        self.file.statements.push(start.to(at));
        Ok(Import { path: Name { text: path, at } })
    }

    /// `definition path { … }` or `partial path { … }`
    fn block(&mut self) -> Parsed<Block> {
        let (start, doc) = (self.here(), self.doc());
        let is_partial = self.text() == "partial";
        let (what, above) =
            if is_partial { ("`partial`", Declaration::Partial) } else { ("`definition`", Declaration::Definition) };
        let (_, lister) = self.guards(above);
        self.advance();
        let name = self.path(what)?;
        self.definition = Some(name.text.to_string());
        self.expect(TokenKind::LeftBrace, "to open the definition")?;
        self.file.statements.push(start.to(self.previous()));
        self.start_doc();

        let mut members = Vec::new();
        loop {
            while matches!(self.kind(), TokenKind::Newline | TokenKind::Semicolon) {
                self.advance();
            }
            match self.kind() {
                TokenKind::RightBrace => {
                    self.advance();
                    break;
                }
                TokenKind::End => {
                    self.unexpected("inside a definition", &["`}`"]);
                    break;
                }
                _ => {}
            }
            self.member = None;
            match self.member() {
                Ok(member) => members.push(member),
                // What could be read of it is of use to an editor.
                Err(Failed) if self.recover_at_member().is_err() => break,
                Err(Failed) => {}
            }
        }
        Ok(Block { name, doc, lister, members, at: start.to(self.previous()) })
    }

    fn member(&mut self) -> Parsed<MemberNode> {
        let (start, doc) = (self.here(), self.doc());
        let member = match (self.kind(), self.text()) {
            (TokenKind::Word, "relation") => {
                let (guards, lister) = self.guards(Declaration::Relation);
                let name = self.member_name("`relation`")?;
                self.expect(TokenKind::Colon, "between a relation and its types")?;
                let types = self.types()?;
                MemberNode::Relation(RelationNode { name, doc, guards, lister, types, at: start.to(self.previous()) })
            }
            (TokenKind::Word, "permission") => {
                let (guards, lister) = self.guards(Declaration::Permission);
                let name = self.member_name("`permission`")?;
                let annotation = self.annotation()?;
                self.expect(TokenKind::Equals, "between a permission and its expression")?;
                let expression = self.expression()?;
                let at = start.to(self.previous());
                MemberNode::Permission(PermissionNode { name, doc, guards, lister, annotation, expression, at })
            }
            (TokenKind::Ellipsis, _) if self.file.flags.partial => {
                self.annotations(Declaration::Splat);
                self.advance();
                MemberNode::Splat(self.path("`...`")?)
            }
            (TokenKind::Ellipsis, _) => {
                let message = "`...` needs the line `use partial` at the start of the schema".into();
                return Err(self.fail(self.here(), message, &[]));
            }
            _ => return Err(self.unexpected("inside a definition", &["`relation`", "`permission`", "`}`"])),
        };
        self.member_ends(start)?;
        Ok(member)
    }

    fn member_name(&mut self, keyword: &'static str) -> Parsed<Name> {
        self.advance();
        let name = self.name(keyword)?;
        self.member = Some(name.text.to_string());
        Ok(name)
    }

    /// `typeref | typeref …`
    fn types(&mut self) -> Parsed<Vec<TypeNode>> {
        let mut types = vec![self.type_reference()?];
        while self.take(TokenKind::Pipe) {
            types.push(self.type_reference()?);
        }
        Ok(types)
    }

    fn type_reference(&mut self) -> Parsed<TypeNode> {
        let subject_type = self.path("a relation's types")?;
        let form = if self.take(TokenKind::Colon) {
            self.expect(TokenKind::Star, "after a type and `:`")?;
            FormNode::Wildcard
        } else if self.take(TokenKind::Hash) {
            // `type#...` is another way to write `type`.
            if self.take(TokenKind::Ellipsis) { FormNode::Object } else { FormNode::Userset(self.name("`#`")?) }
        } else {
            FormNode::Object
        };
        let (mut caveat, mut expiration) = (None, false);
        if self.is_word("with") {
            self.advance();
            if self.is_keyword("expiration") {
                self.advance();
                expiration = true;
                if self.is_keyword("and") {
                    let message = "the caveat comes first: `with caveat_name and expiration`".into();
                    return Err(self.fail(self.here(), message, &[]));
                }
            } else {
                caveat = Some(self.path("`with`")?);
                if self.is_keyword("and") {
                    self.advance();
                    if !self.is_keyword("expiration") {
                        return Err(self.unexpected("after `and`", &["`expiration`"]));
                    }
                    self.advance();
                    expiration = true;
                }
            }
        }
        let at = subject_type.at.to(self.previous());
        Ok(TypeNode { subject_type, form, caveat, expiration, at })
    }

    /// `: type | type …` before the `=` of a permission.
    fn annotation(&mut self) -> Parsed<Vec<Name>> {
        let mut types = Vec::new();
        if self.take(TokenKind::Colon) {
            types.push(self.path("a permission's types")?);
            while self.take(TokenKind::Pipe) {
                types.push(self.path("a permission's types")?);
            }
        }
        Ok(types)
    }

    /// `caveat path(name type, …) { CEL }`
    fn caveat(&mut self) -> Parsed<CaveatNode> {
        let (start, doc) = (self.here(), self.doc());
        let annotations = self.annotations(Declaration::Caveat);
        self.advance();
        let name = self.path("`caveat`")?;
        self.definition = Some(name.text.to_string());
        self.expect(TokenKind::LeftParen, "before a caveat's parameters")?;
        let mut parameters = Vec::new();
        self.skip_newlines();
        while self.kind() != TokenKind::RightParen {
            parameters.push(self.parameter()?);
            if !self.take(TokenKind::Comma) {
                break;
            }
            self.skip_newlines();
        }
        self.expect(TokenKind::RightParen, "after a caveat's parameters")?;
        self.expect(TokenKind::LeftBrace, "before a caveat's expression")?;
        self.file.statements.push(start.to(self.previous()));
        let mut at = self.here();
        let body = self.text();
        let expression = body.trim();
        at.start += (body.len() - body.trim_start().len()) as u32;
        at.end = at.start + expression.len() as u32;
        let expression = Name { text: expression.into(), at };
        // Both tokens are there, or the lexer has reported that the body is not closed.
        self.advance();
        if self.kind() == TokenKind::RightBrace {
            self.advance();
        }
        Ok(CaveatNode { name, doc, annotations, parameters, expression, at: start.to(self.previous()) })
    }

    fn parameter(&mut self) -> Parsed<ParameterNode> {
        // Words of this language are no keywords in CEL, so any of them can name a parameter.
        if self.kind() != TokenKind::Word {
            return Err(self.unexpected("in a caveat's parameters", &["a parameter", "`)`"]));
        }
        let name = self.take_name();
        Ok(ParameterNode { name, parameter_type: self.parameter_type(1)? })
    }

    fn parameter_type(&mut self, depth: usize) -> Parsed<ParameterTypeNode> {
        if depth > NESTING_MAX {
            let message = format!("the type is nested more than {NESTING_MAX} deep");
            return Err(self.fail(self.here(), message, &[]));
        }
        if self.kind() != TokenKind::Word {
            return Err(self.unexpected("after a parameter", &["a type"]));
        }
        let name = self.take_name();
        let mut arguments = Vec::new();
        if self.take(TokenKind::Less) {
            arguments.push(self.parameter_type(depth + 1)?);
            while self.take(TokenKind::Comma) {
                arguments.push(self.parameter_type(depth + 1)?);
            }
            self.expect(TokenKind::Greater, "after a type's arguments")?;
        }
        let at = name.at.to(self.previous());
        Ok(ParameterTypeNode { name, arguments, at })
    }

    /// `name/name/…`
    fn path(&mut self, after: &str) -> Parsed<Name> {
        let first = self.name(after)?;
        if self.kind() != TokenKind::Slash {
            return Ok(first);
        }
        let mut path = Name { text: "".into(), at: first.at };
        let mut text = String::from(first.text);
        while self.take(TokenKind::Slash) {
            let next = self.name("`/`")?;
            text.push('/');
            text.push_str(&next.text);
            path.at = path.at.to(next.at);
        }
        path.text = text.into();
        Ok(path)
    }

    fn name(&mut self, after: &str) -> Parsed<Name> {
        if self.kind() != TokenKind::Word {
            return Err(self.unexpected(&format!("after {after}"), &["a name"]));
        }
        if self.file.flags.is_keyword(self.text()) {
            let message = format!("`{}` is a keyword and cannot be a name", self.text());
            return Err(self.fail(self.here(), message, &["a name"]));
        }
        Ok(self.take_name())
    }

    fn take_name(&mut self) -> Name {
        let name = Name { text: self.text().into(), at: self.here() };
        self.advance();
        name
    }

    /// The end of a line, `;`, or what closes the definition. `start` is where the member began.
    fn member_ends(&mut self, start: Place) -> Parsed<()> {
        self.file.statements.push(start.to(self.previous()));
        match self.kind() {
            TokenKind::Newline | TokenKind::Semicolon => self.advance(),
            TokenKind::RightBrace | TokenKind::End => {}
            _ => return Err(self.unexpected("after a relation or permission", &["the end of the line", "`;`"])),
        }
        self.start_doc();
        Ok(())
    }

    // Recovery.

    /// Goes on behind the statement that failed; `Err` where the definition seems to end instead.
    fn recover_at_member(&mut self) -> Parsed<()> {
        let mut open = 0_usize;
        loop {
            match self.kind() {
                TokenKind::End => return Err(Failed),
                TokenKind::LeftBrace => open += 1,
                TokenKind::RightBrace if open == 0 => return Ok(()),
                TokenKind::RightBrace => open -= 1,
                TokenKind::Newline | TokenKind::Semicolon if open == 0 => return Ok(()),
                TokenKind::Word if matches!(self.text(), "definition" | "caveat") => return Err(Failed),
                TokenKind::Word
                    if open == 0 && self.starts_line() && matches!(self.text(), "relation" | "permission") =>
                {
                    return Ok(());
                }
                _ => {}
            }
            self.advance();
        }
    }

    /// Goes on with the next definition or caveat.
    fn recover_at_top_level(&mut self) {
        while self.kind() != TokenKind::End {
            let word = if self.kind() == TokenKind::Word { self.text() } else { "" };
            if matches!(word, "definition" | "caveat")
                || (self.starts_line() && matches!(word, "partial" | "import" | "use"))
            {
                return;
            }
            self.advance();
        }
    }

    /// Whether the current token is the first of its line.
    fn starts_line(&self) -> bool {
        let start = self.tokens[self.position].start as usize;
        self.source[..start].chars().rev().find(|c| !matches!(c, ' ' | '\t')).is_none_or(|c| matches!(c, '\n' | '\r'))
    }

    // The current token.

    fn kind(&self) -> TokenKind {
        self.tokens[self.position].kind
    }

    fn text(&self) -> &str {
        let token = self.tokens[self.position];
        &self.source[token.start as usize..token.end as usize]
    }

    fn here(&self) -> Place {
        self.place(self.tokens[self.position])
    }

    /// The last token before the current one that is neither comment nor newline.
    fn previous(&self) -> Place {
        let before = &self.tokens[..self.position];
        let token = before.iter().rev().find(|token| !token.kind.is_comment() && token.kind != TokenKind::Newline);
        self.place(token.copied().unwrap_or(self.tokens[self.position]))
    }

    fn place(&self, token: Token) -> Place {
        Place { file: self.file_number, start: token.start, end: token.end }
    }

    fn is_word(&self, word: &str) -> bool {
        self.kind() == TokenKind::Word && self.text() == word
    }

    /// Whether the current token is that word, and the file's flags make it a keyword.
    fn is_keyword(&self, word: &str) -> bool {
        self.is_word(word) && self.file.flags.is_keyword(word)
    }

    /// The comments since the last statement: each as written, without the white space around its lines.
    fn doc(&self) -> String {
        let mut lines = Vec::new();
        for token in self.tokens[self.doc_start..self.position].iter().filter(|token| token.kind.is_comment()) {
            lines.extend(self.source[token.start as usize..token.end as usize].lines().map(str::trim));
        }
        lines.join("\n")
    }

    /// What the comments since the last statement say to us, above that declaration.
    fn annotations(&mut self, above: Declaration) -> Vec<Annotation> {
        self.stray_annotations(self.doc_start);
        self.documented = self.position;
        let mut found = Vec::new();
        for token in self.doc_start..self.position {
            let token = self.tokens[token];
            if token.kind.is_comment() {
                let comment = &self.source[token.start as usize..token.end as usize];
                match annotations::read(comment, self.place(token), above) {
                    Ok(terms) => found.extend(terms),
                    Err((at, message)) => {
                        let Failed = self.fail(at, message, &[]);
                    }
                }
            }
        }
        found
    }

    /// What they ask for above a definition, relation or permission, and what they name as its lister.
    fn guards(&mut self, above: Declaration) -> (BTreeSet<Guard>, Option<Name>) {
        let annotations = self.annotations(above);
        let (guards, mut refused) = guards::read(&annotations);
        let lister = listing::read(&annotations, &mut refused);
        for (at, message) in refused {
            let Failed = self.fail(at, message, &[]);
        }
        (guards, lister)
    }

    /// Refuses annotations between the last document and the token `end`: they would say nothing.
    fn stray_annotations(&mut self, end: usize) {
        for token in self.documented..end {
            let token = self.tokens[token];
            if token.kind.is_comment()
                && let Some(at) =
                    annotations::find(&self.source[token.start as usize..token.end as usize], self.place(token))
            {
                let message = "an annotation stands in the comments right before a declaration".into();
                let Failed = self.fail(at, message, &[]);
            }
        }
    }

    /// What ends the last statement has been read.
    fn start_doc(&mut self) {
        let comments = self.tokens[..self.position].iter().rev().take_while(|token| token.kind.is_comment()).count();
        self.doc_start = self.position - comments;
    }

    fn advance(&mut self) {
        if self.position + 1 < self.tokens.len() {
            self.position += 1;
            self.skip_comments();
        }
    }

    fn skip_comments(&mut self) {
        while self.kind().is_comment() {
            self.position += 1;
        }
    }

    fn skip_newlines(&mut self) {
        while self.kind() == TokenKind::Newline {
            self.advance();
        }
    }

    /// Steps over the current token if it is punctuation of that kind. No statement begins with punctuation, so a line
    /// that does goes on with the statement before it.
    fn take(&mut self, kind: TokenKind) -> bool {
        let mut position = self.position;
        while self.tokens[position].kind.is_comment() || self.tokens[position].kind == TokenKind::Newline {
            position += 1;
        }
        if self.tokens[position].kind != kind {
            return false;
        }
        self.position = position;
        self.advance();
        true
    }

    fn expect(&mut self, kind: TokenKind, purpose: &str) -> Parsed<()> {
        if self.take(kind) { Ok(()) } else { Err(self.unexpected(purpose, &[kind.name()])) }
    }

    // Reports.

    fn unexpected(&mut self, place: &str, expected: &[&'static str]) -> Failed {
        let found = match self.kind() {
            TokenKind::Word | TokenKind::Text => format!("`{}`", self.text().chars().take(64).collect::<String>()),
            kind => kind.name().to_owned(),
        };
        let message = format!("expected {} {place}, found {found}", expected.join(" or "));
        self.fail(self.here(), message, expected)
    }

    fn fail(&mut self, at: Place, message: String, expected: &[&'static str]) -> Failed {
        let (definition, member) = (self.definition.clone(), self.member.clone());
        self.reports.push(Report { at, message, expected: expected.to_vec(), definition, member });
        Failed
    }

    /// Counts an operand of a permission.
    fn count_term(&mut self) -> Parsed<()> {
        self.terms += 1;
        if self.terms > EXPRESSION_TERMS_MAX {
            let message = format!("the permissions have more than {EXPRESSION_TERMS_MAX} operands");
            return Err(self.fail(self.here(), message, &[]));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
