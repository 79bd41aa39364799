//! AuditService: the logs of decisions and of changes.

use std::cell::RefCell;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use serde_json::Value;
use stonetown_authorizer::logs::{Erasure, Hash, Log, Query, RawRecord};
use stonetown_authorizer::{Authorizer, Call, Error};
use tonic::{Request, Response, Status};

use crate::calls::{Calls, MESSAGES_AHEAD, Pool, Streamed};
use crate::convert::{At, FieldError, context, timestamp_from_wire};
use crate::incoming::Incoming;
use crate::proto::stonetown::v1 as wire;

/// Longest time between two messages of a search that finds nothing.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

#[tonic::async_trait]
impl wire::audit_service_server::AuditService for Calls {
    type SearchRecordsStream = Streamed<wire::SearchRecordsResponse>;

    async fn search_records(
        &self,
        request: Request<wire::SearchRecordsRequest>,
    ) -> Result<Response<Self::SearchRecordsStream>, Status> {
        let (incoming, _, message) = Incoming::open(request)?;
        let log = log(message.log).at("log")?;
        let mut left = if message.limit == 0 { u64::MAX } else { message.limit };
        let query = query(message, log)?;
        let stream = self.stream(incoming, MESSAGES_AHEAD, move |authorizer, call, outlet| {
            let mut told = Instant::now();
            // Both closures put something into it.
            let outlet = RefCell::new(outlet);
            let mut reading = |index| {
                if told.elapsed() < SIGN_OF_LIFE {
                    return ControlFlow::Continue(());
                }
                told = Instant::now();
                outlet.borrow_mut().send(wire::SearchRecordsResponse { record: None, next: index })
            };
            authorizer.search_log(call, log, &query, &mut reading, &mut |raw| {
                let next = raw.record.index + 1;
                left -= 1;
                outlet.borrow_mut().send(wire::SearchRecordsResponse { record: Some(to_wire(raw)), next })?;
                if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
        });
        Ok(Response::new(stream.await?))
    }

    async fn get_checkpoint(
        &self,
        request: Request<wire::GetCheckpointRequest>,
    ) -> Result<Response<wire::GetCheckpointResponse>, Status> {
        let read = self.read_log(
            request,
            |message| message.log,
            |authorizer, call, log, _| authorizer.log_checkpoint(call, log),
        );
        let signed = read.await?;
        let origin = signed.checkpoint.origin;
        Ok(Response::new(wire::GetCheckpointResponse {
            keys: signed.keys.iter().map(|key| key.verifier(&origin)).collect(),
            note: signed.note,
            size: signed.checkpoint.size,
            root: signed.checkpoint.root.to_vec(),
            origin,
        }))
    }

    async fn prove_record(
        &self,
        request: Request<wire::ProveRecordRequest>,
    ) -> Result<Response<wire::ProveRecordResponse>, Status> {
        let read = self.read_log(
            request,
            |message| message.log,
            |authorizer, call, log, message| authorizer.prove_record(call, log, message.index),
        );
        let proof = read.await?;
        Ok(Response::new(wire::ProveRecordResponse {
            index: proof.index,
            text: proof.to_text(),
            leaf_hash: proof.leaf.to_vec(),
            path: hashes(&proof.path),
            note: proof.note,
        }))
    }

    async fn prove_growth(
        &self,
        request: Request<wire::ProveGrowthRequest>,
    ) -> Result<Response<wire::ProveGrowthResponse>, Status> {
        let read = self.read_log(
            request,
            |message| message.log,
            |authorizer, call, log, message| authorizer.prove_growth(call, log, message.size),
        );
        let proof = read.await?;
        Ok(Response::new(wire::ProveGrowthResponse {
            old_root: proof.old_root.to_vec(),
            path: hashes(&proof.path),
            note: proof.note,
        }))
    }

    async fn erase_fields(
        &self,
        request: Request<wire::EraseFieldsRequest>,
    ) -> Result<Response<wire::EraseFieldsResponse>, Status> {
        let (Incoming { call, cost }, _, message) = Incoming::open(request)?;
        let erasure = Erasure { object: named(message.object), caller: named(message.caller) };
        let wire::Why { reason, ticket } = message.why.unwrap_or_default();
        let why = if ticket.is_empty() { reason } else { format!("{reason} ({ticket})") };
        cost.add(1, 0);
        let erase = move |authorizer: &Authorizer| authorizer.erase_from_logs(&call, &erasure, &why);
        let fields = self.run(Pool::Heavy, erase).await?;
        Ok(Response::new(wire::EraseFieldsResponse { decisions: fields.decisions, changes: fields.changes }))
    }
}

impl Calls {
    /// Reads a message that names a log, and does what it asks of the log.
    async fn read_log<M: Send + 'static, T: Send + 'static>(
        &self,
        request: Request<M>,
        named: fn(&M) -> i32,
        work: impl FnOnce(&Authorizer, &Call, Log, M) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Status> {
        let (Incoming { call, cost }, _, message) = Incoming::open(request)?;
        let log = log(named(&message)).at("log")?;
        cost.add(1, 0);
        self.run(Pool::Heavy, move |authorizer| work(authorizer, &call, log, message)).await
    }
}

fn log(kind: i32) -> Result<Log, FieldError> {
    match wire::LogKind::try_from(kind) {
        Ok(wire::LogKind::Unspecified | wire::LogKind::Decisions) => Ok(Log::Decisions),
        Ok(wire::LogKind::Changes) => Ok(Log::Changes),
        Err(_) => Err(FieldError::new("is no log")),
    }
}

fn query(message: wire::SearchRecordsRequest, log: Log) -> Result<Query, FieldError> {
    let query = Query {
        subject: named(message.subject),
        resource: named(message.resource),
        permission: named(message.permission),
        outcome: named(message.outcome),
        call: named(message.call),
        caller: named(message.caller),
        since: message.since.map(timestamp_from_wire).transpose().at("since")?,
        until: message.until.map(timestamp_from_wire).transpose().at("until")?,
        from: message.from,
    };
    query.check(log.name()).or_else(|unfit| Err(FieldError::new(unfit.why)).at(unfit.field))?;
    Ok(query)
}

/// A text that says something.
fn named(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

fn hashes(path: &[Hash]) -> Vec<Vec<u8>> {
    path.iter().map(|hash| hash.to_vec()).collect()
}

fn to_wire(raw: &RawRecord<'_>) -> wire::LogRecord {
    let fields = match raw.record.to_json() {
        Value::Object(fields) => Some(context::to_wire(fields)),
        _ => None,
    };
    wire::LogRecord {
        index: raw.record.index,
        fields,
        entry: raw.entry.to_vec(),
        beside: raw.beside.to_vec(),
        leaf_hash: raw.leaf.to_vec(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use stonetown_authorizer::replay::Outcome;

    use super::*;

    #[test]
    fn what_no_record_can_have_is_refused_at_its_field() {
        let asked = |outcome: &str| wire::SearchRecordsRequest { outcome: outcome.to_owned(), ..Default::default() };
        for known in Outcome::ALL.map(Outcome::name) {
            assert_eq!(query(asked(known), Log::Decisions).unwrap().outcome.as_deref(), Some(known));
        }
        assert_eq!(query(asked(""), Log::Changes).unwrap().outcome, None);
        let refused = query(asked("alowed"), Log::Decisions).unwrap_err().to_string();
        assert!(refused.contains("outcome") && refused.contains("allowed, denied"), "{refused}");
        let refused = query(asked("allowed"), Log::Changes).unwrap_err();
        assert_eq!(refused.field, "outcome");
        assert!(log(3).is_err());
        assert_eq!((log(0).unwrap(), log(2).unwrap()), (Log::Decisions, Log::Changes));
    }
}
