//! A text that is open in the editor, and the schema in it: all of it, or a block of a validation file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use lsp_types::{Position, TextDocumentContentChangeEvent};

use super::address;
use super::position::Lines;

/// An open document.
#[derive(Debug)]
pub(crate) struct Document {
    text: String,
    path: Option<PathBuf>,
    is_yaml: bool,
    schema: String,
    /// Of the schema.
    lines: Lines,
    /// Where the schema stands; `None` where there is none.
    block: Option<Block>,
}

/// Whole lines of a document, of each of which the same number of spaces is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) first_line: u32,
    pub(crate) indent: u32,
}

impl Document {
    pub(crate) fn new(uri: &str, language: &str, text: String) -> Document {
        let path = address::to_path(uri);
        let extension = uri.rsplit('.').next().unwrap_or_default();
        let is_yaml = language == "yaml" || matches!(extension, "yaml" | "yml");
        let mut document = Document { text, path, is_yaml, schema: String::new(), lines: Lines::new(""), block: None };
        document.read();
        document
    }

    /// Applies an edit, or takes over a whole new text.
    pub(crate) fn change(&mut self, change: TextDocumentContentChangeEvent) {
        match change.range {
            None => self.text = change.text,
            Some(range) => {
                let lines = Lines::new(&self.text);
                let start = lines.offset(&self.text, range.start);
                let end = lines.offset(&self.text, range.end).max(start);
                self.text.replace_range(start..end, &change.text);
            }
        }
        self.read();
    }

    fn read(&mut self) {
        (self.schema, self.block) = match schema_in_yaml(&self.text) {
            _ if !self.is_yaml => (self.text.clone(), Some(Block { first_line: 0, indent: 0 })),
            Some((schema, block)) => (schema, Some(block)),
            None => (String::new(), None),
        };
        self.lines = Lines::new(&self.schema);
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The schema; empty where there is none.
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// Where the schema stands.
    pub(crate) fn block(&self) -> Option<Block> {
        self.block
    }

    /// What imports are relative to.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.path.as_deref().and_then(Path::parent)
    }

    /// Whether it may import something.
    pub(crate) fn has_imports(&self) -> bool {
        self.schema.contains("import")
    }

    /// The byte of the schema at a position of the document; `None` outside the schema.
    pub(crate) fn offset(&self, position: Position) -> Option<usize> {
        let block = self.block?;
        let line = position.line.checked_sub(block.first_line)?;
        let ends_before = self.is_yaml && line >= self.lines.position(&self.schema, self.schema.len()).line;
        if ends_before {
            return None;
        }
        let character = position.character.saturating_sub(block.indent);
        Some(self.lines.offset(&self.schema, Position { line, character }))
    }

    /// The range of the document that bytes of the schema stand in.
    pub(crate) fn range(&self, bytes: &Range<usize>) -> lsp_types::Range {
        let Block { first_line, indent } = self.block.unwrap_or(Block { first_line: 0, indent: 0 });
        let lsp_types::Range { start, end } = self.lines.range(&self.schema, bytes);
        let moved =
            |position: Position| Position { line: position.line + first_line, character: position.character + indent };
        lsp_types::Range { start: moved(start), end: moved(end) }
    }
}

/// The literal block (`schema: |`) of a validation file, without its indentation.
fn schema_in_yaml(text: &str) -> Option<(String, Block)> {
    let mut lines = text.lines().enumerate();
    lines.find(|(_, line)| {
        let style = line.strip_prefix("schema:").map(str::trim_start);
        style.is_some_and(|style| style.starts_with('|'))
    })?;
    let (mut schema, mut block) = (String::new(), None);
    for (number, line) in lines {
        let indent = line.bytes().take_while(|byte| *byte == b' ').count();
        if line.trim().is_empty() {
            // Before the first line the block has not begun.
            if let Some(Block { indent, .. }) = block {
                schema.push_str(line.get(indent as usize..).unwrap_or(""));
                schema.push('\n');
            }
            continue;
        }
        let Block { indent: outer, .. } =
            *block.get_or_insert(Block { first_line: number as u32, indent: indent as u32 });
        if indent == 0 || indent < outer as usize {
            break;
        }
        schema.push_str(&line[outer as usize..]);
        schema.push('\n');
    }
    // Empty lines after it part it from what follows.
    let end = schema.trim_end().len();
    let end = schema[end..].find('\n').map_or(schema.len(), |newline| end + newline + 1);
    schema.truncate(end);
    // A line without indentation cannot begin a block.
    block.filter(|block| block.indent > 0).map(|block| (schema, block))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const FILE: &str = "---\nschema: |-\n\n  definition user {}\n\n  definition document {\n    relation ö: user\n  }\n\nrelationships: |\n  a\n";

    #[test]
    fn the_schema_of_a_validation_file_is_found() {
        let document = Document::new("file:///a/test.yaml", "", FILE.to_owned());
        assert_eq!(document.schema(), "definition user {}\n\ndefinition document {\n  relation ö: user\n}\n");
        assert_eq!(document.block(), Some(Block { first_line: 3, indent: 2 }));
        let user = document.schema().rfind("user").unwrap();
        let position = Position { line: 6, character: 16 };
        assert_eq!(document.range(&(user..user + 4)).start, position);
        assert_eq!(document.offset(position), Some(user));
        assert_eq!(document.offset(Position { line: 3, character: 0 }), Some(0));
        assert_eq!(document.offset(Position { line: 2, character: 5 }), None);
        assert_eq!(document.offset(Position { line: 8, character: 2 }), None);
    }

    #[test]
    fn other_yaml_has_no_schema() {
        for text in [
            "",
            "schema: a",
            "schema: |",
            "schema: |\nrelationships:",
            "schemaFile: a.zed",
            "other:\n  schema: |\n    a",
            "schema: >\n  a",
        ] {
            let document = Document::new("untitled:1", "yaml", text.to_owned());
            assert!(document.schema().trim().is_empty() && document.block().is_none(), "{text:?}");
            assert_eq!(document.offset(Position::default()), None);
        }
    }

    #[test]
    fn edits_are_applied_in_order() {
        let mut document = Document::new("file:///a.zed", "", "definition a {}\n😀".to_owned());
        let edit = |line, from, to, text: &str| TextDocumentContentChangeEvent {
            range: Some(lsp_types::Range {
                start: Position { line, character: from },
                end: Position { line, character: to },
            }),
            range_length: None,
            text: text.to_owned(),
        };
        document.change(edit(1, 0, 2, "x"));
        document.change(edit(0, 11, 12, "ü\nb"));
        assert_eq!(document.text(), "definition ü\nb {}\nx");
        document.change(edit(9, 5, 1, "end"));
        assert_eq!(document.schema(), "definition ü\nb {}\nxend");
        document.change(TextDocumentContentChangeEvent { range: None, range_length: None, text: "new".to_owned() });
        assert_eq!(document.schema(), "new");
        document.change(edit(0, 3, 1, "!"));
        assert_eq!(document.text(), "new!");
    }
}
