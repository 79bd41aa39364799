//! GrantService: access just in time.

mod convert;
mod told;
mod watch;

pub(super) use convert::requestable_to_wire as requestable;
pub use told::GrantMessages;

use std::sync::Arc;

use stonetown_authorizer::Call;
use stonetown_grants::{Decision, Desk, Error, Grant};
use tonic::{Code, Request, Response, Status};

use crate::calls::{Calls, Pool, Streamed};
use crate::incoming::Incoming;
use crate::proto::stonetown::v1 as wire;
use crate::status::{status as engine_status, worded};

/// Grants in one answer.
const LISTED_MAX: usize = 1_000;

impl Calls {
    /// Runs a call about grants on a thread that may block, and has recorded under `name` how it ended.
    async fn at_desk<M: Send + 'static, T: Send + 'static>(
        &self,
        pool: Pool,
        name: &'static str,
        request: Request<M>,
        work: impl FnOnce(&Desk, &Call, M) -> Result<T, Status> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let (incoming, _, message) = Incoming::open(request)?;
        let desk = self.desk()?;
        incoming.cost.add(1, 0);
        let done = self.run(pool, move |authorizer| {
            let call = &incoming.call;
            Ok(authorizer.record_call(call, name, why_refused, || {
                let _permit = authorizer.let_in(call, pool.into()).map_err(|error| engine_status(&error))?;
                work(&desk, call, message)
            }))
        });
        let done = done.await?;
        done.map(Response::new)
    }

    fn desk(&self) -> Result<Arc<Desk>, Status> {
        self.grants().cloned().ok_or_else(|| Status::unimplemented("this server has no system store, and so no grants"))
    }
}

#[tonic::async_trait]
impl wire::grant_service_server::GrantService for Calls {
    type WatchGrantsStream = Streamed<wire::WatchGrantsResponse>;

    async fn put_template(
        &self,
        request: Request<wire::PutTemplateRequest>,
    ) -> Result<Response<wire::PutTemplateResponse>, Status> {
        self.at_desk(Pool::Light, "put_template", request, |desk, call, message| {
            let template = convert::template(message.template)?;
            let template = desk.put_template(call, &template, &message.reason).map_err(|error| status(&error))?;
            Ok(wire::PutTemplateResponse { template: Some(convert::template_to_wire(&template)) })
        })
        .await
    }

    async fn delete_template(
        &self,
        request: Request<wire::DeleteTemplateRequest>,
    ) -> Result<Response<wire::DeleteTemplateResponse>, Status> {
        self.at_desk(Pool::Light, "delete_template", request, |desk, call, message| {
            desk.delete_template(call, &message.name, &message.reason).map_err(|error| status(&error))?;
            Ok(wire::DeleteTemplateResponse {})
        })
        .await
    }

    async fn list_templates(
        &self,
        request: Request<wire::ListTemplatesRequest>,
    ) -> Result<Response<wire::ListTemplatesResponse>, Status> {
        self.at_desk(Pool::Heavy, "list_templates", request, |desk, call, _| {
            let templates = desk.templates(call).map_err(|error| status(&error))?;
            let templates = templates.iter().map(|template| convert::template_to_wire(template)).collect();
            Ok(wire::ListTemplatesResponse { templates })
        })
        .await
    }

    async fn request_grant(
        &self,
        request: Request<wire::RequestGrantRequest>,
    ) -> Result<Response<wire::RequestGrantResponse>, Status> {
        self.at_desk(Pool::Light, "request_grant", request, |desk, call, message| {
            let grant = desk.request(call, &convert::ask(message)?);
            shown(desk, grant).map(|grant| wire::RequestGrantResponse { grant })
        })
        .await
    }

    async fn decide_grant(
        &self,
        request: Request<wire::DecideGrantRequest>,
    ) -> Result<Response<wire::DecideGrantResponse>, Status> {
        self.at_desk(Pool::Light, "decide_grant", request, |desk, call, message| {
            let wire::DecideGrantRequest { id, version, approve, comment, ttl_max } = message;
            let decision = Decision { version, approve, comment, ttl_max: convert::seconds("ttl_max", ttl_max)? };
            let grant = desk.decide(call, &id, &decision);
            shown(desk, grant).map(|grant| wire::DecideGrantResponse { grant })
        })
        .await
    }

    async fn revoke_grant(
        &self,
        request: Request<wire::RevokeGrantRequest>,
    ) -> Result<Response<wire::RevokeGrantResponse>, Status> {
        self.at_desk(Pool::Light, "revoke_grant", request, |desk, call, message| {
            let grant = desk.revoke(call, &message.id, &message.reason);
            shown(desk, grant).map(|grant| wire::RevokeGrantResponse { grant })
        })
        .await
    }

