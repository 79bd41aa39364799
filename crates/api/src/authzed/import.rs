//! ImportBulkRelationships: batches are parsed as they arrive and handed to a thread that may block. Unless the client ends
//! its stream properly, nothing has been imported.

use std::time::Duration;

use futures::{Stream, StreamExt};
use stonetown_authorizer::{Authorizer, BulkMode, Call, Error};
use stonetown_tuple::{Relationship, ZedToken};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool};
use crate::convert;
use crate::incoming::{Incoming, import_mode, transaction_metadata};
use crate::proto::authzed::api::v1 as wire;
use crate::status::stalled;
use crate::token;

/// Batches between the connection and the thread that takes them in.
const BATCHES_AHEAD: usize = 4;

enum Part {
    Batch(Vec<Relationship>),
    /// The client said that this was all.
    End,
}

pub(super) async fn answer<S>(
    calls: &Calls,
    request: Request<S>,
) -> Result<Response<wire::ImportBulkRelationshipsResponse>, Status>
where
    S: Stream<Item = Result<wire::ImportBulkRelationshipsRequest, Status>> + Unpin,
{
    let (mut incoming, metadata, batches) = Incoming::open(request)?;
    let mode = import_mode(&metadata)?;
    let kept = transaction_metadata(&metadata, None)?;
    let _cancel = incoming.cancel_on_drop();
    let call = incoming.call.clone();
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let importing = calls.run(Pool::Heavy, move |authorizer| import(authorizer, &call, mode, kept, receiver));
    let (fed, imported) = tokio::join!(feed(batches, sender, calls.stream_idle_max()), importing);
    // A stream that broke off explains an import that did not end.
    fed?;
    incoming.cost.add(1, 0);
    let (written_at, num_loaded) = imported?;
    incoming.cost.written_at(&token::encode(written_at).token);
    Ok(Response::new(wire::ImportBulkRelationshipsResponse { num_loaded }))
}

/// Hands the client's batches on, until it ends its stream or the import no longer takes any.
async fn feed<S>(mut batches: S, sender: mpsc::Sender<Part>, idle_max: Duration) -> Result<(), Status>
where
    S: Stream<Item = Result<wire::ImportBulkRelationshipsRequest, Status>> + Unpin,
{
    loop {
        let next = tokio::time::timeout(idle_max, batches.next()).await;
        let part = match next.map_err(|_| stalled(idle_max.as_secs()))? {
            Some(batch) => Part::Batch(convert::each("relationships", batch?.relationships, convert::relationship)?),
            None => Part::End,
        };
        let ended = matches!(part, Part::End);
        // An import that takes no more has failed, and says why itself.
        if sender.send(part).await.is_err() || ended {
            return Ok(());
        }
    }
}

fn import(
    authorizer: &Authorizer,
    call: &Call,
    mode: BulkMode,
    metadata: Option<String>,
    mut parts: mpsc::Receiver<Part>,
) -> Result<(ZedToken, u64), Error> {
    let mut import = authorizer.import(call, mode)?.with_metadata(metadata)?;
    loop {
        match parts.blocking_recv() {
            Some(Part::Batch(relationships)) => import.push(relationships)?,
            Some(Part::End) => return import.finish(),
            None => return Err(Error::Cancelled),
        }
    }
}
