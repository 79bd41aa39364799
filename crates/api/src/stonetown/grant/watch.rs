//! WatchGrants: the documents of grants in the system store's log, those that the caller may see.

use std::sync::Arc;
use std::time::Duration;

use stonetown_authorizer::Call;
use stonetown_authorizer::watch::{Watch, Watched};
use stonetown_grants::Desk;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use super::{convert, status, why_refused};
use crate::calls::{Calls, Pool, Streamed, streamed};
use crate::convert::At;
use crate::incoming::Incoming;
use crate::proto::stonetown::v1 as wire;
use crate::{status as wire_status, token};

/// Between two looks at the log.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Looks without a change after which the client hears where the watch is.
const LOOKS_UNTOLD: u32 = 25;
/// Messages ahead of the client.
const MESSAGES_AHEAD: usize = 4;

pub(super) async fn answer(
    calls: &Calls,
    request: Request<wire::WatchGrantsRequest>,
) -> Result<Response<Streamed<wire::WatchGrantsResponse>>, Status> {
    let (incoming, _, message) = Incoming::open(request)?;
    let desk = calls.desk()?;
    let after = Some(message.after).filter(|text| !text.is_empty());
    let after = after.map(|text| token::decode(&text)).transpose().at("after")?;
    incoming.cost.add(1, 0);
    let opening = Arc::clone(&desk);
    let call = incoming.call.clone();
    let begun = calls.run(Pool::Light, move |authorizer| {
        let open = || opening.watch(&call, after).map_err(|error| status(&error));
        Ok(authorizer.record_call(&call, "watch_grants", why_refused, open))
    });
    let watch = begun.await??;
    let (sender, receiver) = mpsc::channel(MESSAGES_AHEAD);
    let stopping = calls.watching().stopping();
    let work = tokio::spawn(run(desk, incoming.call, watch, sender, calls.stream_idle_max(), stopping));
    Ok(Response::new(streamed(receiver, work, None, None)))
}

/// Sends until the client leaves, or says why the stream ends.
async fn run(
    desk: Arc<Desk>,
    call: Call,
    mut watch: Watch,
    sender: mpsc::Sender<wire::WatchGrantsResponse>,
    idle_max: Duration,
    mut stopping: tokio::sync::watch::Receiver<bool>,
) -> Result<(), Status> {
    let mut untold = 0;
    loop {
        let (at_desk, caller) = (Arc::clone(&desk), call.clone());
        let read = tokio::task::spawn_blocking(move || (step(&at_desk, &caller, &mut watch), watch)).await;
        let found;
        (found, watch) = read.map_err(|_| wire_status::lost())?;
        let message = match found? {
            Found::Grants(message) => Some(message),
            Found::Nothing => None,
            Found::NothingYet if sender.is_closed() => return Ok(()),
            Found::NothingYet => continue,
        };
        untold += 1;
        let message = message.or_else(|| (untold >= LOOKS_UNTOLD).then(wire::WatchGrantsResponse::default));
        if let Some(message) = message {
            untold = 0;
            match tokio::time::timeout(idle_max, sender.send(message)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Ok(()),
                Err(_) => return Err(wire_status::not_read(idle_max.as_secs())),
            }
        } else {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = sender.closed() => return Ok(()),
                Ok(_) = stopping.wait_for(|stopping| *stopping) => return Err(wire_status::stopping()),
            }
        }
        if call.deadline.is_some_and(|deadline| deadline <= std::time::Instant::now()) {
            return Err(Status::deadline_exceeded("the watch's time is over"));
        }
    }
}

/// What is next in the log.
enum Found {
    Grants(wire::WatchGrantsResponse),
    /// The end of the log is reached.
    Nothing,
    /// There is more behind what was read.
    NothingYet,
}

/// Reads a bounded piece of the log.
fn step(desk: &Desk, call: &Call, watch: &mut Watch) -> Result<Found, Status> {
    Ok(match desk.poll(watch).map_err(|error| status(&error))? {
        Watched::CaughtUp => Found::Nothing,
        Watched::More => Found::NothingYet,
        Watched::Message(message) => {
            let grants = desk.in_message(call, &message).map_err(|error| status(&error))?;
            if grants.is_empty() {
                return Ok(Found::NothingYet);
            }
            let token = message.through.map(|token| token::encode(token).token).unwrap_or_default();
            let grants = grants.iter().map(|grant| convert::grant_to_wire(grant, desk.now())).collect();
            Found::Grants(wire::WatchGrantsResponse { grants, token })
        }
    })
}
