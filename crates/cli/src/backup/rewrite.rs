//! What of a backup is taken, and under which names.

use anyhow::{Context, bail, ensure};
use clap::Args;
use stonetown_api::proto::authzed::api::v1 as pb;
use stonetown_schema::{CompileOptions, Rewriting, Schema};
use stonetown_tuple::RelationName;

/// What stands in schemas of old servers in the place of a relation's types, where it has none.
const NO_TYPES: &str = "/* missing allowed types */";

/// Selects and renames by prefix, and mends what old servers took.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Rewrite {
    /// Only definitions, caveats and relationships whose names begin with this prefix and a slash.
    #[arg(long, value_name = "PREFIX")]
    prefix_filter: Option<String>,
    /// Puts another prefix in the place of one; an empty new one takes it away. Repeatable.
    #[arg(long = "prefix-replacements", value_name = "OLD=NEW", value_delimiter = ',', value_parser = replacement)]
    replacements: Vec<(String, String)>,
    /// Leave out what old servers took and none takes now: relations without types and those with names of two letters, with
    /// their relationships.
    #[arg(long)]
    rewrite_legacy: bool,
}

fn replacement(text: &str) -> Result<(String, String), String> {
    let (old, new) = text.split_once('=').ok_or_else(|| format!("`{text}` is not OLD=NEW"))?;
    let trim = |prefix: &str| prefix.trim_end_matches('/').to_owned();
    if old.is_empty() { Err("the old prefix is empty".to_owned()) } else { Ok((trim(old), trim(new))) }
}

impl Rewrite {
    /// Whether everything is taken as it is.
    pub(crate) fn is_none(&self) -> bool {
        self.prefix_filter.is_none() && self.replacements.is_empty() && !self.rewrite_legacy
    }

    /// The same options as a text, to compare two of them.
    pub(crate) fn describe(&self) -> String {
        let legacy = if self.rewrite_legacy { ", without legacy" } else { "" };
        format!("filter {:?}, replace {:?}{legacy}", self.prefix_filter, self.replacements)
    }

    /// The schema with what is left out left out, and new names.
    pub(crate) fn schema(&self, text: &str) -> anyhow::Result<String> {
        if self.is_none() {
            return Ok(text.to_owned());
        }
        let mended = if self.rewrite_legacy { without_legacy(text) } else { text.to_owned() };
        let schema = compile(&mended).with_context(|| match mended == text {
            true => "the schema does not compile",
            false => "what is left of the schema does not compile: it needs a relation that was left out",
        })?;
        let keep = |name: &str| self.keeps(name);
        let rename = |name: &str| self.rename(name);
        let rewriting = Rewriting { keep: &keep, type_name: &rename, caveat_name: &rename, ..Rewriting::default() };
        let rewritten = schema.rewritten(&rewriting).context("a new name is no name")?;
        ensure!(!rewritten.trim().is_empty(), "nothing of the schema is left: no name begins with the prefix");
        compile(&rewritten).context("what is left of the schema does not compile: it needs what was left out")?;
        Ok(rewritten)
    }

    /// Whether a relationship is left out as one that only old servers took.
    pub(crate) fn leaves_out(&self, relationship: &pb::Relationship) -> bool {
        let is_legacy = |relation: &str| !relation.is_empty() && RelationName::new(relation).is_err();
        let of_subject = relationship.subject.as_ref().map_or("", |subject| subject.optional_relation.as_str());
        self.rewrite_legacy && (is_legacy(&relationship.relation) || is_legacy(of_subject))
    }

    /// The relationship under its new names, `None` when it is left out.
    pub(crate) fn relationship(&self, mut relationship: pb::Relationship) -> Option<pb::Relationship> {
        if self.is_none() {
            return Some(relationship);
        }
        if self.leaves_out(&relationship) {
            return None;
        }
        let subject = relationship.subject.as_mut().and_then(|subject| subject.object.as_mut());
        for object in [relationship.resource.as_mut(), subject].into_iter().flatten() {
            if !self.keeps(&object.object_type) {
                return None;
            }
            object.object_type = self.rename(&object.object_type);
        }
        if let Some(caveat) = &mut relationship.optional_caveat {
            caveat.caveat_name = self.rename(&caveat.caveat_name);
        }
        Some(relationship)
    }

    fn keeps(&self, name: &str) -> bool {
        match &self.prefix_filter {
            None => true,
            Some(prefix) => name.strip_prefix(prefix.trim_end_matches('/')).is_some_and(|rest| rest.starts_with('/')),
        }
    }

