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

/// The largest compiled regular expression, in bytes.
pub const REGEX_BYTES_MAX: usize = 256 * 1024;
