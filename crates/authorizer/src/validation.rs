//! Validation files: a schema, relationships, and what must be true of them. Read and run here, for `stonetown validate`, for
//! tests, and for bootstrapping a server.
//!
//! The format is that of SpiceDB's playground and `zed validate`: YAML with `schema` or `schemaFile`, `relationships`,
//! `assertions` (`assertTrue`, `assertCaveated`, `assertFalse`) and `validation`, the complete list of subjects of some
//! permissions.

mod coverage;
mod expected;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use stonetown_graph::Membership;
use stonetown_schema::{CompileOptions, Schema};
use stonetown_storage::{BulkMode, MemoryDatastore};
use stonetown_tuple::{CaveatContext, Consistency, ObjectRef, RelationName, Relationship, SubjectRef};

pub use coverage::Coverage;

use crate::check::CheckRequest;
use crate::{Authorizer, Call, Effort, Error, Given, Options, yaml};

/// A validation file, read but not run.
#[derive(Debug, Clone)]
pub struct ValidationFile {
    /// The schema's text.
    pub schema: String,
    /// All relationships.
    pub relationships: Vec<Relationship>,
    /// What is asserted, in the order of the file.
    pub assertions: Vec<Assertion>,
    /// For each `resource#permission`, the lines that must be found.
    pub expected: BTreeMap<String, Vec<String>>,
}

/// One of several files that count as one: it may go without a schema, which another has.
#[derive(Debug, Clone)]
pub struct ValidationPart {
    /// The schema's text, if it has one.
    pub schema: Option<String>,
    /// Its relationships.
    pub relationships: Vec<Relationship>,
    assertions: Vec<Assertion>,
    expected: BTreeMap<String, Vec<String>>,
}

/// One line of the assertions.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// The resource.
    pub resource: ObjectRef,
    /// The permission.
    pub permission: RelationName,
    /// The subject.
    pub subject: SubjectRef,
    /// Values for caveats.
    pub context: CaveatContext,
    /// What the check must answer.
    pub expected: Verdict,
    /// The line as it stands in the file.
    pub text: String,
}

/// The three answers of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Has the permission.
    True,
    /// Has it under conditions.
    Caveated,
    /// Has it not.
    False,
}

/// What a run found.
#[derive(Debug, Default)]
pub struct Report {
    /// Assertions and expected lists that held.
    pub passed: usize,
    /// Those that did not.
    pub failures: Vec<Failure>,
}

/// An assertion or list that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The line of the file it is about.
    pub subject: String,
    /// What is the case instead.
    pub found: String,
}

