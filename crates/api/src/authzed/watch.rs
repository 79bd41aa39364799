//! The call of WatchService: the authorizer's [`Watch`] read in bounded pieces, and what is read put into a stream that holds a
//! few messages. Between two commits a watch has no thread.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use stonetown_authorizer::watch::{Watch, WatchMessage, WatchRequest, WatchStart, Watched};
use stonetown_authorizer::{Authorizer, Error};
use stonetown_tuple::{ObjectType, Operation};
use tokio::sync::{Semaphore, mpsc, watch};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool, Streamed, streamed};
use crate::commits::Commits;
use crate::convert::{self, At, FieldError, context};
use crate::incoming::Incoming;
use crate::proto::authzed::api::v1 as wire;
use crate::settings::ApiSettings;
use crate::status::{lost, status, stopping, watch_not_read};
use crate::token;

/// Where a watch without a cursor begins: `now`, as by the interface, or `start`.
const FROM: &str = "stonetown-watch-from";
/// Messages that are read ahead of the client; each has a bounded size.
const MESSAGES_AHEAD: usize = 4;
/// Watches that read the log at the same time; more wait for their turn.
const READS_MAX: usize = 16;

/// What all watches share.
#[derive(Debug)]
pub(crate) struct Watching {
    reads: Arc<Semaphore>,
    heartbeat: Duration,
    reader_max: Duration,
    stopping: watch::Receiver<bool>,
}

impl Watching {
    /// Turns true when the server stops.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.clone()
    }

    pub(crate) fn new(settings: &ApiSettings) -> Watching {
        Watching {
            reads: Arc::new(Semaphore::new(READS_MAX)),
            heartbeat: settings.watch_heartbeat,
            reader_max: settings.watch_reader_max,
            // Without a sender it never turns true.
            stopping: settings.stopping.clone().unwrap_or_else(|| watch::channel(false).1),
        }
    }
}

#[tonic::async_trait]
impl wire::watch_service_server::WatchService for Calls {
    type WatchStream = Streamed<wire::WatchResponse>;

    async fn watch(&self, request: Request<wire::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (incoming, metadata, message) = Incoming::open(request)?;
        let asked = parse(message, &metadata)?;
        let call = incoming.call.clone();
        let watch = self.run(Pool::Light, move |authorizer| authorizer.watch(&call, &asked)).await?;
        incoming.cost.add(1, 0);
        let (sender, receiver) = mpsc::channel(MESSAGES_AHEAD);
        let feed = Feed {
            authorizer: self.shared_authorizer(),
            commits: self.commits(),
            reads: Arc::clone(&self.watching().reads),
            heartbeat: self.watching().heartbeat,
            reader_max: self.watching().reader_max,
            stopping: self.watching().stopping.clone(),
            deadline: incoming.call.deadline,
            sender,
        };
        Ok(Response::new(streamed(receiver, tokio::spawn(feed.run(watch)), None, None)))
    }
}

fn parse(message: wire::WatchRequest, metadata: &MetadataMap) -> Result<WatchRequest, FieldError> {
    let cursor = message.optional_start_cursor.map(|cursor| token::decode(&cursor.token));
    let cursor = cursor.transpose().at("optional_start_cursor")?;
    let start = match (cursor, metadata.get(FROM).map(|from| from.to_str())) {
        (Some(_), Some(_)) => {
            return Err(FieldError::new("a cursor says where to begin already").within(FROM));
        }
        (Some(token), None) => WatchStart::After(token),
        (None, None | Some(Ok("now"))) => WatchStart::Head,
        (None, Some(Ok("start"))) => WatchStart::Everything,
        (None, Some(_)) => return Err(FieldError::new("expected now or start").within(FROM)),
    };
    if !message.optional_object_types.is_empty() && !message.optional_relationship_filters.is_empty() {
        return Err(FieldError::new("cannot be set together with optional_object_types"))
            .at("optional_relationship_filters");
    }
    // Updates of relationships come whatever is asked for, as clients of SpiceDB expect.
    let kinds = message.optional_update_kinds;
    let known = |kind: i32| wire::WatchKind::try_from(kind).map_err(|_| FieldError::new("is no kind of update"));
    let kinds = convert::each("optional_update_kinds", kinds, known)?;
    Ok(WatchRequest {
        start,
        object_types: convert::each("optional_object_types", message.optional_object_types, |name| {
            Ok(ObjectType::new(name)?)
        })?,
        filters: convert::each(
            "optional_relationship_filters",
            message.optional_relationship_filters,
            convert::filter,
        )?,
        schema: kinds.contains(&wire::WatchKind::IncludeSchemaUpdates),
        checkpoints: kinds.contains(&wire::WatchKind::IncludeCheckpoints),
    })
}

