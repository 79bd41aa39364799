//! `stonetown backup redact`: a backup without its names, to show to others.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use serde_json::json;
use stonetown_api::proto::authzed::api::v1 as pb;
use stonetown_schema::{Rewriting, Schema};

use super::create::same_file;
use super::file::{self, Writer};
use super::rewrite::compile;
use crate::Outcome;
use crate::output::{Output, relationships_text};

/// `backup redact`. Names are replaced, the same by the same; the shape of schema and relationships stays.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The backup.
    file: PathBuf,
    /// The file to make.
    to: PathBuf,
    /// Leave the names of definitions and caveats.
    #[arg(long)]
    keep_definitions: bool,
    /// Leave the names of relations and permissions.
    #[arg(long)]
    keep_relations: bool,
    /// Leave the ids of objects.
    #[arg(long)]
    keep_object_ids: bool,
    /// Print which name became which; keep it to yourself.
    #[arg(long)]
    print_names: bool,
}

/// New names, each the same whenever its old name is met.
#[derive(Default)]
struct Names {
    prefix: &'static str,
    keep: bool,
    new: BTreeMap<String, String>,
}

impl Names {
    fn of(&mut self, old: &str) -> String {
        if self.keep || old.is_empty() || old == "*" {
            return old.to_owned();
        }
        let next = self.new.len();
        self.new.entry(old.to_owned()).or_insert_with(|| format!("{}{next:03}", self.prefix)).clone()
    }
}

struct Redaction {
    types: Names,
    caveats: Names,
    relations: Names,
    objects: Names,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<Outcome> {
    same_file(&args.file, &args.to)?;
    let contents = file::verify(&args.file, &|_| false, &mut |_| {})?;
    let names = |prefix, keep| Names { prefix, keep, new: BTreeMap::new() };
    let mut redaction = Redaction {
        types: names("def", args.keep_definitions),
        caveats: names("cav", args.keep_definitions),
        relations: names("rel", args.keep_relations),
        objects: names("obj", args.keep_object_ids),
    };
    let schema = redaction.schema(&compile(&contents.schema).context("its schema does not compile")?)?;
    // The revision is told to nobody: it names the instance.
    let mut writer = Writer::begin(&args.to, &schema, "", "redacted")?;
    let (.., mut relationships) = file::open(&args.file)?;
    let mut batch = Vec::new();
    while let Some(relationship) = relationships.next()? {
        batch.push(redaction.relationship(relationship));
        if batch.len() == 10_000 {
            writer.batch(&std::mem::take(&mut batch), "")?;
        }
    }
    writer.batch(&batch, "")?;
    let count = writer.finish()?;
    let Redaction { types, caveats, relations, objects } = redaction;
    let maps = [("definitions", types), ("caveats", caveats), ("relations", relations), ("objectIds", objects)];
    let mut lines = vec![format!("{}: {}", args.to.display(), relationships_text(count))];
    if args.print_names {
        let pairs = maps.iter().flat_map(|(_, names)| &names.new);
        lines.extend(pairs.map(|(old, new)| format!("  {new} was {old}")));
    }
    output.result(lines.join("\n"), || {
        let names: serde_json::Map<_, _> =
            maps.iter().map(|(kind, names)| ((*kind).to_owned(), json!(names.new))).collect();
        let names = if args.print_names { json!(names) } else { json!(null) };
        json!({ "file": args.to.display().to_string(), "relationships": count, "names": names })
    });
    Ok(Outcome::Done)
}

impl Redaction {
    /// The schema under new names and without comments. Parameters of caveats and what they are compared with stay.
    fn schema(&mut self, schema: &Schema) -> anyhow::Result<String> {
        for definition in schema.definitions() {
            self.types.of(definition.name.as_str());
            for member in definition.members() {
                self.relations.of(member.name().as_str());
            }
        }
        for caveat in schema.caveats() {
            self.caveats.of(caveat.name.as_str());
        }
        let look = |names: &Names, old: &str| names.new.get(old).cloned().unwrap_or_else(|| old.to_owned());
        let rewriting = Rewriting {
            type_name: &|old| look(&self.types, old),
            caveat_name: &|old| look(&self.caveats, old),
            relation_name: &|old| look(&self.relations, old),
            comments: self.types.keep && self.relations.keep,
            ..Rewriting::default()
        };
        Ok(schema.rewritten(&rewriting)?)
    }

    fn relationship(&mut self, mut relationship: pb::Relationship) -> pb::Relationship {
        if let Some(resource) = &mut relationship.resource {
            self.object(resource);
        }
        relationship.relation = self.relations.of(&relationship.relation);
        if let Some(subject) = &mut relationship.subject {
            subject.optional_relation = self.relations.of(&subject.optional_relation);
            if let Some(object) = &mut subject.object {
                self.object(object);
            }
        }
        if let Some(caveat) = &mut relationship.optional_caveat {
            caveat.caveat_name = self.caveats.of(&caveat.caveat_name);
        }
        relationship
    }

    fn object(&mut self, object: &mut pb::ObjectReference) {
        object.object_type = self.types.of(&object.object_type);
        object.object_id = self.objects.of(&object.object_id);
    }
}