    async fn complete_task(
        &self,
        request: Request<wire::CompleteTaskRequest>,
    ) -> Result<Response<wire::CompleteTaskResponse>, Status> {
        self.at_desk(Pool::Light, "complete_task", request, |desk, call, message| {
            let ended = desk.complete_task(call, &message.task).map_err(|error| status(&error))?;
            Ok(wire::CompleteTaskResponse { ended })
        })
        .await
    }

    async fn review_grant(
        &self,
        request: Request<wire::ReviewGrantRequest>,
    ) -> Result<Response<wire::ReviewGrantResponse>, Status> {
        self.at_desk(Pool::Light, "review_grant", request, |desk, call, message| {
            let grant = desk.review(call, &message.id, message.justified, &message.comment);
            shown(desk, grant).map(|grant| wire::ReviewGrantResponse { grant })
        })
        .await
    }

    async fn get_grant(
        &self,
        request: Request<wire::GetGrantRequest>,
    ) -> Result<Response<wire::GetGrantResponse>, Status> {
        self.at_desk(Pool::Light, "get_grant", request, |desk, call, message| {
            let grant = desk.get(call, &message.id);
            shown(desk, grant).map(|grant| wire::GetGrantResponse { grant })
        })
        .await
    }

    async fn list_grants(
        &self,
        request: Request<wire::ListGrantsRequest>,
    ) -> Result<Response<wire::ListGrantsResponse>, Status> {
        self.at_desk(Pool::Heavy, "list_grants", request, |desk, call, asked| {
            let matches = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
            let keep = |grant: &Grant| {
                matches(&asked.task, &grant.task)
                    && matches(&asked.template, &grant.template)
                    && matches(&asked.requester, &grant.requester)
                    && matches(&asked.beneficiary, &grant.beneficiary)
            };
            let listed = desk.list(call, asked.open || asked.inbox, &keep).map_err(|error| status(&error))?;
            let most = if asked.limit == 0 { LISTED_MAX } else { LISTED_MAX.min(asked.limit as usize) };
            let mut grants = Vec::new();
            for grant in listed {
                if grants.len() < most && (!asked.inbox || desk.awaits(call, &grant).map_err(|error| status(&error))?) {
                    grants.push(as_it_stands(desk, &grant)?);
                }
            }
            Ok(wire::ListGrantsResponse { grants })
        })
        .await
    }

    async fn watch_grants(
        &self,
        request: Request<wire::WatchGrantsRequest>,
    ) -> Result<Response<Self::WatchGrantsStream>, Status> {
        watch::answer(self, request).await
    }

    async fn find_templates(
        &self,
        request: Request<wire::FindTemplatesRequest>,
    ) -> Result<Response<wire::FindTemplatesResponse>, Status> {
        self.at_desk(Pool::Heavy, "find_templates", request, |desk, call, message| {
            let (object, permission) = convert::question(message)?;
            let found = desk.requestable(call, &object, permission.as_str(), None).map_err(|error| status(&error))?;
            let requestable = found.into_iter().map(convert::requestable_to_wire).collect();
            Ok(wire::FindTemplatesResponse { requestable })
        })
        .await
    }
}

fn shown(desk: &Desk, grant: Result<Grant, Error>) -> Result<Option<wire::Grant>, Status> {
    let grant = grant.map_err(|error| status(&error))?;
    as_it_stands(desk, &grant).map(Some)
}

/// A grant as it is now: what it wrote may be gone before its time is over.
fn as_it_stands(desk: &Desk, grant: &Grant) -> Result<wire::Grant, Status> {
    let active = desk.gives_access(grant).map_err(|error| status(&error))?;
    Ok(wire::Grant { active, ..convert::grant_to_wire(grant, desk.now()) })
}

/// What the log says of a refusal.
fn why_refused(status: &Status) -> (&'static str, String) {
    let reason = match status.code() {
        Code::NotFound => "no_such",
        Code::PermissionDenied => "refused_by_gate",
        Code::InvalidArgument => "invalid",
        Code::FailedPrecondition => "refused",
        Code::Aborted => "serialization",
        Code::ResourceExhausted => "above_limit",
        Code::Unavailable => "read_only",
        _ => "internal",
    };
    (reason, status.message().to_owned())
}

pub(super) fn status(error: &Error) -> Status {
    let code = match error {
        Error::NotFound { .. } => Code::NotFound,
        Error::Denied { .. } => Code::PermissionDenied,
        Error::Invalid { .. } => Code::InvalidArgument,
        Error::WrongState { .. } | Error::InUse { .. } => Code::FailedPrecondition,
        Error::Changed { .. } => Code::Aborted,
        Error::TooMany { .. } => Code::ResourceExhausted,
        Error::Engine(error) => return engine_status(error),
    };
    worded(code, &error.to_string())
}
