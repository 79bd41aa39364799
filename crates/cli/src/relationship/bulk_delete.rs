//! `stonetown relationship bulk-delete`.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::bail;
use clap::Args;
use pb::delete_relationships_response::DeletionProgress;
use serde_json::json;
use stonetown_api::proto::authzed::api::v1 as pb;

use super::Selection;
use crate::Outcome;
use crate::client::{Client, Freshness};
use crate::output::{Output, relationships_text};
use crate::why::Why;

/// Which relationships to delete, and whether to ask first.
#[derive(Args)]
pub(crate) struct BulkDelete {
    #[command(flatten)]
    selection: Selection,
    /// Delete without counting and asking first.
    #[arg(long)]
    force: bool,
    /// Delete so many in one transaction, and go on until none is left; 0 for all in one.
    #[arg(long, default_value_t = 1000, value_name = "N")]
    optional_limit: u32,
    #[command(flatten)]
    why: Why,
}

pub(crate) async fn run(mut client: Client, delete: BulkDelete, output: Output) -> anyhow::Result<Outcome> {
    let filter = delete.selection.filter()?;
    if !delete.force {
        let count = count(&mut client, filter.clone()).await?;
        if count == 0 {
            output.result("nothing matches", || json!({ "deleted": 0 }));
            return Ok(Outcome::Done);
        }
        if !confirmed(count)? {
            bail!("nothing was deleted");
        }
    }
    let mut deleted = 0;
    loop {
        let request = pb::DeleteRelationshipsRequest {
            relationship_filter: Some(filter.clone()),
            optional_limit: delete.optional_limit,
            optional_allow_partial_deletions: delete.optional_limit > 0,
            ..Default::default()
        };
        let answer = client.permissions.delete_relationships(delete.why.request(request)).await?.into_inner();
        deleted += answer.relationships_deleted_count;
        if answer.deletion_progress() != DeletionProgress::Partial {
            let token = answer.deleted_at.unwrap_or_default().token;
            let value = || json!({ "deleted": deleted, "deletedAt": { "token": token } });
            output.result(format_args!("{deleted} deleted\n{token}"), value);
            return Ok(Outcome::Done);
        }
    }
}

async fn count(client: &mut Client, filter: pb::RelationshipFilter) -> anyhow::Result<u64> {
    let request = pb::ReadRelationshipsRequest {
        consistency: Some(Freshness::newest()),
        relationship_filter: Some(filter),
        ..Default::default()
    };
    let mut answers = client.permissions.read_relationships(request).await?.into_inner();
    let mut count = 0;
    while answers.message().await?.is_some() {
        count += 1;
    }
    Ok(count)
}

/// Asks whoever is there. Without anybody to ask nothing is deleted.
fn confirmed(count: u64) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("{} would be deleted: give --force to do it without being asked", relationships_text(count));
    }
    eprint!("Delete {}? [y/N] ", relationships_text(count));
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
