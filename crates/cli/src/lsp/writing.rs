//! Help with writing: completion and layout.

use lsp_types::{
    CompletionItem, CompletionItemKind, CompletionList, CompletionTextEdit, Documentation, MarkupContent, MarkupKind,
    Position, Range, TextEdit,
};
use stonetown_schema::{Completion, CompletionKind, Outline, SymbolKind, complete};

use super::document::Block;
use super::{View, names};

/// Completions offered at a time.
const COMPLETIONS_MAX: usize = 500;

/// What could be written there.
pub(super) fn completion(view: &View<'_>, offset: usize) -> CompletionList {
    let outline = view.outline();
    let found = complete(&outline, offset);
    let begun = view.document.schema().get(found.replaces.start..offset).unwrap_or_default();
    let range = view.document.range(&found.replaces);
    let many = found.items.len() > COMPLETIONS_MAX;
    // A client filters by itself, so only what it may not get whole is filtered here.
    let fitting = found.items.into_iter().filter(|item| !many || item.label.starts_with(begun));
    let items =
        fitting.take(COMPLETIONS_MAX).enumerate().map(|(rank, item)| completion_item(&outline, range, rank, item));
    CompletionList { is_incomplete: many, items: items.collect() }
}

fn completion_item(outline: &Outline, range: Range, rank: usize, item: Completion) -> CompletionItem {
    let kind = match item.kind {
        CompletionKind::Keyword => CompletionItemKind::KEYWORD,
        CompletionKind::Symbol(SymbolKind::Definition) => CompletionItemKind::CLASS,
        CompletionKind::Symbol(SymbolKind::Partial) => CompletionItemKind::INTERFACE,
        CompletionKind::Symbol(SymbolKind::Caveat) => CompletionItemKind::FUNCTION,
        CompletionKind::Symbol(SymbolKind::Relation) => CompletionItemKind::FIELD,
        CompletionKind::Symbol(SymbolKind::Permission) => CompletionItemKind::METHOD,
        CompletionKind::Parameter => CompletionItemKind::VARIABLE,
        CompletionKind::ParameterType => CompletionItemKind::TYPE_PARAMETER,
    };
    let symbol = item.symbol.and_then(|index| outline.symbols().get(index));
    let documentation = symbol.map(|symbol| {
        let value = names::describe(outline, symbol);
        Documentation::MarkupContent(MarkupContent { kind: MarkupKind::Markdown, value })
    });
    CompletionItem {
        kind: Some(kind),
        documentation,
        sort_text: Some(format!("{rank:04}")),
        text_edit: Some(CompletionTextEdit::Edit(TextEdit { range, new_text: item.label.clone() })),
        label: item.label,
        ..CompletionItem::default()
    }
}

/// The edits that lay the schema out; `None` where it cannot be read.
pub(super) fn formatting(view: &View<'_>) -> Option<Vec<TextEdit>> {
    let document = view.document;
    let Block { first_line, indent } = document.block()?;
    let schema = document.schema();
    let formatted = stonetown_schema::format(schema).ok()?;
    if formatted == schema {
        return Some(Vec::new());
    }
    let margin = " ".repeat(indent as usize);
    let lines = formatted.lines().map(|line| if line.is_empty() { String::new() } else { format!("{margin}{line}") });
    let new_text = lines.map(|line| line + "\n").collect();
    let last = document.range(&(schema.len()..schema.len())).end;
    // A block of whole lines ends at the start of the line after it.
    let end = if indent > 0 { Position { line: last.line, character: 0 } } else { last };
    let start = Position { line: first_line, character: 0 };
    Some(vec![TextEdit { range: Range { start, end }, new_text }])
}
