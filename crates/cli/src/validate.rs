//! `stonetown validate`: tests a policy without a server.

use std::path::PathBuf;

use anyhow::Context;
use serde_json::json;
use stonetown_authorizer::Error;
use stonetown_authorizer::validation::{ValidationError, ValidationFile};

use crate::Outcome;
use crate::output::Output;
use crate::schema::read_text;

/// `validate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Validation files (YAML with schema, relationships, assertions and expected subjects); `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Tests each file; [`Outcome::Invalid`] when one does not hold.
pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Done;
    for path in &args.files {
        let name = path.display();
        let text = read_text(path)?;
        let folder = path.parent().map(PathBuf::from).unwrap_or_default();
        let read_schema =
            |schema: &str| std::fs::read_to_string(folder.join(schema)).map_err(|error| error.to_string());
        let file = ValidationFile::parse(&text, &read_schema).with_context(|| name.to_string())?;
        let report = match file.run() {
            Err(ValidationError::Refused(Error::Schema(errors))) => {
                let shown: Vec<_> = errors.iter().map(|error| error.render(&file.schema)).collect();
                anyhow::bail!("{name}: the schema does not compile\n{}", shown.join("\n"));
            }
            run => run.with_context(|| name.to_string())?,
        };
        if !report.failures.is_empty() {
            outcome = Outcome::Invalid;
        }
        let mut lines = vec![format!("{name}: {} passed, {} failed", report.passed, report.failures.len())];
        lines.extend(
            report.failures.iter().map(|failure| format!("  {}\n    found: {}", failure.subject, failure.found)),
        );
        output.result(lines.join("\n"), || {
            json!({
                "file": name.to_string(),
                "passed": report.passed,
                "failures": report.failures.iter().map(|failure| json!({
                    "subject": failure.subject,
                    "found": failure.found.trim(),
                })).collect::<Vec<_>>(),
            })
        });
    }
    Ok(outcome)
}
