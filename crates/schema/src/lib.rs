//! The schema language: what types of objects there are, how they relate, and which permissions follow.
//!
//! One front door, [`Schema::compile`], takes text and returns either a [`Schema`], in which every name is well-formed
//! and every reference resolves, or a list of [`SchemaError`]s with positions. [`format()`] lays text out without changing
//! its meaning, [`lint()`] warns of what is allowed but rarely meant, [`diff()`] compares two schemas, [`dependents`] and
//! [`dependencies`] say what hangs on what. Everything is pure: no files (imports are read by a
//! function of the caller), no clock, no stored relationships.
//!
//! The language is that of SpiceDB; `docs/schema-language.md` describes it. CEL inside caveats belongs to
//! `stonetown-caveat`, names to `stonetown-tuple`.
//!
//! ```
//! use stonetown_schema::{CompileOptions, Schema};
//!
//! let text = "definition user {}\ndefinition document {\n  relation viewer: user\n  permission view = viewer\n}";
//! let schema = Schema::compile(text, &CompileOptions::default()).map_err(|errors| errors[0].render(text)).unwrap();
//! assert!(schema.definition("document").is_some_and(|document| document.permission("view").is_some()));
//! ```
//!
//! Reading order: [`schema`](Schema) (the result), `syntax`, `lexer`, `parser`, `annotations`, `guards`, `imports`, `partials`, `compile`,
//! `sources`, `listing`, `check`; then `text` (the canonical form), `rewrite`, `format`, `lint`, `diff` and `reachability`; `outline` and
//! `complete` are for editors.

mod annotations;
mod check;
mod compile;
mod complete;
mod diff;
mod error;
mod format;
mod guards;
mod imports;
mod lexer;
mod limits;
mod lint;
mod listing;
mod outline;
mod parser;
mod partials;
mod reachability;
mod rewrite;
mod schema;
mod sources;
mod syntax;
#[cfg(test)]
mod testing;
mod text;

pub use compile::{CompileOptions, ResolveImport};
pub use complete::{Completion, CompletionKind, Completions, complete};
pub use diff::{CaveatChange, Difference, PermissionChange, RelationChange, diff};
pub use error::{SchemaError, SchemaErrorKind, Span};
pub use format::format;
pub use guards::Guard;
pub use limits::{
    ANNOTATION_STEPS_MAX, ARROW_TYPES_MAX, CAVEAT_PARAMETERS_MAX, CAVEATS_MAX, ERRORS_MAX, EXCERPT_CHARACTERS_MAX,
    EXPRESSION_TERMS_MAX, FILES_MAX, MEMBERS_MAX, MESSAGE_CHARACTERS_MAX, NESTING_MAX, PATTERN_BYTES_MAX,
    SCHEMA_BYTES_MAX, WARNINGS_MAX,
};
pub use lint::{Warning, lint};
pub use outline::{Location, Outline, OutlineFile, Symbol, SymbolKind};
pub use reachability::{Reached, dependencies, dependents};
pub use rewrite::Rewriting;
pub use schema::{
    AllowedType, ArrowFunction, CaveatDefinition, Definition, Expression, Member, Permission, Relation, Schema,
    SubjectForm,
};
pub use sources::ParameterSource;
/// Of caveats, for those who look at them by this crate alone.
pub use stonetown_caveat::{Parameter, ParameterType};