    fn rename(&self, name: &str) -> String {
        let new = self.replacements.iter().find_map(|(old, new)| {
            let rest = name.strip_prefix(old)?.strip_prefix('/')?;
            Some(if new.is_empty() { rest.to_owned() } else { format!("{new}/{rest}") })
        });
        new.unwrap_or_else(|| name.to_owned())
    }
}

/// The schema without the relations that no server takes now. Servers print them on a line each; where something needs one of
/// them, what is left does not compile.
fn without_legacy(text: &str) -> String {
    let is_legacy = |line: &str| {
        let Some((name, types)) = line.trim_start().strip_prefix("relation ").and_then(|rest| rest.split_once(':'))
        else {
            return false;
        };
        RelationName::new(name.trim()).is_err() || types.trim() == NO_TYPES
    };
    text.lines().filter(|line| !is_legacy(line)).flat_map(|line| [line, "\n"]).collect()
}

/// Compiles a schema, or says what is wrong with it, with the lines it is about.
pub(crate) fn compile(text: &str) -> anyhow::Result<Schema> {
    match Schema::compile(text, &CompileOptions::default()) {
        Ok(schema) => Ok(schema),
        Err(errors) => {
            let shown: Vec<_> = errors.iter().map(|error| error.render(text)).collect();
            bail!("{}", shown.join("\n"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rewrite(filter: Option<&str>, replacements: &[&str]) -> Rewrite {
        let replacements = replacements.iter().map(|text| replacement(text).unwrap()).collect();
        Rewrite { prefix_filter: filter.map(str::to_owned), replacements, rewrite_legacy: false }
    }

    #[test]
    fn what_only_old_servers_took_is_left_out() {
        let text = "definition user {}\n\ndefinition doc {\n\trelation ab: user\n\trelation viewer: user\n\
                    \trelation nobody: /* missing allowed types */\n\tpermission view = viewer\n}\n";
        let legacy = Rewrite { rewrite_legacy: true, ..Rewrite::default() };
        assert!(Rewrite::default().schema(text).unwrap() == text && compile(text).is_err());
        let schema = legacy.schema(text).unwrap();
        let doc = compile(&schema).unwrap();
        let doc = doc.definition("doc").unwrap();
        assert_eq!(doc.members().map(|member| member.name().to_string()).collect::<Vec<_>>(), ["viewer", "view"]);
        let needed = legacy.schema(&text.replace("= viewer", "= viewer - ab")).unwrap_err();
        assert!(format!("{needed:#}").contains("needs a relation that was left out"), "{needed:#}");
        let relationship = |relation: &str, of_subject: &str| pb::Relationship {
            relation: relation.to_owned(),
            subject: Some(pb::SubjectReference { optional_relation: of_subject.to_owned(), ..Default::default() }),
            ..Default::default()
        };
        assert!(legacy.leaves_out(&relationship("ab", "")) && legacy.leaves_out(&relationship("viewer", "ab")));
        assert!(!legacy.leaves_out(&relationship("viewer", "")));
        assert!(!Rewrite::default().leaves_out(&relationship("ab", "")));
    }

    #[test]
    fn a_prefix_is_a_whole_one() {
        let filter = rewrite(Some("acme"), &["acme=corp", "old="]);
        assert!(filter.keeps("acme/user") && filter.keeps("acme/team/user"));
        assert!(!filter.keeps("acmeinc/user") && !filter.keeps("user") && !filter.keeps("acme"));
        assert_eq!(filter.rename("acme/user"), "corp/user");
        assert_eq!(filter.rename("acmeinc/user"), "acmeinc/user");
        assert_eq!(filter.rename("old/user"), "user");
        assert!(replacement("x").is_err() && replacement("=x").is_err());
    }

    #[test]
    fn a_schema_is_selected_and_renamed() {
        let text = "caveat acme/tod(hour int) { hour > 8 }\n\
                    definition acme/user {}\n\
                    definition acme/doc {\n relation viewer: acme/user with acme/tod | acme/doc#viewer\n permission view = viewer }\n\
                    definition other/thing { relation owner: acme/user }";
        let schema = rewrite(Some("acme"), &["acme=corp"]).schema(text).unwrap();
        assert!(!schema.contains("acme") && !schema.contains("thing"), "{schema}");
        assert!(schema.contains("corp/user with corp/tod | corp/doc#viewer"), "{schema}");
        let broken = rewrite(Some("other"), &[]).schema(text).unwrap_err();
        assert!(format!("{broken:#}").contains("needs what was left out"), "{broken:#}");
        let empty = rewrite(Some("nobody"), &[]).schema(text).unwrap_err();
        assert!(format!("{empty:#}").contains("nothing of the schema is left"), "{empty:#}");
    }
}
