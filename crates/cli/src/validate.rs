//! `stonetown validate`: tests policies without a server.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde_json::json;
use stonetown_authorizer::Error;
use stonetown_authorizer::validation::{Coverage, Report, ValidationError, ValidationFile};

use crate::Outcome;
use crate::output::Output;
use crate::schema::{SchemaFile, is_standard_input, read_text};

/// `validate`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Validation files (YAML with schema, relationships, assertions and expected subjects), schema files (`.zed`), folders
    /// of them; `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the files are, where their names do not tell.
    #[arg(long = "type", value_enum, value_name = "TYPE")]
    kind: Option<Kind>,
    /// Exit with 1 also when there are only warnings.
    #[arg(long)]
    fail_on_warn: bool,
    /// Tell which relations, permissions and branches of permissions no assertion reaches.
    #[arg(long)]
    coverage: bool,
    /// Exit with 1 when the assertions of a file reach less than so many of a hundred parts of its schema.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    min_coverage: Option<u8>,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A validation file.
    Yaml,
    /// A schema.
    Zed,
}

/// What was found in one file.
#[derive(Default)]
struct Found {
    report: Report,
    warnings: Vec<String>,
    coverage: Option<Coverage>,
}

/// Tests each file; [`Outcome::Invalid`] when one does not hold.
pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::Done;
    for path in all_files(&args.files)? {
        let name = if is_standard_input(&path) { "standard input".to_owned() } else { path.display().to_string() };
        let found = match kind(&path, args.kind) {
            Kind::Yaml => validation_file(&path, args),
            Kind::Zed => schema_file(&path),
        };
        let found = match found {
            Ok(found) => found,
            // One that cannot be read does not keep the others from being tested.
            Err(error) => {
                output.error(&error.context(name));
                outcome = Outcome::Invalid;
                continue;
            }
        };
        print(&name, &found, output);
        let too_little = match (&found.coverage, args.min_coverage) {
            (Some(coverage), Some(min)) => coverage.percent() < usize::from(min),
            _ => false,
        };
        let warned = args.fail_on_warn && !found.warnings.is_empty();
        if !found.report.failures.is_empty() || warned || too_little {
            outcome = Outcome::Invalid;
        }
    }
    Ok(outcome)
}

/// The files, and those in the folders, in the order of their names.
fn all_files(given: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in given {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        in_folder(path, &mut files).with_context(|| format!("`{}`", path.display()))?;
        if files.len() == before {
            bail!("`{}` has no `.yaml`, `.yml` or `.zed` file", path.display());
        }
    }
    Ok(files)
}

fn in_folder(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // A link to a folder is not followed: it may lead back.
        if entry.file_type()?.is_dir() {
            in_folder(&path, files)?;
        } else if path.extension().is_some_and(|name| name == "yaml" || name == "yml" || name == "zed") {
            files.push(path);
        }
    }
    Ok(())
}

fn kind(path: &Path, told: Option<Kind>) -> Kind {
    let by_name = if path.extension().is_some_and(|name| name == "zed") { Kind::Zed } else { Kind::Yaml };
    told.unwrap_or(by_name)
}

fn validation_file(path: &Path, args: &Args) -> anyhow::Result<Found> {
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    let read_schema = |schema: &str| std::fs::read_to_string(folder.join(schema)).map_err(|error| error.to_string());
    let file = ValidationFile::parse(&read_text(path)?, &read_schema)?;
    let report = match file.run() {
        Err(ValidationError::Refused(Error::Schema(errors))) => {
            let shown: Vec<_> = errors.iter().map(|error| error.render(&file.schema)).collect();
            bail!("the schema does not compile\n{}", shown.join("\n"));
        }
        run => run?,
    };
    let coverage = (args.coverage || args.min_coverage.is_some()).then(|| file.coverage()).transpose()?;
    let schema = SchemaFile::new("schema".to_owned(), file.schema.clone(), folder);
    Ok(Found { report, warnings: warnings(&schema)?, coverage })
}

fn schema_file(path: &Path) -> anyhow::Result<Found> {
    let schema = SchemaFile::read(path)?;
    schema.compile()?;
    Ok(Found { warnings: warnings(&schema)?, ..Found::default() })
}

fn warnings(schema: &SchemaFile) -> anyhow::Result<Vec<String>> {
    Ok(schema.lint()?.iter().map(|warning| schema.render(warning)).collect())
}

fn print(name: &str, found: &Found, output: Output) {
    let Found { report, warnings, coverage } = found;
    let mut lines = vec![format!("{name}: {} passed, {} failed", report.passed, report.failures.len())];
    lines.extend(report.failures.iter().map(|failure| format!("  {}\n    found: {}", failure.subject, failure.found)));
    lines.extend(warnings.iter().map(|warning| format!("  warning: {}", warning.replace('\n', "\n  "))));
    if let Some(coverage) = coverage {
        let reached = coverage.parts - coverage.untouched.len();
        lines.push(format!(
            "  {}% of the schema: assertions reach {reached} of {} parts",
            coverage.percent(),
            coverage.parts
        ));
        lines.extend(coverage.untouched.iter().map(|part| format!("    not reached: {part}")));
    }
    output.result(lines.join("\n"), || {
        json!({
            "file": name,
            "passed": report.passed,
            "failures": report.failures.iter().map(|failure| json!({
                "subject": failure.subject,
                "found": failure.found.trim(),
            })).collect::<Vec<_>>(),
            "warnings": warnings,
            "coverage": coverage.as_ref().map(|coverage| json!({
                "percent": coverage.percent(),
                "parts": coverage.parts,
                "untouched": coverage.untouched,
            })),
        })
    });
}
