//! WatchGrants: the documents of grants in the system store's log, those that the caller may see.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use stonetown_authorizer::Call;
use stonetown_authorizer::watch::{Watch, Watched};
use stonetown_grants::Desk;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use super::{convert, status, why_refused};
use crate::calls::{Calls, Pool, Streamed};
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
        let open = || opening.watch(after).map_err(|error| status(&error));
        Ok(authorizer.record_call(&call, "watch_grants", why_refused, open))
    });
    let watch = begun.await??;
    let (sender, receiver) = mpsc::channel(MESSAGES_AHEAD);
    let stopping = calls.watching().stopping();
    tokio::spawn(run(desk, incoming.call, watch, sender, calls.stream_idle_max(), stopping));
    let stream = futures::stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    Ok(Response::new(stream.boxed()))
}

async fn run(
    desk: Arc<Desk>,
    call: Call,
    mut watch: Watch,
    sender: mpsc::Sender<Result<wire::WatchGrantsResponse, Status>>,
    idle_max: Duration,
    mut stopping: tokio::sync::watch::Receiver<bool>,
) {
    let mut untold = 0;
    loop {
        let (at_desk, caller) = (Arc::clone(&desk), call.clone());
        let read = tokio::task::spawn_blocking(move || (step(&at_desk, &caller, &mut watch), watch)).await;
        let message = match read {
            Ok((Ok(message), read)) => {
                watch = read;
                message.map(Ok)
            }
            Ok((Err(error), _)) => {
                let _nobody_listens = sender.send(Err(error)).await;
                return;
            }
            Err(_) => {
                let _nobody_listens = sender.send(Err(wire_status::lost())).await;
                return;
            }
        };
        untold += 1;
        let message = message.or_else(|| (untold >= LOOKS_UNTOLD).then(|| Ok(wire::WatchGrantsResponse::default())));
        if let Some(message) = message {
            untold = 0;
            if !matches!(tokio::time::timeout(idle_max, sender.send(message)).await, Ok(Ok(()))) {
                return;
            }
        } else {
            let stopped = tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => false,
                () = sender.closed() => return,
                stopped = stopping.wait_for(|stopping| *stopping) => stopped.is_ok(),
            };
            if stopped {
                let _nobody_listens = sender.send(Err(wire_status::stopping())).await;
                return;
            }
        }
        if call.deadline.is_some_and(|deadline| deadline <= std::time::Instant::now()) {
            let _nobody_listens = sender.send(Err(Status::deadline_exceeded("the watch's time is over"))).await;
            return;
        }
    }
}

/// What is next in the log, if there is anything.
fn step(desk: &Desk, call: &Call, watch: &mut Watch) -> Result<Option<wire::WatchGrantsResponse>, Status> {
    loop {
        match desk.poll(watch).map_err(|error| status(&error))? {
            Watched::CaughtUp => return Ok(None),
            Watched::More => {}
            Watched::Message(message) => {
                let grants = desk.in_message(call, &message).map_err(|error| status(&error))?;
                let token = message.through.map(|token| token::encode(token).token).unwrap_or_default();
                if !grants.is_empty() {
                    let grants = grants.iter().map(|grant| convert::grant_to_wire(grant, desk.now())).collect();
                    return Ok(Some(wire::WatchGrantsResponse { grants, token }));
                }
            }
        }
    }
}
