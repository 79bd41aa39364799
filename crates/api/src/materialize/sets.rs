//! WatchPermissionSets, LookupPermissionSets, DownloadPermissionSets.

use std::ops::ControlFlow;
use std::time::SystemTime;

use stonetown_authorizer::Call;
use stonetown_authorizer::materialize::{Certainty, Event, LookupSetsRequest, Position};
use stonetown_authorizer::world::Cursor;
use stonetown_tuple::ZedToken;
use tonic::{Request, Response, Status};

use super::{change, feed, watched_to_wire};
use crate::calls::{Calls, MESSAGES_AHEAD, Pool, Streamed};
use crate::convert::{At, FieldError};
use crate::cursor::{CursorError, Question};
use crate::incoming::Incoming;
use crate::proto::authzed::api::materialize::v0 as wire;
use crate::proto::authzed::api::materialize::v0::permission_set_change::SetOperation;
use crate::proto::authzed::api::materialize::v0::watch_permission_sets_response::Response as Told;
use crate::proto::authzed::api::v1;
use crate::token;

#[tonic::async_trait]
impl wire::watch_permission_sets_service_server::WatchPermissionSetsService for Calls {
    type WatchPermissionSetsStream = Streamed<wire::WatchPermissionSetsResponse>;
    type LookupPermissionSetsStream = Streamed<wire::LookupPermissionSetsResponse>;

    async fn watch_permission_sets(
        &self,
        request: Request<wire::WatchPermissionSetsRequest>,
    ) -> Result<Response<Self::WatchPermissionSetsStream>, Status> {
        let (incoming, metadata, message) = Incoming::open(request)?;
        let after = optional_token(message.optional_starting_after).at("optional_starting_after")?;
        let start = feed::start(&metadata, after)?;
        let call = incoming.call.clone();
        let follower = self.run(Pool::Light, move |authorizer| authorizer.follow_sets(&call, start)).await?;
        Ok(Response::new(feed::stream(self, incoming, follower, message_of)))
    }

    async fn lookup_permission_sets(
        &self,
        request: Request<wire::LookupPermissionSetsRequest>,
    ) -> Result<Response<Self::LookupPermissionSetsStream>, Status> {
        let (incoming, _, message) = Incoming::open(request)?;
        let question = question(self, &incoming.call);
        let (limit, cursor) = (message.limit, message.optional_starting_after_cursor);
        let is_over = cursor.as_ref().is_some_and(|cursor| cursor.completed_members);
        let after = cursor.map(|cursor| decode(&question, cursor)).transpose()?.flatten();
        let at = optional_token(message.optional_at_revision).at("optional_at_revision")?;
        if let (Some(at), Some(after)) = (at, &after)
            && at != after.token
        {
            let why = "is not the revision of the cursor, which goes on where it was";
            return Err(FieldError::new(why).within("optional_at_revision").into());
        }
        if is_over {
            return Ok(Response::new(Box::pin(futures::stream::empty())));
        }
        // One more tells whether there is more.
        let asked = LookupSetsRequest { at, limit: (limit > 0).then_some(u64::from(limit) + 1), after };
        let stream = self.stream(incoming, MESSAGES_AHEAD, move |authorizer, call, outlet| {
            // Each message waits for the next, as the last says that it is.
            let mut waiting: Option<(wire::PermissionSetChange, Cursor<Position>)> = None;
            let mut sent = 0;
            let message = |change, cursor: &Cursor<Position>, last| wire::LookupPermissionSetsResponse {
                change: Some(change),
                cursor: Some(encode(&question, cursor, limit, last)),
            };
            authorizer.lookup_permission_sets(call, &asked, &mut |set, child, cursor| {
                let change = change(cursor.token, SetOperation::Added, set, child);
                let Some((before, cursor)) = waiting.replace((change, cursor)) else {
                    return ControlFlow::Continue(());
                };
                sent += 1;
                outlet.send(message(before, &cursor, false))?;
                if sent == limit {
                    waiting = None;
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })?;
            if let Some((change, cursor)) = waiting {
                let _ = outlet.send(message(change, &cursor, true));
            }
            Ok(())
        });
        Ok(Response::new(stream.await?))
    }

    async fn download_permission_sets(
        &self,
        request: Request<wire::DownloadPermissionSetsRequest>,
    ) -> Result<Response<wire::DownloadPermissionSetsResponse>, Status> {
        let (incoming, _, message) = Incoming::open(request)?;
        let at = optional_token(message.optional_at_revision).at("optional_at_revision")?;
        let Some(downloads) = self.downloads().cloned() else {
            return Err(Status::failed_precondition("this server offers no files"));
        };
        incoming.cost.add(1, 0);
        let call = incoming.call;
        let (at, _) = self.run(Pool::Light, move |authorizer| authorizer.moment_of_sets(&call, at)).await?;
        let offered = SystemTime::now();
        Ok(Response::new(wire::DownloadPermissionSetsResponse {
            files: vec![downloads.offer(at.revision, offered)],
            timestamp: Some(offered.into()),
            at_revision: Some(token::encode(at)),
        }))
    }
}

fn message_of(event: Event) -> Option<wire::WatchPermissionSetsResponse> {
    let told = match event {
        Event::Changed { at, set, child, before, after } => {
            let operation = match (before == Certainty::Yes, after == Certainty::Yes) {
                (false, true) => SetOperation::Added,
                (true, false) => SetOperation::Removed,
                // Between in doubt and not at all.
                (false, false) | (true, true) => return None,
            };
            Told::Change(change(at, operation, set, child))
        }
        Event::Completed(at) => Told::CompletedRevision(token::encode(at)),
        Event::LookupRequired(at) => Told::LookupPermissionSetsRequired(wire::LookupPermissionSetsRequired {
            required_lookup_at: Some(token::encode(at)),
        }),
        Event::Breaking { at, permissions } => Told::BreakingSchemaChange(wire::BreakingSchemaChange {
            change_at: Some(token::encode(at)),
            affected_permissions: permissions.iter().map(watched_to_wire).collect(),
        }),
    };
    Some(wire::WatchPermissionSetsResponse { response: Some(told) })
}

fn optional_token(text: Option<v1::ZedToken>) -> Result<Option<ZedToken>, FieldError> {
    text.map(|text| token::decode(&text.token)).transpose()
}

/// A cursor is good for the same permissions: its place counts their sets.
fn question(calls: &Calls, call: &Call) -> Question {
    let permissions = calls.authorizer().materialized().iter().map(watched_to_wire).collect();
    let parameters = wire::WatchPermissionsRequest { permissions, optional_starting_after: None };
    calls.question(call, "LookupPermissionSets", &parameters)
}

fn encode(question: &Question, cursor: &Cursor<Position>, limit: u32, last: bool) -> wire::Cursor {
    wire::Cursor {
        limit,
        token: Some(token::encode(cursor.token)),
        starting_index: 0,
        completed_members: last,
        starting_key: String::new(),
        cursor: question.encode(cursor).token,
    }
}

fn decode(question: &Question, cursor: wire::Cursor) -> Result<Option<Cursor<Position>>, CursorError> {
    question.decode(Some(v1::Cursor { token: cursor.cursor })).map_err(|error| match error {
        CursorError::Undecodable(_) => FieldError::new("is not a cursor: expected that of an earlier answer")
            .within("optional_starting_after_cursor.cursor")
            .into(),
        CursorError::Mismatch => CursorError::Mismatch,
    })
}
