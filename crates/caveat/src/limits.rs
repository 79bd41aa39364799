//! What a caveat may cost, in one place.

/// The longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 100_000;

/// The deepest nesting of an expression: brackets, calls, and chains of operators or selections count one per level.
pub const NESTING_MAX: usize = 100;

/// The most parameters of one caveat.
pub const PARAMETERS_MAX: usize = 20;

/// The deepest nesting of a parameter type, such as `list<map<string>>`, which has three.
pub const TYPE_NESTING_MAX: usize = 16;

/// The deepest nesting of a value for a parameter of type `any`.
pub const VALUE_NESTING_MAX: usize = 64;

/// The most steps of one evaluation. Each node of the expression that is visited is a step, and so are each element
/// of a list that is walked or copied and every 16 bytes of a text that is made.
pub const EVALUATION_STEPS_MAX: u32 = 100_000;

/// The largest compiled regular expression that is a part of the expression, in bytes.
pub const PATTERN_BYTES_MAX: usize = 256 * 1024;

/// The largest one that is a value, in bytes: it is compiled in every evaluation.
pub const GIVEN_PATTERN_BYTES_MAX: usize = 64 * 1024;

/// The most that the regular expressions of one caveat hold together, in bytes, with 16 KiB for each to match in.
pub const PATTERNS_BYTES_MAX: usize = 4 << 20;

/// The most characters of a value in a message.
const SHOWN_CHARACTERS_MAX: usize = 60;

/// The beginning of a value, for a message.
pub(crate) fn shortened(text: &str) -> &str {
    text.char_indices().nth(SHOWN_CHARACTERS_MAX).map_or(text, |(end, _)| &text[..end])
}
