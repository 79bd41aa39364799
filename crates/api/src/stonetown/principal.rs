//! PrincipalService: who can call, with what, and what they may do.

pub(super) mod convert;

use std::sync::Arc;

use stonetown_authorizer::admission::Weight;
use stonetown_authorizer::{Call, Caller, Error};
use stonetown_identity::Identity;
use stonetown_identity::manage::{LIST_MAX, Mandate, Terms};
use stonetown_tuple::StoreId;
use tonic::{Request, Response, Status};

use crate::calls::{Calls, Pool, Streamed};
use crate::convert::{At, FieldError, timestamp_to_wire};
use crate::incoming::Incoming;
use crate::proto::stonetown::v1 as wire;
use crate::stonetown::core;
use crate::token;

/// Results between the thread that finds them and the connection that sends them.
const MESSAGES_AHEAD: usize = 64;

impl Calls {
    /// Reads a message and does what it asks on a thread that may block. The identity crate judges the caller; how it ended is
    /// recorded under `name`.
    pub(super) async fn managed<M, A: Send + 'static, R: Send + 'static>(
        &self,
        pool: Pool,
        name: &'static str,
        request: Request<M>,
        parse: impl FnOnce(M) -> Result<A, FieldError>,
        work: impl FnOnce(&Identity, &Caller, A) -> Result<R, Error> + Send + 'static,
    ) -> Result<Response<R>, Status> {
        let (incoming, _, message) = Incoming::open(request)?;
        let identity = self.principals()?;
        let asked = parse(message)?;
        incoming.cost.add(1, 0);
        let answer = self.run(pool, move |authorizer| {
            // It is about the server, and so in its log, whichever store the call names.
            let call = &Call { store: StoreId::SYSTEM, ..incoming.call };
            authorizer.record_call(call, name, why_refused, || {
                let _permit = authorizer.let_in(call, pool.into())?;
                work(&identity, &call.caller, asked)
            })
        });
        answer.await.map(Response::new)
    }

    fn principals(&self) -> Result<Arc<Identity>, Status> {
        let none =
            || Status::failed_precondition("this server keeps no principals: it can be read only, or is for tests");
        self.identity().cloned().ok_or_else(none)
    }
}

/// What the log says of a refusal.
fn why_refused(error: &Error) -> (&'static str, String) {
    (error.name(), error.to_string())
}

#[tonic::async_trait]
impl wire::principal_service_server::PrincipalService for Calls {
    type ListPrincipalsStream = Streamed<wire::ListPrincipalsResponse>;

    async fn create_principal(
        &self,
        request: Request<wire::CreatePrincipalRequest>,
    ) -> Result<Response<wire::CreatePrincipalResponse>, Status> {
        let parse = |message: wire::CreatePrincipalRequest| {
            Ok((convert::wanted(message.principal).at("principal")?, convert::why(message.why)))
        };
        let answer =
            self.managed(Pool::Light, "create_principal", request, parse, |identity, caller, ((id, wanted), why)| {
                let principal = Some(convert::principal(identity.create_principal(caller, &id, wanted, &why)?)?);
                Ok(wire::CreatePrincipalResponse { principal })
            });
        answer.await
    }

    async fn update_principal(
        &self,
        request: Request<wire::UpdatePrincipalRequest>,
    ) -> Result<Response<wire::UpdatePrincipalResponse>, Status> {
        let parse = |message: wire::UpdatePrincipalRequest| {
            Ok((convert::wanted(message.principal).at("principal")?, convert::why(message.why)))
        };
        let answer =
            self.managed(Pool::Light, "update_principal", request, parse, |identity, caller, ((id, wanted), why)| {
                let principal = Some(convert::principal(identity.update_principal(caller, &id, wanted, &why)?)?);
                Ok(wire::UpdatePrincipalResponse { principal })
            });
        answer.await
    }

    async fn get_principal(
        &self,
        request: Request<wire::GetPrincipalRequest>,
    ) -> Result<Response<wire::GetPrincipalResponse>, Status> {
        let parse = |message: wire::GetPrincipalRequest| convert::id(message.id).at("id");
        let answer = self.managed(Pool::Light, "get_principal", request, parse, |identity, caller, id| {
            let principal = Some(convert::principal(identity.get_principal(caller, &id)?)?);
            Ok(wire::GetPrincipalResponse { principal })
        });
        answer.await
    }

