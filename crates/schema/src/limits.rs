//! How large a schema may be. All limits hold after partials and imports are folded in.

/// Bytes of schema text, imports included; also of the canonical text.
pub const SCHEMA_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Depth of a permission's expression, of its parentheses, of a parameter's type, and of imports and partials that use
/// each other.
pub const NESTING_MAX: usize = 100;
/// Relations and permissions of all definitions together.
/// What is worked out beforehand about how they depend on each other takes up to a bit for each pair of them.
pub const MEMBERS_MAX: usize = 20_000;
/// Operands of all permissions together.
pub const EXPRESSION_TERMS_MAX: usize = 250_000;
/// Allowed types of the relations that arrows walk, over all arrows together.
pub const ARROW_TYPES_MAX: usize = 1_000_000;
/// Caveats.
pub const CAVEATS_MAX: usize = 2_000;
/// Bytes that the regular expressions of all caveats hold together, with 16 KiB for each to match in.
pub const PATTERN_BYTES_MAX: usize = 64 << 20;
/// Parameters of one caveat; at least one is needed.
pub const CAVEAT_PARAMETERS_MAX: usize = 20;
/// Imported files.
pub const FILES_MAX: usize = 1_000;
/// Errors reported at once; what follows is dropped.
pub const ERRORS_MAX: usize = 100;
/// Warnings given at once; what follows is dropped.
pub const WARNINGS_MAX: usize = 1_000;
/// Characters of an error's message.
pub const MESSAGE_CHARACTERS_MAX: usize = 1_000;
/// Characters of a line that are shown with an error or warning.
pub const EXCERPT_CHARACTERS_MAX: usize = 160;
/// Relations and permissions that are looked at, in all, to compare annotations with what permissions reach.
pub const ANNOTATION_STEPS_MAX: usize = 10_000_000;
