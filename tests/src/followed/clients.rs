//! Those who follow: a watcher and one who keeps sets. Both go on from their last token when the stream is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::StreamExt;
use stonetown_api::proto::authzed::api::materialize::v0 as sets;
use stonetown_api::proto::authzed::api::v1 as wire;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Streaming};

use sets::permission_set_change::{Child, SetOperation};
use sets::watch_permission_sets_response::Response as Told;
use sets::watch_permission_sets_service_client::WatchPermissionSetsServiceClient;
use wire::relationship_update::Operation;

use super::{Children, MARK, whole};
use crate::client::{Bearer, Client, text};

/// How long a glance at a stream waits for something.
const GLANCE: Duration = Duration::from_millis(5);

/// Keeps the relationships that a watch tells of.
#[derive(Default)]
pub(super) struct Watcher {
    stream: Option<Streaming<wire::WatchResponse>>,
    through: Option<wire::ZedToken>,
    /// By the text without caveat and times, whole.
    pub(super) relationships: BTreeMap<String, String>,
}

impl Watcher {
    /// Loses the stream; whether there was one.
    pub(super) fn break_off(&mut self) -> bool {
        self.stream.take().is_some()
    }

    /// Takes some messages, if they come at once.
    pub(super) async fn glance(&mut self, client: &mut Client, messages: usize) -> Result<()> {
        for _ in 0..messages {
            match tokio::time::timeout(GLANCE, self.next(client)).await {
                Ok(taken) => taken?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Reads until the mark is there, or gone, and its revision complete.
    pub(super) async fn read_until_mark(&mut self, client: &mut Client, is_marked: bool) -> Result<()> {
        while self.relationships.contains_key(MARK) != is_marked {
            self.next(client).await?;
        }
        Ok(())
    }

    async fn next(&mut self, client: &mut Client) -> Result<()> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let mut request = Request::new(wire::WatchRequest {
                    optional_start_cursor: self.through.clone(),
                    optional_update_kinds: vec![
                        wire::WatchKind::IncludeRelationshipUpdates.into(),
                        wire::WatchKind::IncludeCheckpoints.into(),
                    ],
                    ..Default::default()
                });
                if self.through.is_none() {
                    self.relationships.clear();
                    request.metadata_mut().insert("stonetown-watch-from", "start".parse()?);
                }
                self.stream.insert(client.watch.watch(request).await?.into_inner())
            }
        };
        let message = stream.next().await.context("the watch ended")??;
        for update in message.updates {
            let (operation, relationship) = (update.operation(), update.relationship.context("no relationship")?);
            match operation {
                Operation::Touch => drop(self.relationships.insert(text(&relationship), whole(relationship)?)),
                Operation::Delete => drop(self.relationships.remove(&text(&relationship))),
                other => bail!("a watch tells of {other:?}"),
            }
        }
        if message.changes_through.is_some() {
            self.through = message.changes_through;
        }
        Ok(())
    }
}

/// Keeps the children of sets that a stream of changes tells of.
#[derive(Default)]
pub(super) struct Keeper {
    stream: Option<Streaming<sets::WatchPermissionSetsResponse>>,
    completed: Option<wire::ZedToken>,
    /// Those of the last completed revision.
    pub(super) children: Children,
    pending: Vec<(bool, String)>,
}

impl Keeper {
    /// Loses the stream and what was not complete; whether there was one.
    pub(super) fn break_off(&mut self) -> bool {
        self.pending.clear();
        self.stream.take().is_some()
    }

    /// Takes some messages, if they come at once.
    pub(super) async fn glance(&mut self, address: &str, messages: usize) -> Result<()> {
        for _ in 0..messages {
            match tokio::time::timeout(GLANCE, self.next(address)).await {
                Ok(taken) => taken?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Reads until the mark is there, or gone, in a completed revision.
    pub(super) async fn read_until_mark(&mut self, address: &str, is_marked: bool) -> Result<()> {
        while self.children.contains("group:mark#member user:mark") != is_marked {
            self.next(address).await?;
        }
        Ok(())
    }

    /// Whether a user, or `*`, is in a set or in one that is reached from it.
    pub(super) fn reaches(&self, set: &str, user: &str) -> bool {
        let (mut met, mut open) = (BTreeSet::new(), vec![set.to_owned()]);
        while let Some(set) = open.pop() {
            for member in [format!("{set} user:{user}"), format!("{set} user:*")] {
                if self.children.contains(&member) {
                    return true;
                }
            }
            if met.insert(set.clone()) {
                let prefix = format!("{set} ");
                let children = self.children.range(prefix.clone()..).take_while(|child| child.starts_with(&prefix));
                open.extend(children.map(|child| child[prefix.len()..].to_owned()));
            }
        }
        false
    }

    async fn next(&mut self, address: &str) -> Result<()> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let message = sets::WatchPermissionSetsRequest { optional_starting_after: self.completed.clone() };
                let mut request = Request::new(message);
                if self.completed.is_none() {
                    request.metadata_mut().insert("stonetown-watch-from", "start".parse()?);
                }
                self.stream.insert(client(address).await?.watch_permission_sets(request).await?.into_inner())
            }
        };
        match stream.next().await.context("the stream of changes ended")??.response.context("empty")? {
            Told::Change(change) => {
                self.pending.push((change.operation() == SetOperation::Added, child_text(change)?));
            }
            Told::CompletedRevision(at) => {
                for (is_added, child) in self.pending.drain(..) {
                    let is_new =
                        if is_added { self.children.insert(child.clone()) } else { self.children.remove(&child) };
                    ensure!(is_new, "told twice: {child}");
                }
                self.completed = Some(at);
            }
            other => bail!("{other:?}"),
        }
        Ok(())
    }
}

/// All children, in pages of so many; 0 for one page.
pub(super) async fn listed(address: &str, limit: u32) -> Result<Children> {
    let (mut all, mut cursor) = (Children::new(), None);
    loop {
        let request = sets::LookupPermissionSetsRequest {
            limit: limit * 20,
            optional_at_revision: None,
            optional_starting_after_cursor: cursor.take(),
        };
        let mut page = client(address).await?.lookup_permission_sets(request).await?.into_inner();
        while let Some(message) = page.next().await {
            let message = message?;
            let child = child_text(message.change.context("no change")?)?;
            ensure!(all.insert(child.clone()), "listed twice: {child}");
            cursor = message.cursor;
        }
        if cursor.as_ref().is_none_or(|cursor: &sets::Cursor| cursor.completed_members) {
            return Ok(all);
        }
    }
}

async fn client(address: &str) -> Result<WatchPermissionSetsServiceClient<InterceptedService<Channel, Bearer>>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    Ok(WatchPermissionSetsServiceClient::with_interceptor(channel, Bearer::new()?))
}

fn child_text(change: sets::PermissionSetChange) -> Result<String> {
    let set = |set: sets::SetReference| format!("{}:{}#{}", set.object_type, set.object_id, set.permission_or_relation);
    let parent = set(change.parent_set.context("no set")?);
    Ok(match change.child.context("no child")? {
        Child::ChildSet(child) => format!("{parent} {}", set(child)),
        Child::ChildMember(member) => format!("{parent} {}:{}", member.object_type, member.object_id),
    })
}