/// Why a validation file cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ValidationError {
    /// Not YAML of the expected form.
    #[error("not a validation file: {0}")]
    Form(String),
    /// The schema file it names cannot be read.
    #[error("schema file `{path}`: {why}")]
    SchemaFile {
        /// Its path.
        path: String,
        /// What went wrong.
        why: String,
    },
    /// A relationship or assertion that cannot be read.
    #[error("line `{line}`: {why}")]
    Line {
        /// The line.
        line: String,
        /// What is wrong.
        why: String,
    },
    /// Schema or relationships were refused.
    #[error(transparent)]
    Refused(#[from] Error),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    schema: Option<String>,
    schema_file: Option<String>,
    relationships: Option<String>,
    assertions: Option<Assertions>,
    validation: Option<BTreeMap<String, Option<Vec<String>>>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Assertions {
    assert_true: Option<Vec<String>>,
    assert_caveated: Option<Vec<String>>,
    assert_false: Option<Vec<String>>,
}

impl ValidationPart {
    /// Reads the text of a validation file. `schema_file` fetches the file that `schemaFile` names.
    ///
    /// # Errors
    /// See [`ValidationError`].
    pub fn parse(
        text: &str,
        schema_file: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<ValidationPart, ValidationError> {
        let document: Document = yaml::parse(text).map_err(|error| ValidationError::Form(error.to_string()))?;
        let schema = match (document.schema, document.schema_file) {
            (Some(_), Some(_)) => {
                return Err(ValidationError::Form("both `schema` and `schemaFile` are given".to_owned()));
            }
            (None, Some(path)) => {
                let fetched = schema_file(&path);
                Some(fetched.map_err(|why| ValidationError::SchemaFile { path: path.clone(), why })?)
            }
            (schema, None) => schema,
        };
        let schema = schema.map(|text| composed(text, schema_file)).transpose()?;
        let relationships = parse_relationships(document.relationships.as_deref().unwrap_or_default())?;
        let listed = document.assertions.unwrap_or_default();
        let mut assertions = Vec::new();
        for (expected, lines) in [
            (Verdict::True, listed.assert_true),
            (Verdict::Caveated, listed.assert_caveated),
            (Verdict::False, listed.assert_false),
        ] {
            for line in lines.unwrap_or_default() {
                assertions.push(Assertion::parse(&line, expected)?);
            }
        }
        let expected = document.validation.unwrap_or_default();
        let expected = expected.into_iter().map(|(key, lines)| (key, lines.unwrap_or_default())).collect();
        Ok(ValidationPart { schema, relationships, assertions, expected })
    }
}

impl ValidationFile {
    /// Reads the text of a validation file. `schema_file` fetches the file that `schemaFile` names.
    ///
    /// # Errors
    /// See [`ValidationError`].
    pub fn parse(
        text: &str,
        schema_file: &dyn Fn(&str) -> Result<String, String>,
    ) -> Result<ValidationFile, ValidationError> {
        ValidationFile::join(vec![ValidationPart::parse(text, schema_file)?])
    }

    /// Several files as one: every definition of each, all relationships, all that is asserted.
    ///
    /// # Errors
    /// When none has a schema, or several have schemas that do not go together.
    pub fn join(parts: Vec<ValidationPart>) -> Result<ValidationFile, ValidationError> {
        let mut file = ValidationFile {
            schema: String::new(),
            relationships: vec![],
            assertions: vec![],
            expected: BTreeMap::new(),
        };
        let mut schemas = Vec::new();
        for part in parts {
            schemas.extend(part.schema);
            file.relationships.extend(part.relationships);
            file.assertions.extend(part.assertions);
            file.expected.extend(part.expected);
        }
        file.schema = match schemas.len() {
            0 => return Err(ValidationError::Form("neither `schema` nor `schemaFile` is given".to_owned())),
            1 => schemas.remove(0),
            _ => join_schemas(&schemas)?,
        };
        Ok(file)
    }

    /// The call that asks: the contexts of assertions play the server and stored attributes, too.
    pub(crate) fn call() -> Call {
        Call { given: Given::Context, ..Call::new("validate") }
    }

    /// Puts schema and relationships into a store of their own, in memory.
    ///
    /// # Errors
    /// When the schema does not compile or does not allow a relationship.
    pub fn load(&self) -> Result<Authorizer, ValidationError> {
        let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), Options::default()).map_err(Error::from)?;
        self.load_into(&authorizer, &Call::new("validate"))?;
        Ok(authorizer)
    }

    /// Replaces the schema of a store and adds the relationships, those that are there already included. Nobody is asked why.
    ///
    /// # Errors
    /// When the schema does not compile or does not allow a relationship.
    pub fn load_into(&self, authorizer: &Authorizer, call: &Call) -> Result<(), Error> {
        authorizer.write_schema(call, &self.schema)?;
        if self.relationships.is_empty() {
            return Ok(());
        }
        let mut import = authorizer.import(call, BulkMode::Touch)?.of_a_file();
        import.push(self.relationships.clone())?;
        import.finish()?;
        Ok(())
    }

    /// Runs all assertions and lists.
    ///
    /// # Errors
    /// When schema or relationships are refused. What does not hold is in the report.
    pub fn run(&self) -> Result<Report, ValidationError> {
        let authorizer = self.load()?;
        let mut report = Report::default();
        for assertion in &self.assertions {
            report.add(assertion.run(&authorizer));
        }
        for (key, lines) in &self.expected {
            report.add(expected::run(&authorizer, key, lines)?);
        }
        Ok(report)
    }
}

