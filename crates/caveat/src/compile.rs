//! From the text of an expression to a caveat that can be evaluated.

use std::fmt;
use std::sync::Arc;

use cel::common::ast::{IdedExpr, SourceInfo};

use crate::check::{self, Checked};
use crate::context::{Arguments, ContextError};
use crate::evaluate::{self, EvaluateError, Outcome};
use crate::limits::{EVALUATION_STEPS_MAX, EXPRESSION_BYTES_MAX, NESTING_MAX, PARAMETERS_MAX};
use crate::nesting;
use crate::types::Parameter;
use stonetown_tuple::CaveatContext;

/// The stack of the thread that compiles. The parser takes up to 300 kB per level of nesting when it is not optimised;
/// the memory is touched only as far as it is used.
const COMPILE_STACK_BYTES: usize = 64 * 1024 * 1024;

/// A compiled condition. Cheap to clone; can be shared between threads.
#[derive(Clone)]
pub struct Caveat {
    inner: Arc<Inner>,
}

struct Inner {
    parameters: Vec<Parameter>,
    expression: String,
    checked: Checked,
}

/// Why an expression is no caveat.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CompileError {
    /// Where in the expression, as a byte offset.
    pub offset: usize,
    /// What is wrong, in a sentence without position.
    pub message: String,
}

impl CompileError {
    pub(crate) fn new(offset: usize, message: impl Into<String>) -> Self {
        CompileError { offset, message: message.into() }
    }
}

impl Caveat {
    /// Parses and type-checks `expression`, which sees `parameters` by their names and must result in a bool.
    ///
    /// # Errors
    /// The first thing that is wrong: a limit of [`limits`](crate::limits) is exceeded, a parameter name comes twice,
    /// the text is not CEL, a name is not declared, or a function does not take the types it is given.
    pub fn compile(parameters: Vec<Parameter>, expression: &str) -> Result<Caveat, CompileError> {
        if parameters.len() > PARAMETERS_MAX {
            let message = format!("a caveat has at most {PARAMETERS_MAX} parameters, found {}", parameters.len());
            return Err(CompileError::new(0, message));
        }
        for (index, parameter) in parameters.iter().enumerate() {
            if parameters[..index].iter().any(|earlier| earlier.name == parameter.name) {
                return Err(CompileError::new(0, format!("parameter `{}` is declared twice", parameter.name)));
            }
        }
        if expression.len() > EXPRESSION_BYTES_MAX {
            let message = format!("the expression has {} bytes, more than {EXPRESSION_BYTES_MAX}", expression.len());
            return Err(CompileError::new(0, message));
        }
        nesting::check(expression)?;
        let checked = on_a_large_stack(|| parse_and_check(&parameters, expression))?;
        Ok(Caveat { inner: Arc::new(Inner { parameters, expression: expression.to_owned(), checked }) })
    }

    /// The parameters as they were declared.
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.inner.parameters
    }

    /// The expression as it was written.
    #[must_use]
    pub fn expression(&self) -> &str {
        &self.inner.expression
    }

    /// The parameters that the expression never mentions.
    #[must_use]
    pub fn unused_parameters(&self) -> Vec<&str> {
        let used = self.inner.checked.used;
        let names = self.inner.parameters.iter().enumerate();
        names.filter(|(index, _)| used & (1 << index) == 0).map(|(_, parameter)| parameter.name.as_str()).collect()
    }

    /// What its regular expressions hold in memory, in bytes.
    #[must_use]
    pub fn pattern_bytes(&self) -> usize {
        self.inner.checked.pattern_bytes
    }

    /// Reads a context that is to be stored: every key must be a parameter, and every value have its type.
    ///
    /// # Errors
    /// Names the first key that is no parameter or whose value has another type.
    pub fn bind(&self, context: &CaveatContext) -> Result<Arguments, ContextError> {
        if let Some(key) = context.keys().find(|key| !self.inner.parameters.iter().any(|p| &&p.name == key)) {
            return Err(ContextError::UnknownParameter { parameter: key.clone() });
        }
        Arguments::read(&self.inner.parameters, context)
    }

    /// Reads the context of a request, which may have been meant for several caveats: other keys are ignored.
    ///
    /// # Errors
    /// Names the first parameter whose value has another type.
    pub fn bind_request(&self, context: &CaveatContext) -> Result<Arguments, ContextError> {
        Arguments::read(&self.inner.parameters, context)
    }

    /// Decides the condition. Where both arguments have a value for a parameter, the stored one counts.
    ///
    /// # Errors
    /// The expression has no result for these values (a missing key, a division by zero, an overflow …), or
    /// takes more than [`EVALUATION_STEPS_MAX`](crate::limits::EVALUATION_STEPS_MAX) steps. Neither is an answer.
    pub fn evaluate(&self, stored: &Arguments, request: &Arguments) -> Result<Outcome, EvaluateError> {
        self.evaluate_within(stored, request, EVALUATION_STEPS_MAX).0
    }

    /// As [`Caveat::evaluate`], within fewer steps; with the steps that it took, all of them where they did not suffice.
    pub fn evaluate_within(
        &self,
        stored: &Arguments,
        request: &Arguments,
        steps_max: u32,
    ) -> (Result<Outcome, EvaluateError>, u32) {
        let steps_max = steps_max.min(EVALUATION_STEPS_MAX);
        evaluate::outcome(&self.inner.checked.root, &self.inner.parameters, stored, request, steps_max)
    }
}

