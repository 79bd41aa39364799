//! Giving something another name, in one document, where that surely changes nothing else.

use std::collections::HashMap;
use std::ops::Range;

use lsp_server::ErrorCode;
use lsp_types::{PrepareRenameResponse, TextEdit, Uri, WorkspaceEdit};
use stonetown_schema::{CompileOptions, Outline, Schema, SymbolKind};
use stonetown_tuple::{CaveatName, ObjectType, RelationName};

use super::{Refusal, View};

/// The name there, if it can be renamed.
pub(super) fn prepare(view: &View<'_>, offset: usize) -> Option<PrepareRenameResponse> {
    let outline = view.outline();
    let (bytes, _) = outline.meaning(offset)?;
    renamed(&outline, offset).ok()?;
    Some(PrepareRenameResponse::Range(view.document.range(&bytes)))
}

/// Renames what is named there, everywhere in the document.
///
/// # Errors
/// When the new name is no name, when something of that name is declared or used in another file, when an arrow leads to
/// several members of that name, and when the schema would not compile any more or mean something else.
#[allow(clippy::mutable_key_type, reason = "the protocol's own type of an edit has addresses as keys")]
pub(super) fn rename(view: &View<'_>, offset: usize, name: &str) -> Result<Option<WorkspaceEdit>, Refusal> {
    let outline = view.outline();
    if outline.meaning(offset).is_none() {
        return Ok(None);
    }
    let (symbol, places) = renamed(&outline, offset).map_err(refused)?;
    check_name(outline.symbols()[symbol].kind, name).map_err(refused)?;
    let text = replaced(view.document.schema(), &places, name);
    check_meaning(view, &outline, symbol, &text, places.len()).map_err(refused)?;
    let uri: Uri = view.uri.parse().map_err(|_| refused("the document's address is malformed".to_owned()))?;
    let edits = places.iter().map(|bytes| TextEdit { range: view.document.range(bytes), new_text: name.to_owned() });
    Ok(Some(WorkspaceEdit { changes: Some(HashMap::from([(uri, edits.collect())])), ..WorkspaceEdit::default() }))
}

fn refused(message: String) -> Refusal {
    Refusal::new(ErrorCode::RequestFailed, message)
}

/// What would be renamed: the symbol, and where its name stands, in order.
fn renamed(outline: &Outline, offset: usize) -> Result<(usize, Vec<Range<usize>>), String> {
    let symbols = outline.meaning(offset).map(|(_, symbols)| symbols).unwrap_or_default();
    let [symbol] = *symbols else {
        return Err("this names several things, or none that is declared".to_owned());
    };
    let declared = outline.name_at(&outline.symbols()[symbol]);
    let mut places = vec![declared.bytes];
    if declared.file != 0 {
        return Err("it is declared in another file".to_owned());
    }
    for (place, alone) in outline.references(symbol) {
        if place.file != 0 {
            return Err("it is used in another file, too".to_owned());
        }
        if !alone {
            return Err("an arrow leads to several members of this name".to_owned());
        }
        places.push(place.bytes);
    }
    places.sort_by_key(|bytes| bytes.start);
    Ok((symbol, places))
}

fn check_name(kind: SymbolKind, name: &str) -> Result<(), String> {
    let checked = match kind {
        SymbolKind::Definition | SymbolKind::Partial => ObjectType::new(name).map(drop),
        SymbolKind::Caveat => CaveatName::new(name).map(drop),
        SymbolKind::Relation | SymbolKind::Permission => RelationName::new(name).map(drop),
    };
    checked.map_err(|error| error.to_string())
}

fn replaced(text: &str, places: &[Range<usize>], name: &str) -> String {
    let mut new = String::with_capacity(text.len());
    let mut end = 0;
    for place in places {
        new.push_str(text.get(end..place.start).unwrap_or_default());
        new.push_str(name);
        end = place.end;
    }
    new.push_str(text.get(end..).unwrap_or_default());
    new
}

/// The new text compiles if the old one did, and what was renamed is used as often as before: nothing else had the new name.
fn check_meaning(view: &View<'_>, old: &Outline, symbol: usize, text: &str, places: usize) -> Result<(), String> {
    view.with_imports(|imports| {
        let options = CompileOptions { imports, ..CompileOptions::default() };
        if Schema::compile(view.document.schema(), &options).is_ok()
            && let Err(errors) = Schema::compile(text, &options)
        {
            return Err(errors.first().map_or_else(String::new, |error| format!("then {}", error.message)));
        }
        let new = Outline::read(text, imports);
        let same = new.symbols().len() == old.symbols().len() && new.references(symbol).len() + 1 == places;
        if same { Ok(()) } else { Err("something else has this name already".to_owned()) }
    })
}