    async fn list_principals(
        &self,
        request: Request<wire::ListPrincipalsRequest>,
    ) -> Result<Response<Self::ListPrincipalsStream>, Status> {
        let (incoming, _, message) = Incoming::open(request)?;
        let identity = self.principals()?;
        let page = message.page.unwrap_or_default();
        let stream = self.stream(incoming, MESSAGES_AHEAD, move |authorizer, call, outlet| {
            let _permit = authorizer.let_in(call, Weight::Heavy)?;
            let mut left = if page.size == 0 { usize::MAX } else { page.size as usize };
            let mut after = page.cursor;
            while left > 0 {
                let page = || identity.list_principals(&call.caller, &after, left.min(LIST_MAX));
                let found = authorizer.record_call(call, "list_principals", why_refused, page)?;
                let Some(last) = found.last() else { break };
                after.clone_from(&last.id);
                left -= found.len();
                for described in found {
                    let cursor = described.id.clone();
                    let principal = Some(convert::principal(described)?);
                    if outlet.send(wire::ListPrincipalsResponse { principal, cursor }).is_break() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        });
        Ok(Response::new(stream.await?))
    }

    async fn quarantine_principal(
        &self,
        request: Request<wire::QuarantinePrincipalRequest>,
    ) -> Result<Response<wire::QuarantinePrincipalResponse>, Status> {
        let parse = |message: wire::QuarantinePrincipalRequest| {
            Ok((convert::id(message.id).at("id")?, convert::why(message.why)))
        };
        let answer =
            self.managed(Pool::Light, "quarantine_principal", request, parse, |identity, caller, (id, why)| {
                let token = token::encode(identity.quarantine(caller, &id, &why)?).token;
                Ok(wire::QuarantinePrincipalResponse { token })
            });
        answer.await
    }

    async fn release_principal(
        &self,
        request: Request<wire::ReleasePrincipalRequest>,
    ) -> Result<Response<wire::ReleasePrincipalResponse>, Status> {
        let parse =
            |message: wire::ReleasePrincipalRequest| Ok((convert::id(message.id).at("id")?, convert::why(message.why)));
        let answer = self.managed(Pool::Light, "release_principal", request, parse, |identity, caller, (id, why)| {
            let token = token::encode(identity.release(caller, &id, &why)?).token;
            Ok(wire::ReleasePrincipalResponse { token })
        });
        answer.await
    }

    async fn retire_principal(
        &self,
        request: Request<wire::RetirePrincipalRequest>,
    ) -> Result<Response<wire::RetirePrincipalResponse>, Status> {
        let parse = |message: wire::RetirePrincipalRequest| {
            Ok((convert::id(message.id).at("id")?, message.dry_run, convert::why(message.why)))
        };
        let answer =
            self.managed(Pool::Heavy, "retire_principal", request, parse, |identity, caller, (id, dry_run, why)| {
                let retired = identity.retire(caller, &id, dry_run, &why)?;
                Ok(wire::RetirePrincipalResponse {
                    credentials: retired.credentials,
                    powers: retired.powers,
                    relationships: retired.relationships,
                })
            });
        answer.await
    }

    async fn issue_credential(
        &self,
        request: Request<wire::IssueCredentialRequest>,
    ) -> Result<Response<wire::IssueCredentialResponse>, Status> {
        let parse = |message: wire::IssueCredentialRequest| {
            let principal = convert::id(message.principal).at("principal")?;
            let ttl = message.ttl.map(convert::duration).transpose().at("ttl")?;
            let store = Some(message.store).filter(|store| !store.is_empty());
            let terms = Terms { ttl, scope: convert::scope(message.scope), store };
            Ok((principal, terms, convert::why(message.why)))
        };
        let answer = self.managed(
            Pool::Light,
            "issue_credential",
            request,
            parse,
            |identity, caller, (principal, terms, why)| {
                let issued = identity.issue_credential(caller, &principal, terms, &why)?;
                let (token, expires_at) =
                    (issued.token.reveal().to_owned(), Some(timestamp_to_wire(issued.expires_at)));
                Ok(wire::IssueCredentialResponse { id: issued.id, token, expires_at })
            },
        );
        answer.await
    }

    async fn rotate_credential(
        &self,
        request: Request<wire::RotateCredentialRequest>,
    ) -> Result<Response<wire::RotateCredentialResponse>, Status> {
        let parse = |message: wire::RotateCredentialRequest| {
            let ttl = message.ttl.map(convert::duration).transpose().at("ttl")?;
            let overlap = message.overlap.map(convert::duration).transpose().at("overlap")?.unwrap_or_default();
            Ok((convert::id(message.id).at("id")?, ttl, overlap, convert::why(message.why)))
        };
        let answer = self.managed(
            Pool::Light,
            "rotate_credential",
            request,
            parse,
            |identity, caller, (id, ttl, overlap, why)| {
                let issued = identity.rotate_credential(caller, &id, ttl, overlap, &why)?;
                let (token, expires_at) =
                    (issued.token.reveal().to_owned(), Some(timestamp_to_wire(issued.expires_at)));
                Ok(wire::RotateCredentialResponse { id: issued.id, token, expires_at })
            },
        );
        answer.await
    }

    async fn revoke_credential(
        &self,
        request: Request<wire::RevokeCredentialRequest>,
    ) -> Result<Response<wire::RevokeCredentialResponse>, Status> {
        use wire::revoke_credential_request::Which;
        let parse = |message: wire::RevokeCredentialRequest| {
            let which = match message.which {
                Some(Which::Id(id)) => Which::Id(convert::id(id).at("id")?),
                Some(Which::AllOf(id)) => Which::AllOf(convert::id(id).at("all_of")?),
                None => return Err(FieldError::new("one of `id` and `all_of` is required")),
            };
            Ok((which, convert::why(message.why)))
        };
        let answer =
            self.managed(Pool::Light, "revoke_credential", request, parse, |identity, caller, (which, why)| {
                let at = match which {
                    Which::Id(id) => identity.revoke_credential(caller, &id, &why)?,
                    Which::AllOf(principal) => identity.revoke_credentials(caller, &principal, &why)?,
                };
                Ok(wire::RevokeCredentialResponse { token: token::encode(at).token })
            });
        answer.await
    }

    async fn list_credentials(
        &self,
        request: Request<wire::ListCredentialsRequest>,
    ) -> Result<Response<wire::ListCredentialsResponse>, Status> {
        let parse = |message: wire::ListCredentialsRequest| convert::id(message.principal).at("principal");
        let answer = self.managed(Pool::Heavy, "list_credentials", request, parse, |identity, caller, principal| {
            let credentials = identity.list_credentials(caller, &principal)?.into_iter().map(convert::lease).collect();
            Ok(wire::ListCredentialsResponse { credentials })
        });
        answer.await
    }

    async fn give_power(
        &self,
        request: Request<wire::GivePowerRequest>,
    ) -> Result<Response<wire::GivePowerResponse>, Status> {
        let parse = |message: wire::GivePowerRequest| {
            let holder = convert::holder(message.holder).at("holder")?;
            Ok((holder, convert::power(message.power).at("power")?, convert::why(message.why)))
        };
        let answer =
            self.managed(Pool::Light, "give_power", request, parse, |identity, caller, (holder, power, why)| {
                let token = token::encode(identity.give_power(caller, &holder, &power, &why)?).token;
                Ok(wire::GivePowerResponse { token })
            });
        answer.await
    }

    async fn take_power(
        &self,
        request: Request<wire::TakePowerRequest>,
    ) -> Result<Response<wire::TakePowerResponse>, Status> {
        let parse = |message: wire::TakePowerRequest| {
            let holder = convert::holder(message.holder).at("holder")?;
            Ok((holder, convert::power(message.power).at("power")?, convert::why(message.why)))
        };
        let answer =
            self.managed(Pool::Light, "take_power", request, parse, |identity, caller, (holder, power, why)| {
                let token = token::encode(identity.take_power(caller, &holder, &power, &why)?).token;
                Ok(wire::TakePowerResponse { token })
            });
        answer.await
    }

    async fn list_powers(
        &self,
        request: Request<wire::ListPowersRequest>,
    ) -> Result<Response<wire::ListPowersResponse>, Status> {
        let parse = |message: wire::ListPowersRequest| convert::id(message.principal).at("principal");
        let answer = self.managed(Pool::Heavy, "list_powers", request, parse, |identity, caller, principal| {
            let powers = identity.powers_of(caller, &principal)?.into_iter().map(convert::power_to_wire).collect();
            Ok(wire::ListPowersResponse { powers })
        });
        answer.await
    }

    async fn delegate(
        &self,
        request: Request<wire::DelegateRequest>,
    ) -> Result<Response<wire::DelegateResponse>, Status> {
        let parse = |message: wire::DelegateRequest| {
            let ttl = message.ttl.map(convert::duration).transpose().at("ttl")?;
            let mandate = Mandate { types: message.types, permissions: message.permissions, ttl };
            let (principal, actor) =
                (convert::id(message.principal).at("principal")?, convert::id(message.actor).at("actor")?);
            Ok((principal, actor, mandate, convert::why(message.why)))
        };
        let answer = self.managed(
            Pool::Light,
            "delegate",
            request,
            parse,
            |identity, caller, (principal, actor, mandate, why)| {
                let delegation = identity.delegate(caller, &principal, &actor, &mandate, &why)?;
                Ok(wire::DelegateResponse { delegation: Some(convert::delegation(delegation)) })
            },
        );
        answer.await
    }

    async fn undelegate(
        &self,
        request: Request<wire::UndelegateRequest>,
    ) -> Result<Response<wire::UndelegateResponse>, Status> {
        let parse = |message: wire::UndelegateRequest| {
            let (principal, actor) =
                (convert::id(message.principal).at("principal")?, convert::id(message.actor).at("actor")?);
            Ok((principal, actor, convert::why(message.why)))
        };
        let answer =
            self.managed(Pool::Light, "undelegate", request, parse, |identity, caller, (principal, actor, why)| {
                let token = token::encode(identity.undelegate(caller, &principal, &actor, &why)?).token;
                Ok(wire::UndelegateResponse { token })
            });
        answer.await
    }

    async fn list_delegations(
        &self,
        request: Request<wire::ListDelegationsRequest>,
    ) -> Result<Response<wire::ListDelegationsResponse>, Status> {
        let parse = |message: wire::ListDelegationsRequest| convert::id(message.principal).at("principal");
        let answer = self.managed(Pool::Heavy, "list_delegations", request, parse, |identity, caller, principal| {
            let found = identity.delegations(caller, &principal)?;
            Ok(wire::ListDelegationsResponse { delegations: found.into_iter().map(convert::delegation).collect() })
        });
        answer.await
    }

    async fn replace_subject(
        &self,
        request: Request<wire::ReplaceSubjectRequest>,
    ) -> Result<Response<wire::ReplaceSubjectResponse>, Status> {
        let parse = |message: wire::ReplaceSubjectRequest| {
            let (from, to) = (core::object(message.from).at("from")?, core::object(message.to).at("to")?);
            Ok((convert::store(message.store), from, to, convert::why(message.why)))
        };
        let answer =
            self.managed(Pool::Heavy, "replace_subject", request, parse, |identity, caller, (store, from, to, why)| {
                let replaced = identity.replace_subject(caller, &store, &from, &to, &why)?;
                let token = replaced.at.map(|at| token::encode(at).token).unwrap_or_default();
                Ok(wire::ReplaceSubjectResponse { moved: replaced.moved, token })
            });
        answer.await
    }

    async fn who_am_i(&self, request: Request<wire::WhoAmIRequest>) -> Result<Response<wire::WhoAmIResponse>, Status> {
        let store = request.extensions().get::<StoreId>().copied().unwrap_or(StoreId::DEFAULT);
        let answer = self.managed(Pool::Light, "who_am_i", request, Ok, move |identity, caller, _| {
            let found = identity.who_am_i(caller, store)?;
            let proof = caller.proof.as_deref();
            Ok(wire::WhoAmIResponse {
                principal: Some(convert::principal(found.described)?),
                proof: proof.map(|proof| proof.credential.to_string()).unwrap_or_default(),
                expires_at: proof.and_then(|proof| proof.expires_at).map(timestamp_to_wire),
                scope: convert::scope_to_wire(caller.scope()),
                server_permissions: found.server,
                store_permissions: found.store,
            })
        });
        answer.await
    }
}
