//! `stonetown store`: which stores there are, and how much each may hold and ask.

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use stonetown_api::proto::stonetown::v1 as pb;

use crate::Outcome;
use crate::client::Client;
use crate::output::Output;
use crate::principal::holder;
use crate::why::Why;

/// `store`.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a store, empty and without a schema.
    Create {
        /// Its name: small letters, digits, `-` and `_`, a letter first.
        name: String,
        /// Who gets all powers over it: a principal's id, or `group:ID`. Those who administer the server give powers later, too.
        #[arg(long, value_name = "HOLDER", value_parser = holder)]
        holder: Option<pb::Holder>,
        #[command(flatten)]
        bounds: Bounds,
        #[command(flatten)]
        why: Why,
    },
    /// Show all stores.
    List,
    /// Bound how much a store may hold and ask; what is not given is not bounded.
    Quota {
        /// Its name.
        name: String,
        #[command(flatten)]
        bounds: Bounds,
        #[command(flatten)]
        why: Why,
    },
    /// Delete a store and all relationships in it. Its name is never used again.
    Delete {
        /// Its name.
        name: String,
        #[command(flatten)]
        why: Why,
    },
}

/// How much a store may hold and ask.
#[derive(Args)]
pub(crate) struct Bounds {
    /// Relationships at most; 0 for no bound.
    #[arg(long, default_value_t = 0, value_name = "N")]
    relationships_max: u64,
    /// Bytes of the schema at most; 0 for no bound of its own.
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    schema_bytes_max: u64,
    /// Calls at the same time at most; 0 for no bound of its own.
    #[arg(long, default_value_t = 0, value_name = "N")]
    calls_max: u32,
}

pub(crate) async fn run(mut client: Client, command: Command, output: Output) -> anyhow::Result<Outcome> {
    let service = &mut client.stores;
    match command {
        Command::Create { name, holder, bounds, why } => {
            let request =
                pb::CreateStoreRequest { name, holder, quota: Some(bounds.into_wire()), why: Some(why.into_wire()) };
            print(service.create_store(request).await?.into_inner().store, output);
        }
        Command::List => {
            let answer = service.list_stores(pb::ListStoresRequest {}).await?.into_inner();
            answer.stores.into_iter().for_each(|store| print(Some(store), output));
        }
        Command::Quota { name, bounds, why } => {
            let request = pb::SetQuotaRequest { name, quota: Some(bounds.into_wire()), why: Some(why.into_wire()) };
            print(service.set_quota(request).await?.into_inner().store, output);
        }
        Command::Delete { name, why } => {
            let answer = service.delete_store(pb::DeleteStoreRequest { name, why: Some(why.into_wire()) }).await?;
            let token = answer.into_inner().token;
            output.result(&token, || json!({ "token": token }));
        }
    }
    Ok(Outcome::Done)
}

impl Bounds {
    fn into_wire(self) -> pb::Quota {
        let Bounds { relationships_max, schema_bytes_max, calls_max } = self;
        pb::Quota { relationships_max, schema_bytes_max, calls_max }
    }
}

fn print(store: Option<pb::Store>, output: Output) {
    let pb::Store { name, quota, .. } = store.unwrap_or_default();
    let pb::Quota { relationships_max, schema_bytes_max, calls_max } = quota.unwrap_or_default();
    let bounds = [
        ("relationships", relationships_max),
        ("bytes of schema", schema_bytes_max),
        ("calls at the same time", u64::from(calls_max)),
    ];
    let bounds = bounds.into_iter().filter(|(_, max)| *max > 0).map(|(what, max)| format!("{max} {what}"));
    let bounds = bounds.collect::<Vec<_>>().join(", ");
    let text = format!("{name}\t{bounds}");
    output.result(text.trim_end(), || -> Value {
        json!({
            "name": name,
            "relationshipsMax": relationships_max,
            "schemaBytesMax": schema_bytes_max,
            "callsMax": calls_max,
        })
    });
}
