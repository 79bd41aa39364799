//! `stonetown schema copy`.

use anyhow::Context;
use clap_complete::ArgValueCompleter;

use super::{Prefix, in_force, write};
use crate::client::{self, Connection};
use crate::output::Output;
use crate::{Outcome, complete};

/// `schema copy`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The context of the server whose schema is read.
    #[arg(value_name = "FROM", add = ArgValueCompleter::new(complete::context))]
    from: String,
    /// The context of the server whose schema is replaced.
    #[arg(value_name = "TO", add = ArgValueCompleter::new(complete::context))]
    to: String,
    #[command(flatten)]
    prefix: Prefix,
}

pub(crate) fn run(connection: &Connection, args: &Args, output: Output) -> anyhow::Result<Outcome> {
    let (from, to) = (connection.at_context(&args.from)?, connection.at_context(&args.to)?);
    let mut schema = String::new();
    client::run(from, async |client| {
        schema = in_force(client).await?.0;
        Ok(Outcome::Done)
    })
    .with_context(|| format!("context `{}`", args.from))?;
    let schema = args.prefix.schema(schema)?;
    client::run(to, async |client| write(client, schema, output).await)
        .with_context(|| format!("context `{}`", args.to))
}
