//! AdminService: upkeep of a running server. Work that says nothing for long is reported as still going on, so that neither
//! the stream nor a proxy on the way gives it up.

use std::ops::ControlFlow;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use stonetown_authorizer::upkeep::Checkpoint;
use stonetown_authorizer::{Authorizer, Call, Error, Scrubbed};
use tonic::{Request, Response, Status};

use crate::calls::{Calls, Outlet, Pool, Streamed};
use crate::incoming::Incoming;
use crate::proto::stonetown::v1 as wire;
use crate::token;

/// Longest time between two messages about work that goes on.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Shortest time between two reports of progress.
const PROGRESS: Duration = Duration::from_millis(200);
/// Reports between the thread that works and the connection that sends them.
const MESSAGES_AHEAD: usize = 16;

#[tonic::async_trait]
impl wire::admin_service_server::AdminService for Calls {
    type CheckpointStream = Streamed<wire::CheckpointResponse>;
    type ScrubStream = Streamed<wire::ScrubResponse>;

    async fn get_info(
        &self,
        request: Request<wire::GetInfoRequest>,
    ) -> Result<Response<wire::GetInfoResponse>, Status> {
        let (Incoming { call, cost }, ..) = Incoming::open(request)?;
        cost.add(1, 0);
        let version = self.version().unwrap_or_default().to_owned();
        let Some(info) = self.run(Pool::Light, move |authorizer| authorizer.info_for(&call)).await? else {
            return Ok(Response::new(wire::GetInfoResponse { version, ..wire::GetInfoResponse::default() }));
        };
        Ok(Response::new(wire::GetInfoResponse {
            version,
            instance: format!("{:016x}", info.instance.0),
            head_revision: info.head.0,
            oldest_revision: info.floor.0,
            disk_bytes: info.usage.disk_bytes,
            log_entries: info.usage.log_entries,
        }))
    }

    async fn checkpoint(
        &self,
        request: Request<wire::CheckpointRequest>,
    ) -> Result<Response<Self::CheckpointStream>, Status> {
        let (incoming, _, message) = Incoming::open(request)?;
        let sign_of_life = SIGN_OF_LIFE.min(self.stream_idle_max() / 3);
        let stream = self.stream(incoming, MESSAGES_AHEAD, move |authorizer, call, outlet| {
            let name = Some(message.name.as_str()).filter(|name| !name.is_empty());
            let made = waiting(sign_of_life, outlet, || authorizer.checkpoint(call, name))?;
            tracing::info!(path = %made.path.display(), revision = made.made.revision.0, "checkpoint made");
            let _nobody_listens = outlet.send(wire::CheckpointResponse { done: Some(done(made)) });
            Ok(())
        });
        Ok(Response::new(stream.await?))
    }

    async fn scrub(&self, request: Request<wire::ScrubRequest>) -> Result<Response<Self::ScrubStream>, Status> {
        let (incoming, ..) = Incoming::open(request)?;
        let stream = self.stream(incoming, MESSAGES_AHEAD, |authorizer, call, outlet| {
            let report = scrub(authorizer, call, outlet)?;
            let _nobody_listens = outlet.send(report);
            Ok(())
        });
        Ok(Response::new(stream.await?))
    }
}

/// Runs `work` on a thread of its own and says on this one that it goes on. It runs to its end, whoever listens.
fn waiting<T: Send>(
    pause: Duration,
    outlet: &mut Outlet<wire::CheckpointResponse>,
    work: impl FnOnce() -> Result<T, Error> + Send,
) -> Result<T, Error> {
    let (sender, done) = sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _received = sender.send(work());
        });
        loop {
            match done.recv_timeout(pause) {
                Ok(outcome) => return outcome,
                Err(RecvTimeoutError::Timeout) => {
                    let _nobody_listens = outlet.send(wire::CheckpointResponse { done: None });
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Internal("a checkpoint panicked".to_owned())),
            }
        }
    })
}

fn done(Checkpoint { path, made, token }: Checkpoint) -> wire::CheckpointDone {
    wire::CheckpointDone {
        path: path.display().to_string(),
        revision: made.revision.0,
        token: token::encode(token).token,
        bytes: made.bytes,
    }
}

fn scrub(
    authorizer: &Authorizer,
    call: &Call,
    outlet: &mut Outlet<wire::ScrubResponse>,
) -> Result<wire::ScrubResponse, Error> {
    let mut told = Instant::now();
    let mut keys = 0;
    let found = authorizer.scrub(call, &mut |looked| {
        keys = looked;
        if told.elapsed() < PROGRESS {
            return ControlFlow::Continue(());
        }
        told = Instant::now();
        outlet.send(wire::ScrubResponse { keys, report: None })
    })?;
    let Scrubbed { revision, versions, commits, names, differences, more } = found;
    match differences.first() {
        None => tracing::info!(revision = revision.0, "scrubbed: everything agrees"),
        Some(first) => tracing::error!(revision = revision.0, %first, "scrubbed: what is stored does not agree"),
    }
    let differences = differences
        .into_iter()
        .map(|difference| wire::Difference { kind: difference.kind.as_str().to_owned(), what: difference.what });
    let report = wire::ScrubReport {
        revision: revision.0,
        versions,
        commits,
        names,
        differences: differences.collect(),
        more_differences: more,
    };
    Ok(wire::ScrubResponse { keys, report: Some(report) })
}
