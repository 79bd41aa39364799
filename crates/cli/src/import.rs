//! `stonetown import`: schema and relationships from a validation file into a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use serde_json::json;
use stonetown_api::proto::authzed::api::v1 as pb;
use stonetown_authorizer::validation::ValidationPart;
use stonetown_tuple::Relationship;
use tokio::sync::Mutex;

use crate::backup::rewrite::compile;
use crate::client::Client;
use crate::output::{Output, relationships_text};
use crate::schema::{Prefix, SchemaFile, read_text};
use crate::why::Why;
use crate::{Outcome, progress, wire};

/// Most updates of one write.
const UPDATES_MAX: u32 = 1_000;
/// Most writes at a time.
const WORKERS_MAX: u32 = 64;

/// `import`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A validation file, as the playground exports it, or a schema (`.zed`); `-` for standard input, so that
    /// `curl -s URL | stonetown import -` takes one from the web.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Whether the schema is written.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    schema: bool,
    /// Whether the relationships are written.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    relationships: bool,
    /// Refuse relationships that are there already, instead of replacing them.
    #[arg(long)]
    create: bool,
    /// Relationships written together.
    #[arg(long, default_value_t = UPDATES_MAX, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(UPDATES_MAX)))]
    batch_size: u32,
    /// Writes at a time.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(WORKERS_MAX)))]
    workers: u32,
    #[command(flatten)]
    prefix: Prefix,
    #[command(flatten)]
    why: Why,
}

pub(crate) async fn run(mut client: Client, args: Args, output: Output) -> anyhow::Result<Outcome> {
    ensure!(args.schema || args.relationships, "nothing is to be imported: neither the schema nor the relationships");
    let (schema, relationships) = read(&args.file)?;
    let schema = schema.map(|schema| args.prefix.schema(schema)).transpose()?;
    let prefix = args.prefix.get();
    let relationships =
        relationships.into_iter().map(|one| prefixed(one, prefix)).collect::<anyhow::Result<Vec<_>>>()?;
    let written_schema = match schema {
        Some(schema) if args.schema => {
            client
                .schema
                .write_schema(pb::WriteSchemaRequest { schema })
                .await
                .context("the schema was not written")?;
            true
        }
        None if args.schema && !args.relationships => bail!("`{}` has no schema", args.file.display()),
        _ => false,
    };
    let count = if args.relationships { relationships.len() } else { 0 };
    if args.relationships {
        write(&client, relationships, &args, output).await?;
    }
    let schema = if written_schema { "the schema and " } else { "" };
    output.result(
        format!("imported {schema}{}", relationships_text(count as u64)),
        || json!({ "schema": written_schema, "relationships": count }),
    );
    Ok(Outcome::Done)
}

/// The schema, if there is one, and the relationships of a file.
fn read(file: &Path) -> anyhow::Result<(Option<String>, Vec<Relationship>)> {
    let path = file.to_str().and_then(|text| text.strip_prefix("file://")).map_or(file, Path::new);
    let name = || format!("`{}`", path.display());
    if let Some(url) = path.to_str().filter(|text| text.starts_with("http://") || text.starts_with("https://")) {
        bail!("addresses are not fetched: use `curl -s {url} | stonetown import -`");
    }
    if path.extension().is_some_and(|name| name == "zed") {
        let schema = SchemaFile::read(path)?;
        return Ok((Some(schema.compile()?.text()), Vec::new()));
    }
    let folder = path.parent().map(PathBuf::from).unwrap_or_default();
    let schema_file = |schema: &str| std::fs::read_to_string(folder.join(schema)).map_err(|error| error.to_string());
    let part = ValidationPart::parse(&read_text(path)?, &schema_file).with_context(name)?;
    // Compiled here first: with the text at hand, errors can show the line they are about.
    let schema = part.schema.map(|text| compile(&text).map(|_| text).context("the schema does not compile"));
    Ok((schema.transpose().with_context(name)?, part.relationships))
}

fn prefixed(relationship: Relationship, prefix: Option<&str>) -> anyhow::Result<Relationship> {
    let Some(prefix) = prefix else { return Ok(relationship) };
    let Relationship { resource, relation, subject, caveat, not_before, expires_at } = relationship;
    let caveat = caveat
        .map(|caveat| -> anyhow::Result<_> {
            let name = stonetown_tuple::CaveatName::new(format!("{prefix}/{}", caveat.name))?;
            Ok(stonetown_tuple::CaveatRef { name, context: caveat.context })
        })
        .transpose()?;
    Ok(Relationship {
        resource: format!("{prefix}/{resource}").parse()?,
        relation,
        subject: format!("{prefix}/{subject}").parse()?,
        caveat,
        not_before,
        expires_at,
    })
}

/// Writes all, some batches at a time.
async fn write(client: &Client, relationships: Vec<Relationship>, args: &Args, output: Output) -> anyhow::Result<()> {
    use pb::relationship_update::Operation;
    let operation = if args.create { Operation::Create } else { Operation::Touch };
    let bar = progress::count(output, "relationships imported");
    if let Some(pending) = relationships.iter().find(|relationship| relationship.not_before.is_some()) {
        anyhow::bail!("`{pending}` has a start, which an import cannot keep: write it with `relationship touch`");
    }
    let batches: Vec<Vec<_>> = relationships
        .chunks(args.batch_size as usize)
        .map(|batch| {
            let update = |relationship| pb::RelationshipUpdate {
                operation: operation.into(),
                relationship: Some(wire::relationship(relationship)),
            };
            batch.iter().map(update).collect()
        })
        .collect();
    let batches = Arc::new(Mutex::new(batches.into_iter()));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..args.workers {
        let (mut permissions, batches, bar) = (client.permissions.clone(), Arc::clone(&batches), bar.clone());
        let why = args.why.clone();
        workers.spawn(async move {
            loop {
                let Some(updates) = batches.lock().await.next() else { return Ok(()) };
                let count = updates.len() as u64;
                let request = pb::WriteRelationshipsRequest { updates, ..Default::default() };
                permissions.write_relationships(why.request(request)).await?;
                bar.inc(count);
            }
        });
    }
    let mut outcome = Ok(());
    while let Some(ended) = workers.join_next().await {
        let ended: Result<(), tonic::Status> = ended?;
        // What the others have begun they finish; the first error is told.
        outcome = outcome.and(ended);
    }
    let written = bar.position();
    bar.finish_and_clear();
    outcome.with_context(|| format!("{written} of {} were written", relationships_text(relationships.len() as u64)))
}
