//! `stonetown schema diff`.

use std::path::PathBuf;

use serde_json::{Value, json};
use stonetown_schema::{CaveatChange, Difference, PermissionChange, RelationChange, Schema, diff};

use super::{SchemaFile, in_force};
use crate::Outcome;
use crate::client::{self, Connection};
use crate::output::Output;

/// `schema diff`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// One schema, compared with the server's, or two, the older first; `-` for standard input.
    #[arg(required = true, num_args = 1..=2, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Exit with 1 if they differ.
    #[arg(long)]
    exit_code: bool,
}

pub(crate) fn run(connection: Connection, args: &Args, output: Output) -> anyhow::Result<Outcome> {
    let schemas: Vec<Schema> =
        args.files.iter().map(|path| anyhow::Ok(SchemaFile::read(path)?.compile()?)).collect::<anyhow::Result<_>>()?;
    let differ = match &*schemas {
        [old, new] => report(old, new, output),
        [new] => {
            let mut differ = false;
            client::run(connection, async |client| {
                let (text, _) = in_force(client).await?;
                let file = SchemaFile::new("the server".to_owned(), text, PathBuf::new());
                differ = report(&file.compile()?, new, output);
                Ok(Outcome::Done)
            })?;
            differ
        }
        _ => anyhow::bail!("one schema or two can be compared"),
    };
    Ok(if differ && args.exit_code { Outcome::Invalid } else { Outcome::Done })
}

/// Prints the differences and says whether there are any.
fn report(old: &Schema, new: &Schema, output: Output) -> bool {
    let differences = diff(old, new);
    let lines: Vec<String> = differences.iter().map(line).collect();
    let text = if lines.is_empty() { "no differences".to_owned() } else { lines.join("\n") };
    output.result(text, || json!({ "differences": differences.iter().map(value).collect::<Vec<_>>() }));
    !differences.is_empty()
}

/// `+` for what comes, `-` for what goes, `~` for what changes, `!` for a guard that is gone.
fn line(difference: &Difference<'_>) -> String {
    match difference {
        Difference::DefinitionAdded(one) => format!("+ definition {}", one.name),
        Difference::DefinitionRemoved(one) => format!("- definition {}", one.name),
        Difference::DefinitionDocChanged(one) => format!("~ definition {}: comment", one.name),
        Difference::Relation(definition, relation, change) => {
            let place = format!("relation {}#{}", definition.name, relation.name);
            let types = || relation.allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
            match change {
                RelationChange::Added => format!("+ {place}: {}", types()),
                RelationChange::Removed => format!("- {place}: {}", types()),
                RelationChange::DocChanged => format!("~ {place}: comment"),
                RelationChange::TypeAdded(allowed) => format!("+ {place}: type {allowed}"),
                RelationChange::TypeRemoved(allowed) => format!("- {place}: type {allowed}"),
                RelationChange::GuardAdded(guard) => format!("+ {place}: {guard}"),
                RelationChange::GuardRemoved(guard) => format!("! {place}: no longer {guard}"),
            }
        }
        Difference::Permission(definition, permission, change) => {
            let place = format!("permission {}#{}", definition.name, permission.name);
            let expression = &permission.expression;
            match change {
                PermissionChange::Added => format!("+ {place} = {expression}"),
                PermissionChange::Removed => format!("- {place} = {expression}"),
                PermissionChange::DocChanged => format!("~ {place}: comment"),
                PermissionChange::GuardAdded(guard) => format!("+ {place}: {guard}"),
                PermissionChange::GuardRemoved(guard) => format!("! {place}: no longer {guard}"),
                PermissionChange::ExpressionChanged(old) => format!("~ {place} = {expression}, was {}", old.expression),
            }
        }
        Difference::Caveat(caveat, change) => {
            let place = format!("caveat {}", caveat.name);
            match change {
                CaveatChange::Added => format!("+ {caveat}"),
                CaveatChange::Removed => format!("- {caveat}"),
                CaveatChange::DocChanged => format!("~ {place}: comment"),
                CaveatChange::ExpressionChanged(old) => {
                    format!("~ {place}: expression {}, was {}", caveat.caveat.expression(), old.caveat.expression())
                }
                CaveatChange::ParameterAdded(one) => {
                    format!("+ {place}: parameter {} {}", one.name, one.parameter_type)
                }
                CaveatChange::ParameterRemoved(one) => {
                    format!("- {place}: parameter {} {}", one.name, one.parameter_type)
                }
                CaveatChange::ParameterTypeChanged(one, old) => {
                    format!("~ {place}: parameter {} {}, was {old}", one.name, one.parameter_type)
                }
                CaveatChange::SourceAdded(one, source) => {
                    format!("+ {place}: parameter {} is {source}", one.name)
                }
                CaveatChange::SourceRemoved(one, source) => {
                    format!("! {place}: parameter {} can be given by requests, was {source}", one.name)
                }
                CaveatChange::SourceChanged(one, old, new) => {
                    format!("~ {place}: parameter {} is {new}, was {old}", one.name)
                }
            }
        }
    }
}