impl fmt::Debug for Caveat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caveat")
            .field("parameters", &self.inner.parameters)
            .field("expression", &self.inner.expression)
            .finish_non_exhaustive()
    }
}

/// Runs `work` on a thread of its own, because the parser's recursion needs more stack than a caller may have left. A
/// panic in it ends as an error here.
pub(crate) fn on_a_large_stack<T: Send>(
    work: impl FnOnce() -> Result<T, CompileError> + Send,
) -> Result<T, CompileError> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("caveat-compile".to_owned()).stack_size(COMPILE_STACK_BYTES);
        let thread = builder
            .spawn_scoped(scope, work)
            .map_err(|error| CompileError::new(0, format!("no thread to compile the expression on: {error}")))?;
        thread.join().unwrap_or_else(|_| Err(CompileError::new(0, "the expression cannot be parsed")))
    })
}

fn parse_and_check(parameters: &[Parameter], expression: &str) -> Result<Checked, CompileError> {
    let (tree, source) = parse(expression)?;
    check::check(parameters, &tree, &source)
}

/// The syntax tree of an expression whose nesting has been checked. Needs a large stack.
pub(crate) fn parse(expression: &str) -> Result<(IdedExpr, SourceInfo), CompileError> {
    let depth_max = u16::try_from(NESTING_MAX).unwrap_or(u16::MAX);
    let parser = cel::parser::Parser::new()
        .max_recursion_depth(depth_max)
        .error_recovery_limit(1)
        .enable_optional_syntax(true)
        .enable_ident_escape_syntax(true);
    parser.parse_with_source_info(expression).map_err(|errors| syntax_error(expression, &errors))
}

/// The first error of the parser, which counts lines and characters from 1.
fn syntax_error(expression: &str, errors: &cel::ParseErrors) -> CompileError {
    let Some(first) = errors.errors.first() else { return CompileError::new(0, "the expression cannot be parsed") };
    let line = usize::try_from(first.pos.0 - 1).unwrap_or(0);
    let column = usize::try_from(first.pos.1 - 1).unwrap_or(0);
    let line_start: usize = expression.split_inclusive('\n').take(line).map(str::len).sum();
    let in_line: usize = expression[line_start..].chars().take(column).map(char::len_utf8).sum();
    CompileError::new(line_start + in_line, reword(first.msg.strip_prefix("Syntax error: ").unwrap_or(&first.msg)))
}

/// The parser lists all tokens it would have taken; what it found says more.
fn reword(message: &str) -> String {
    const FINDINGS: [&str; 4] =
        ["mismatched input ", "extraneous input ", "no viable alternative at input ", "token recognition error at: "];
    if let Some((missing, found)) = message.strip_prefix("missing ").and_then(|rest| rest.split_once(" at ")) {
        return format!("expected {} before {}", name_token(missing), name_token(found));
    }
    match FINDINGS.iter().find_map(|finding| message.strip_prefix(finding)) {
        Some(rest) => {
            let found = rest.rsplit_once(" expecting ").map_or(rest, |(found, _)| found);
            format!("unexpected {}", name_token(found))
        }
        None => message.to_owned(),
    }
}

/// The parser puts tokens between single quotes.
fn name_token(quoted: &str) -> String {
    match quoted.strip_prefix('\'').and_then(|token| token.strip_suffix('\'')).unwrap_or(quoted) {
        "<EOF>" => "end of the expression".to_owned(),
        token => format!("`{token}`"),
    }
}