/// A schema without imports: what it imports is folded in, looked for where `schemaFile` is.
fn composed(text: String, import: &dyn Fn(&str) -> Result<String, String>) -> Result<String, ValidationError> {
    if !text.lines().any(|line| line.trim_start().starts_with("import ")) {
        return Ok(text);
    }
    let options = CompileOptions { imports: Some(import), ..CompileOptions::default() };
    Ok(Schema::compile(&text, &options).map_err(Error::Schema)?.text())
}

/// One schema with the definitions of all. Each keeps its own `use`, so they are compiled as imports of one that is empty.
fn join_schemas(schemas: &[String]) -> Result<String, ValidationError> {
    let imports: String = (0..schemas.len()).map(|n| format!("import \"{n}\"\n")).collect();
    let resolve = |path: &str| {
        let schema = path.parse().ok().and_then(|n: usize| schemas.get(n));
        schema.cloned().ok_or_else(|| format!("`{path}` is not among the files"))
    };
    let options = CompileOptions { imports: Some(&resolve), ..CompileOptions::default() };
    let joined = Schema::compile(&format!("use import\n{imports}"), &options).map_err(Error::Schema)?;
    Ok(joined.text())
}

impl Report {
    /// Counts what held, or keeps why it did not.
    fn add(&mut self, outcome: Option<Failure>) {
        match outcome {
            None => self.passed += 1,
            Some(failure) => self.failures.push(failure),
        }
    }
}

impl Assertion {
    fn parse(line: &str, expected: Verdict) -> Result<Assertion, ValidationError> {
        let wrong = |why: String| ValidationError::Line { line: line.to_owned(), why };
        let (question, context) = match line.split_once(" with ") {
            None => (line, CaveatContext::new()),
            Some((question, json)) => {
                let context: CaveatContext =
                    serde_json::from_str(json).map_err(|error| wrong(format!("the context is not JSON: {error}")))?;
                let normal = |(key, value)| (key, stonetown_tuple::relationship::normalize(value));
                (question, context.into_iter().map(normal).collect())
            }
        };
        let asked: Relationship = question
            .trim()
            .parse()
            .map_err(|error: stonetown_tuple::ParseRelationshipError| wrong(error.to_string()))?;
        Ok(Assertion {
            resource: asked.resource,
            permission: asked.relation,
            subject: asked.subject,
            context,
            expected,
            text: line.to_owned(),
        })
    }

    fn run(&self, authorizer: &Authorizer) -> Option<Failure> {
        let request = CheckRequest {
            freshness: Consistency::FullyConsistent.into(),
            resource: self.resource.clone(),
            permission: self.permission.clone(),
            subject: self.subject.clone(),
            context: self.context.clone(),
            with: Vec::new(),
            trace: false,
        };
        let found = match authorizer.check(&ValidationFile::call(), &request, Effort::Full) {
            Ok(answer) if Verdict::of(&answer.membership) == self.expected => return None,
            Ok(answer) => describe(&answer.membership),
            Err(error) => error.to_string(),
        };
        Some(Failure { subject: format!("{} {}", self.expected, self.text), found })
    }
}

impl Verdict {
    fn of(membership: &Membership) -> Verdict {
        match membership {
            Membership::Member => Verdict::True,
            Membership::Conditional(_) => Verdict::Caveated,
            Membership::NotMember => Verdict::False,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::True => "assertTrue",
            Verdict::Caveated => "assertCaveated",
            Verdict::False => "assertFalse",
        })
    }
}

fn describe(membership: &Membership) -> String {
    match membership {
        Membership::Member => "the subject has the permission".to_owned(),
        Membership::NotMember => "the subject does not have the permission".to_owned(),
        Membership::Conditional(missing) => {
            let missing: Vec<_> = missing.iter().map(String::as_str).collect();
            format!("the subject has the permission under conditions; missing: {}", missing.join(", "))
        }
    }
}

/// Reads one relationship per line; empty lines and those that begin with `//` are skipped.
///
/// # Errors
/// [`ValidationError::Line`] for the first line that cannot be read.
pub fn parse_relationships(text: &str) -> Result<Vec<Relationship>, ValidationError> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .map(|line| {
            line.parse().map_err(|error: stonetown_tuple::ParseRelationshipError| ValidationError::Line {
                line: line.to_owned(),
                why: error.to_string(),
            })
        })
        .collect()
}