/// The sending end of one watch.
struct Feed {
    authorizer: Arc<Authorizer>,
    commits: Commits,
    reads: Arc<Semaphore>,
    heartbeat: Duration,
    reader_max: Duration,
    stopping: watch::Receiver<bool>,
    deadline: Option<std::time::Instant>,
    sender: mpsc::Sender<wire::WatchResponse>,
}

/// Why the loop of a watch goes on.
enum Woken {
    Committed,
    Heartbeat,
    Stopping,
    Gone,
    Late,
}

impl Feed {
    /// Sends until the client leaves, or says why the stream ends.
    async fn run(mut self, mut watch: Watch) -> Result<(), Status> {
        loop {
            let (returned, found) = self.read(watch).await?;
            watch = returned;
            let (messages, more) = found.map_err(|error| status(&error))?;
            for message in messages {
                if !self.send(message).await? {
                    return Ok(());
                }
            }
            if self.deadline.is_some_and(|deadline| deadline <= std::time::Instant::now()) {
                return Err(status(&Error::Deadline));
            }
            if more || self.commits.are_past(watch.position()).await {
                continue;
            }
            if *self.stopping.borrow() {
                return Err(stopping());
            }
            match self.wait().await {
                Woken::Committed | Woken::Stopping => {}
                Woken::Heartbeat => {
                    if let Some(message) = watch.checkpoint()
                        && !self.send(message).await?
                    {
                        return Ok(());
                    }
                }
                Woken::Gone => return Ok(()),
                Woken::Late => return Err(status(&Error::Deadline)),
            }
        }
    }

    /// Reads some messages on a thread that may block; also whether there may be more.
    async fn read(&self, mut watch: Watch) -> Result<(Watch, Result<(Vec<WatchMessage>, bool), Error>), Status> {
        let turn = Arc::clone(&self.reads).acquire_owned().await.map_err(|_| lost())?;
        let authorizer = Arc::clone(&self.authorizer);
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let mut messages = Vec::new();
            let found = loop {
                match watch.poll(&authorizer) {
                    Ok(Watched::Message(message)) => messages.push(message),
                    Ok(Watched::More) => break Ok(true),
                    Ok(Watched::CaughtUp) => break Ok(false),
                    // What was read before it is sent first; the error comes again then.
                    Err(_) if !messages.is_empty() => break Ok(true),
                    Err(error) => break Err(error),
                }
                if messages.len() == MESSAGES_AHEAD {
                    break Ok(true);
                }
            };
            (watch, found.map(|more| (messages, more)))
        });
        read.await.map_err(|_| lost())
    }

    /// Sends a message, waiting for the client for a bounded time; whether it still listens.
    async fn send(&self, message: WatchMessage) -> Result<bool, Status> {
        match tokio::time::timeout(self.reader_max, self.sender.send(to_wire(message))).await {
            Ok(sent) => Ok(sent.is_ok()),
            Err(_) => {
                self.authorizer.watchers().count_disconnected();
                Err(watch_not_read(self.reader_max.as_secs()))
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let late = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        let stop = async {
            if self.stopping.wait_for(|stopping| *stopping).await.is_err() {
                std::future::pending().await
            }
        };
        let (late, stop) = (pin!(late), pin!(stop));
        tokio::select! {
            () = self.commits.next() => Woken::Committed,
            () = self.sender.closed() => Woken::Gone,
            () = stop => Woken::Stopping,
            () = late => Woken::Late,
            () = tokio::time::sleep(self.heartbeat) => Woken::Heartbeat,
        }
    }
}

fn to_wire(message: WatchMessage) -> wire::WatchResponse {
    let metadata = message.metadata.and_then(|text| serde_json::from_str(&text).ok()).map(context::to_wire);
    wire::WatchResponse {
        updates: message.updates.into_iter().map(update_to_wire).collect(),
        changes_through: message.through.map(token::encode),
        full_revision_metadata: metadata.clone().into_iter().collect(),
        optional_transaction_metadata: metadata,
        schema_updated: message.schema_updated,
        is_checkpoint: message.checkpoint,
    }
}

fn update_to_wire(update: stonetown_tuple::RelationshipUpdate) -> wire::RelationshipUpdate {
    use wire::relationship_update::Operation as Wire;
    let operation = match update.operation {
        Operation::Create | Operation::Touch => Wire::Touch,
        Operation::Delete => Wire::Delete,
    };
    let relationship = Some(convert::relationship_to_wire(update.relationship));
    wire::RelationshipUpdate { operation: operation.into(), relationship }
}
