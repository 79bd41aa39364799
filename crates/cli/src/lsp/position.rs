//! Between bytes of a text and the lines and UTF-16 units that the protocol counts in.

use std::ops::Range;

use lsp_types::Position;

/// Where the lines of a text begin. They end with `\n`, `\r\n` or `\r`.
#[derive(Debug)]
pub(crate) struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    pub(crate) fn new(text: &str) -> Lines {
        let bytes = text.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(index, byte)| match byte {
            b'\n' => true,
            b'\r' => bytes.get(index + 1) != Some(&b'\n'),
            _ => false,
        });
        Lines { starts: std::iter::once(0).chain(ends.map(|(index, _)| index + 1)).collect() }
    }

    /// The position of a byte of `text`; the last one for what is beyond.
    pub(crate) fn position(&self, text: &str, offset: usize) -> Position {
        let offset = text.floor_char_boundary(offset);
        let line = self.starts.partition_point(|start| *start <= offset) - 1;
        let character = text[self.starts[line]..offset].chars().map(char::len_utf16).sum::<usize>();
        Position { line: line as u32, character: character as u32 }
    }

    pub(crate) fn range(&self, text: &str, bytes: &Range<usize>) -> lsp_types::Range {
        lsp_types::Range { start: self.position(text, bytes.start), end: self.position(text, bytes.end) }
    }

    /// The byte of `text` at a position. What is beyond the end of a line is its end, what is beyond the last line the end of
    /// the text, and half of a character its start.
    pub(crate) fn offset(&self, text: &str, position: Position) -> usize {
        let Some(start) = self.starts.get(position.line as usize).copied() else { return text.len() };
        let next = self.starts.get(position.line as usize + 1).copied().unwrap_or(text.len());
        let line = text[start..next].trim_end_matches(['\n', '\r']);
        let mut units = 0;
        for (offset, character) in line.char_indices() {
            units += character.len_utf16();
            if units > position.character as usize {
                return start + offset;
            }
        }
        start + line.len()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_utf16_units() {
        // One, two and four bytes; one, one and two units.
        let text = "aé😀b\r\nc\rd\n";
        let lines = Lines::new(text);
        for (offset, line, character) in
            [(0, 0, 0), (1, 0, 1), (3, 0, 2), (7, 0, 4), (8, 0, 5), (10, 1, 0), (11, 1, 1), (12, 2, 0), (14, 3, 0)]
        {
            let position = Position { line, character };
            assert_eq!(lines.position(text, offset), position, "{offset}");
            assert_eq!(lines.offset(text, position), offset, "{position:?}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_clamped() {
        let text = "a😀\nb";
        let lines = Lines::new(text);
        assert_eq!(lines.offset(text, Position { line: 0, character: 2 }), 1);
        assert_eq!(lines.offset(text, Position { line: 0, character: 99 }), 5);
        assert_eq!(lines.offset(text, Position { line: 9, character: 0 }), text.len());
        assert_eq!(lines.position(text, 99), Position { line: 1, character: 1 });
        assert_eq!(lines.position(text, 3), Position { line: 0, character: 1 });
        assert_eq!(Lines::new("").position("", 0), Position::default());
    }
}
