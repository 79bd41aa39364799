//! WatchPermissions.

use stonetown_authorizer::materialize::{Certainty, Event, SetChild};
use tonic::{Request, Response, Status};

use super::{feed, watched};
use crate::calls::{Calls, Pool, Streamed};
use crate::convert::{self, At, FieldError, object_to_wire, subject_to_wire};
use crate::incoming::Incoming;
use crate::proto::authzed::api::materialize::v0 as wire;
use crate::proto::authzed::api::materialize::v0::permission_change::Permissionship;
use crate::proto::authzed::api::materialize::v0::watch_permissions_response::Response as Told;
use crate::token;

#[tonic::async_trait]
impl wire::watch_permissions_service_server::WatchPermissionsService for Calls {
    type WatchPermissionsStream = Streamed<wire::WatchPermissionsResponse>;

    async fn watch_permissions(
        &self,
        request: Request<wire::WatchPermissionsRequest>,
    ) -> Result<Response<Self::WatchPermissionsStream>, Status> {
        let (incoming, metadata, message) = Incoming::open(request)?;
        if message.permissions.is_empty() {
            return Err(FieldError::new("at least one permission is required").within("permissions").into());
        }
        let permissions = convert::each("permissions", message.permissions, watched)?;
        let after = message.optional_starting_after.map(|after| token::decode(&after.token)).transpose();
        let after = after.at("optional_starting_after")?;
        let start = feed::start(&metadata, after)?;
        let call = incoming.call.clone();
        let begin = self.run(Pool::Light, move |authorizer| authorizer.follow_permissions(&call, permissions, start));
        let follower = begin.await?;
        Ok(Response::new(feed::stream(self, incoming, follower, message_of)))
    }
}

fn message_of(event: Event) -> Option<wire::WatchPermissionsResponse> {
    let told = match event {
        Event::Changed { at, set, child: SetChild::Member(subject), after, .. } => {
            let permissionship = match after {
                Certainty::No => Permissionship::NoPermission,
                Certainty::Undecided => Permissionship::ConditionalPermission,
                Certainty::Yes => Permissionship::HasPermission,
            };
            Told::Change(wire::PermissionChange {
                revision: Some(token::encode(at)),
                resource: Some(object_to_wire(&set.object)),
                permission: set.relation.into(),
                subject: Some(subject_to_wire(&subject)),
                permissionship: permissionship.into(),
            })
        }
        Event::Completed(at) => Told::CompletedRevision(token::encode(at)),
        Event::Changed { .. } | Event::LookupRequired(_) | Event::Breaking { .. } => return None,
    };
    Some(wire::WatchPermissionsResponse { response: Some(told) })
}
