//! What a name means, where it is declared and used, and all that is declared.

use lsp_types::{
    DocumentSymbol, Hover, HoverContents, Location, MarkupContent, MarkupKind, SymbolKind as WireKind, Uri,
};
use stonetown_schema::{Location as Place, Outline, Symbol, SymbolKind};

use super::position::Lines;
use super::{View, address};

/// Meanings shown at once, of the target of an arrow.
const MEANINGS_MAX: usize = 5;
/// Lines shown of a definition or caveat.
const LINES_MAX: usize = 20;
/// Declarations listed of one document.
const SYMBOLS_MAX: usize = 5_000;

/// The comment and text of what is named there.
pub(super) fn hover(view: &View<'_>, offset: usize) -> Option<Hover> {
    let outline = view.outline();
    let (bytes, symbols) = outline.meaning(offset)?;
    let shown: Vec<String> =
        symbols.iter().take(MEANINGS_MAX).map(|symbol| describe(&outline, &outline.symbols()[*symbol])).collect();
    if shown.is_empty() {
        return None;
    }
    let contents = MarkupContent { kind: MarkupKind::Markdown, value: shown.join("\n\n---\n\n") };
    Some(Hover { contents: HoverContents::Markup(contents), range: Some(view.document.range(&bytes)) })
}

/// A symbol for people: its text, where it belongs, its comment.
pub(super) fn describe(outline: &Outline, symbol: &Symbol) -> String {
    let text = outline.text(symbol);
    let mut lines: Vec<&str> = text.lines().take(LINES_MAX).collect();
    if text.lines().count() > LINES_MAX {
        lines.push("…");
    }
    let text = undent(&lines);
    // Longer than any run of backticks in it, which CEL strings may have.
    let fence = "`".repeat(3.max(longest_run(&text, '`') + 1));
    let mut described = format!("{fence}zed\n{text}\n{fence}");
    if let Some(parent) = symbol.parent.and_then(|parent| outline.symbols().get(parent)) {
        described.push_str(&format!("\n\nof `{}`", parent.name));
    }
    let comment = comment(&symbol.doc);
    if !comment.is_empty() {
        described.push_str(&format!("\n\n{comment}"));
    }
    described
}

/// A doc comment without its delimiters.
fn comment(doc: &str) -> String {
    let lines = doc.lines().map(|line| {
        let line = line.trim().trim_end_matches("*/");
        let line = line.strip_prefix("//").unwrap_or(line);
        line.trim_start_matches("/*").trim_start_matches('*').trim()
    });
    lines.collect::<Vec<_>>().join("\n").trim().to_owned()
}

/// All lines but the first stand as deep as their block does; that much is taken away.
fn undent(lines: &[&str]) -> String {
    let depth = |line: &&&str| line.len() - line.trim_start().len();
    let rest = lines.iter().skip(1).filter(|line| !line.trim().is_empty());
    let common = rest.min_by_key(depth).map_or("", |line| &line[..depth(&line)]);
    let lines = lines.iter().map(|line| line.strip_prefix(common).unwrap_or(line.trim_start()).trim_end());
    lines.collect::<Vec<_>>().join("\n")
}

fn longest_run(text: &str, of: char) -> usize {
    let (mut longest, mut current) = (0, 0);
    for character in text.chars() {
        current = if character == of { current + 1 } else { 0 };
        longest = longest.max(current);
    }
    longest
}

/// Where that is declared, or the file that is imported there.
pub(super) fn definition(view: &View<'_>, offset: usize) -> Option<Vec<Location>> {
    let outline = view.outline();
    if let Some(file) = outline.import_at(offset) {
        return Some(location(view, &outline, &Place { file, bytes: 0..0 }).into_iter().collect());
    }
    let (_, symbols) = outline.meaning(offset)?;
    let places = symbols.iter().map(|symbol| outline.name_at(&outline.symbols()[*symbol]));
    Some(places.filter_map(|place| location(view, &outline, &place)).collect())
}

/// Where what is named there is named, in the document and what it imports.
pub(super) fn references(view: &View<'_>, offset: usize, declaration: bool) -> Option<Vec<Location>> {
    let outline = view.outline();
    let (_, symbols) = outline.meaning(offset)?;
    let mut places = Vec::new();
    for symbol in symbols.into_iter().take(MEANINGS_MAX) {
        places.extend(declaration.then(|| outline.name_at(&outline.symbols()[symbol])));
        places.extend(outline.references(symbol).into_iter().map(|(place, _)| place));
    }
    places.sort_by_key(|place| (place.file, place.bytes.start));
    places.dedup();
    Some(places.iter().filter_map(|place| location(view, &outline, place)).collect())
}

fn location(view: &View<'_>, outline: &Outline, place: &Place) -> Option<Location> {
    let file = outline.files().get(place.file)?;
    let Some(path) = &file.path else {
        return Some(Location { uri: view.uri.parse().ok()?, range: view.document.range(&place.bytes) });
    };
    let uri: Uri = address::from_path(&view.document.folder()?.join(path))?.parse().ok()?;
    Some(Location { uri, range: Lines::new(&file.text).range(&file.text, &place.bytes) })
}

/// Everything that is declared in the document.
pub(super) fn symbols(view: &View<'_>) -> Vec<DocumentSymbol> {
    let outline = stonetown_schema::Outline::read(view.document.schema(), None);
    let mut top: Vec<DocumentSymbol> = Vec::new();
    let mut listed_as = std::collections::HashMap::new();
    for (index, symbol) in outline.symbols().iter().enumerate().take(SYMBOLS_MAX) {
        let wire = document_symbol(view, &outline, symbol);
        match symbol.parent.and_then(|parent| listed_as.get(&parent).copied()) {
            Some(parent) => {
                let parent: &mut DocumentSymbol = &mut top[parent];
                parent.children.get_or_insert_default().push(wire);
            }
            None => {
                listed_as.insert(index, top.len());
                top.push(wire);
            }
        }
    }
    top
}

fn document_symbol(view: &View<'_>, outline: &Outline, symbol: &Symbol) -> DocumentSymbol {
    let kind = match symbol.kind {
        SymbolKind::Definition => WireKind::CLASS,
        SymbolKind::Partial => WireKind::INTERFACE,
        SymbolKind::Caveat => WireKind::FUNCTION,
        SymbolKind::Relation => WireKind::FIELD,
        SymbolKind::Permission => WireKind::METHOD,
    };
    let word = outline.text(symbol).split_whitespace().next().unwrap_or_default().to_owned();
    #[allow(deprecated, reason = "the type has no other constructor")]
    DocumentSymbol {
        name: symbol.name.clone(),
        detail: Some(word),
        kind,
        tags: None,
        deprecated: None,
        range: view.document.range(&outline.extent(symbol).bytes),
        selection_range: view.document.range(&outline.name_at(symbol).bytes),
        children: None,
    }
}
