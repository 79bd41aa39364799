//! `stonetown attribute`.

use std::io::BufRead;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use stonetown_api::client;
use stonetown_api::proto::stonetown::v1 as pb;
use stonetown_tuple::{ObjectRef, Timestamp};

use crate::Outcome;
use crate::client::Client;
use crate::output::Output;

/// Commands on the attributes of objects that caveats trust.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Set attributes of an object, all at once. Without arguments: as `list --json` prints them, one a line on standard input.
    Put(Put),
    /// Print one attribute of an object; exit code 3 if it has none of that name.
    Get(Named),
    /// Remove attributes of an object, all at once.
    Delete(Delete),
    /// Print attributes, as `OBJECT NAME=VALUE`.
    List(List),
}

/// What to set.
#[derive(Args)]
pub(crate) struct Put {
    /// The object.
    #[arg(value_name = "TYPE:ID", requires = "attributes")]
    object: Option<String>,
    /// The attributes. A value is JSON; what is no JSON is text.
    #[arg(value_name = "NAME=VALUE")]
    attributes: Vec<String>,
    /// When they end, RFC 3339; from then on they are missing.
    #[arg(long, value_name = "TIME")]
    expiration_time: Option<Timestamp>,
}

/// One attribute.
#[derive(Args)]
pub(crate) struct Named {
    /// The object.
    #[arg(value_name = "TYPE:ID")]
    object: String,
    /// The attribute.
    name: String,
}

/// What to remove.
#[derive(Args)]
pub(crate) struct Delete {
    /// The object.
    #[arg(value_name = "TYPE:ID")]
    object: String,
    /// The attributes.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Which to print.
#[derive(Args)]
pub(crate) struct List {
    /// The type of the objects, perhaps with an id.
    #[arg(value_name = "TYPE[:ID]")]
    objects: String,
    /// Of this name only.
    name: Option<String>,
    /// At most so many; 0 for all.
    #[arg(long, default_value_t = 0, value_name = "N")]
    limit: u32,
}

pub(crate) async fn run(client: Client, command: Command, output: Output) -> anyhow::Result<Outcome> {
    match command {
        Command::Put(put) => run_put(client, put, output).await,
        Command::Get(named) => {
            let (object_type, object_id) = split(&named.object)?;
            let name = named.name;
            let asked = pb::ListAttributesRequest { object_type, object_id, name, ..Default::default() };
            let found = list(client, asked, output).await?;
            Ok(if found == 0 { Outcome::NoPermission } else { Outcome::Done })
        }
        Command::Delete(delete) => run_delete(client, delete, output).await,
        Command::List(asked) => {
            let (object_type, object_id) = asked.objects.split_once(':').unwrap_or((&asked.objects, ""));
            let page = Some(pb::Page { size: asked.limit, cursor: String::new() });
            let name = asked.name.unwrap_or_default();
            let (object_type, object_id) = (object_type.to_owned(), object_id.to_owned());
            let asked = pb::ListAttributesRequest { object_type, object_id, name, page, freshness: None };
            list(client, asked, output).await?;
            Ok(Outcome::Done)
        }
    }
}

async fn run_put(mut client: Client, put: Put, output: Output) -> anyhow::Result<Outcome> {
    let expires_at = put.expiration_time.map(client::timestamp_to_wire);
    let attributes = match &put.object {
        Some(object) => {
            let (object_type, id) = split(object)?;
            let object = pb::ObjectRef { r#type: object_type, id };
            let one = |text: &String| {
                let (name, value) = text.split_once('=').with_context(|| format!("`{text}` is not NAME=VALUE"))?;
                let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
                let value = Some(client::value_to_wire(value));
                Ok(pb::Attribute { object: Some(object.clone()), name: name.to_owned(), value, expires_at })
            };
            put.attributes.iter().map(one).collect::<anyhow::Result<Vec<_>>>()?
        }
        None => {
            let lines = std::io::stdin().lock().lines().collect::<Result<Vec<_>, _>>()?;
            lines
                .iter()
                .filter(|line| !line.trim().is_empty())
                .map(|line| from_json(line))
                .collect::<anyhow::Result<_>>()?
        }
    };
    if attributes.is_empty() {
        bail!("no attribute was given");
    }
    let answer = client.attributes.put(pb::PutAttributesRequest { attributes }).await?.into_inner();
    output.result(&answer.token, || json!({ "token": answer.token }));
    Ok(Outcome::Done)
}

async fn run_delete(mut client: Client, delete: Delete, output: Output) -> anyhow::Result<Outcome> {
    let (object_type, id) = split(&delete.object)?;
    let object = Some(pb::ObjectRef { r#type: object_type, id });
    let request = pb::DeleteAttributesRequest { object, names: delete.names };
    let answer = client.attributes.delete(request).await?.into_inner();
    output.result(&answer.token, || json!({ "token": answer.token }));
    Ok(Outcome::Done)
}

/// Prints attributes and says how many there were.
async fn list(mut client: Client, asked: pb::ListAttributesRequest, output: Output) -> anyhow::Result<usize> {
    let mut answers = client.attributes.list(asked).await?.into_inner();
    let mut found = 0;
    while let Some(answer) = answers.message().await? {
        let attribute = answer.attribute.context("the server sent no attribute")?;
        let object = attribute.object.unwrap_or_default();
        let object = format!("{}:{}", object.r#type, object.id);
        let value = client::value_from_wire(attribute.value.unwrap_or_default()).map_err(anyhow::Error::msg)?;
        let expires_at =
            attribute.expires_at.map(client::timestamp_from_wire).transpose().map_err(anyhow::Error::msg)?;
        let until = expires_at.map(|time| format!(" until {time}")).unwrap_or_default();
        output.result(format!("{object} {}={value}{until}", attribute.name), || {
            let mut line = json!({ "object": object, "name": attribute.name, "value": value });
            if let Some(time) = expires_at {
                line["expiresAt"] = json!(time.to_string());
            }
            line
        });
        found += 1;
    }
    Ok(found)
}

/// An attribute as `list --json` prints it.
fn from_json(line: &str) -> anyhow::Result<pb::Attribute> {
    let parsed: Value = serde_json::from_str(line).with_context(|| format!("`{line}` is not JSON"))?;
    let text = |key: &str| parsed[key].as_str().map(str::to_owned);
    let (object_type, id) = split(&text("object").context("an attribute has no `object`")?)?;
    let expires_at: Option<Timestamp> = text("expiresAt").map(|time| time.parse()).transpose()?;
    Ok(pb::Attribute {
        object: Some(pb::ObjectRef { r#type: object_type, id }),
        name: text("name").context("an attribute has no `name`")?,
        value: Some(client::value_to_wire(parsed["value"].clone())),
        expires_at: expires_at.map(client::timestamp_to_wire),
    })
}

fn split(object: &str) -> anyhow::Result<(String, String)> {
    let object: ObjectRef = object.parse()?;
    Ok((object.object_type.into(), object.object_id.into()))
}