/// The kinds are those of DiffSchema.
fn value(difference: &Difference<'_>) -> Value {
    match difference {
        Difference::DefinitionAdded(one) => json!({ "kind": "definitionAdded", "definition": one.name.as_str() }),
        Difference::DefinitionRemoved(one) => json!({ "kind": "definitionRemoved", "definition": one.name.as_str() }),
        Difference::DefinitionDocChanged(one) => {
            json!({ "kind": "definitionDocCommentChanged", "definition": one.name.as_str(), "comment": one.doc })
        }
        Difference::Relation(definition, relation, change) => {
            let mut value = json!({ "definition": definition.name.as_str(), "relation": relation.name.as_str() });
            value["kind"] = json!(match change {
                RelationChange::Added => "relationAdded",
                RelationChange::Removed => "relationRemoved",
                RelationChange::DocChanged => "relationDocCommentChanged",
                RelationChange::TypeAdded(_) => "relationSubjectTypeAdded",
                RelationChange::TypeRemoved(_) => "relationSubjectTypeRemoved",
                RelationChange::GuardAdded(_) => "relationGuardAdded",
                RelationChange::GuardRemoved(_) => "relationGuardRemoved",
            });
            match change {
                RelationChange::DocChanged => value["comment"] = json!(relation.doc),
                RelationChange::TypeAdded(allowed) | RelationChange::TypeRemoved(allowed) => {
                    value["type"] = json!(allowed.to_string());
                }
                RelationChange::GuardAdded(guard) | RelationChange::GuardRemoved(guard) => {
                    value["guard"] = json!(guard.to_string());
                }
                RelationChange::Added | RelationChange::Removed => {}
            }
            value
        }
        Difference::Permission(definition, permission, change) => {
            let mut value = json!({ "definition": definition.name.as_str(), "permission": permission.name.as_str() });
            value["kind"] = json!(match change {
                PermissionChange::Added => "permissionAdded",
                PermissionChange::Removed => "permissionRemoved",
                PermissionChange::DocChanged => "permissionDocCommentChanged",
                PermissionChange::ExpressionChanged(_) => "permissionExprChanged",
                PermissionChange::GuardAdded(_) => "permissionGuardAdded",
                PermissionChange::GuardRemoved(_) => "permissionGuardRemoved",
            });
            match change {
                PermissionChange::DocChanged => value["comment"] = json!(permission.doc),
                PermissionChange::ExpressionChanged(old) => {
                    value["before"] = json!(old.expression.to_string());
                    value["after"] = json!(permission.expression.to_string());
                }
                PermissionChange::GuardAdded(guard) | PermissionChange::GuardRemoved(guard) => {
                    value["guard"] = json!(guard.to_string());
                }
                PermissionChange::Added | PermissionChange::Removed => {}
            }
            value
        }
        Difference::Caveat(caveat, change) => {
            let mut value = json!({ "caveat": caveat.name.as_str() });
            value["kind"] = json!(match change {
                CaveatChange::Added => "caveatAdded",
                CaveatChange::Removed => "caveatRemoved",
                CaveatChange::DocChanged => "caveatDocCommentChanged",
                CaveatChange::ExpressionChanged(_) => "caveatExprChanged",
                CaveatChange::ParameterAdded(_) => "caveatParameterAdded",
                CaveatChange::ParameterRemoved(_) => "caveatParameterRemoved",
                CaveatChange::ParameterTypeChanged(..) => "caveatParameterTypeChanged",
                CaveatChange::SourceAdded(..) => "caveatParameterSourceAdded",
                CaveatChange::SourceRemoved(..) => "caveatParameterSourceRemoved",
                CaveatChange::SourceChanged(..) => "caveatParameterSourceChanged",
            });
            match change {
                CaveatChange::DocChanged => value["comment"] = json!(caveat.doc),
                CaveatChange::ExpressionChanged(old) => {
                    value["before"] = json!(old.caveat.expression());
                    value["after"] = json!(caveat.caveat.expression());
                }
                CaveatChange::ParameterAdded(one) | CaveatChange::ParameterRemoved(one) => {
                    value["parameter"] = json!(one.name);
                    value["type"] = json!(one.parameter_type.to_string());
                }
                CaveatChange::ParameterTypeChanged(one, old) => {
                    value["parameter"] = json!(one.name);
                    value["before"] = json!(old.to_string());
                    value["after"] = json!(one.parameter_type.to_string());
                }
                CaveatChange::SourceAdded(one, source) | CaveatChange::SourceRemoved(one, source) => {
                    value["parameter"] = json!(one.name);
                    value["source"] = json!(source.to_string());
                }
                CaveatChange::SourceChanged(one, old, new) => {
                    value["parameter"] = json!(one.name);
                    value["before"] = json!(old.to_string());
                    value["after"] = json!(new.to_string());
                }
                CaveatChange::Added | CaveatChange::Removed => {}
            }
            value
        }
    }
}
