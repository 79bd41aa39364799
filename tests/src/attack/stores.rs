//! Two stores with equal names and opposite meanings, asked at once, in pages, and watched.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Error, Result, ensure};
use futures::TryStreamExt;
use stonetown_api::proto::authzed::api::v1 as wire;
use tonic::Status;
use wire::check_permission_response::Permissionship;

use crate::client::{Client, fully_consistent, object, relationship};
use crate::home::Home;
use crate::server::{KEY, Server, Store, binary};

const WORKERS: usize = 8;
/// Documents of a worker, in each store.
const DOCUMENTS: usize = 3;
/// Times that each worker walks through everything that is listed.
const WALKS: usize = 6;

/// A client of one store, who knows whether a viewer of it may view.
#[derive(Clone)]
struct Inside {
    client: Client,
    viewers_may: bool,
    page: u32,
}

impl Inside {
    async fn touch(&mut self, doc: &str, is_viewer: bool) -> Result<(), Status> {
        let viewer = [relationship(("doc", doc), "viewer", ("agent", "x"))];
        let (touched, deleted) = if is_viewer { (viewer.to_vec(), vec![]) } else { (vec![], viewer.to_vec()) };
        self.client.write(touched, deleted).await.map(drop)
    }

    async fn may(&mut self, doc: &str) -> Result<bool, Status> {
        let request = wire::CheckPermissionRequest {
            consistency: Some(fully_consistent()),
            resource: Some(object("doc", doc)),
            permission: "view".to_owned(),
            subject: relationship(("doc", doc), "viewer", ("agent", "x")).subject,
            ..wire::CheckPermissionRequest::default()
        };
        let answer = self.client.permissions.check_permission(request).await?.into_inner();
        Ok(answer.permissionship() == Permissionship::HasPermission)
    }

    /// A page of what may be viewed, and the cursor behind it.
    async fn page(&mut self, after: Option<wire::Cursor>) -> Result<(Vec<String>, Option<wire::Cursor>), Status> {
        let request = wire::LookupResourcesRequest {
            resource_object_type: "doc".to_owned(),
            permission: "view".to_owned(),
            subject: relationship(("doc", "any"), "viewer", ("agent", "x")).subject,
            optional_limit: self.page,
            optional_cursor: after,
            ..wire::LookupResourcesRequest::default()
        };
        let found: Vec<_> = self.client.permissions.lookup_resources(request).await?.into_inner().try_collect().await?;
        let after = found.last().and_then(|last| last.after_result_cursor.clone());
        Ok((found.into_iter().map(|found| found.resource_object_id).collect(), after))
    }

    /// What is watched of the marks, up to the last one.
    async fn marks(mut self, last: String) -> Result<BTreeSet<String>> {
        let mut seen = BTreeSet::new();
        let mut stream = self.client.watch.watch(wire::WatchRequest::default()).await?.into_inner();
        while !seen.contains(&last)
            && let Some(message) = stream.try_next().await?
        {
            let ids = message.updates.into_iter().filter_map(|update| update.relationship?.resource);
            seen.extend(ids.map(|resource| resource.object_id).filter(|id| id.starts_with("mark")));
        }
        Ok(seen)
    }
}

/// Asks about so many checks, and what belongs to them, of two stores at once. Says how many it were.
///
/// # Errors
/// If one store has anything of the other's in an answer.
pub async fn run(checks: usize) -> Result<usize> {
    let rounds = checks.div_ceil(WORKERS * DOCUMENTS * 2 * WALKS) * WALKS;
    let home = Home::new();
    let server =
        Server::start(&binary()?, Store::Memory, &["--watch-api-heartbeat", "50ms", "--log-calls", "none"], &[])
            .await?;
    let said = async |args: &[&str]| home.said(&server.address, KEY, args).await.map_err(Error::msg);
    let mut stores = Vec::new();
    for (name, view) in [("one", "viewer"), ("other", "all - viewer")] {
        let schema = format!(
            "definition agent {{}} definition doc {{ relation viewer: agent; relation all: agent; permission view = {view} }}"
        );
        let schema = home.write("schema.zed", &schema);
        said(&["store", "create", name, "--holder", "group:preshared"]).await?;
        said(&["--store", name, "schema", "write", &schema]).await?;
        let token = said(&["credential", "issue", "key-1", "--for-store", name, "--ttl", "4h"]).await?;
        let client = Client::connect_as(&server.address, token.trim()).await?;
        // Pages of a few, and yet not thousands of them.
        let page = u32::try_from(3 + rounds / 60)?;
        stores.push(Inside { client, viewers_may: name == "one", page });
    }
    let all = (0..WORKERS).flat_map(names).map(|doc| relationship(("doc", &doc), "all", ("agent", "x")));
    stores[1].client.write(all.collect::<Vec<_>>(), []).await?;

    let watching = stores.iter().cloned().enumerate();
    let watching: Vec<_> =
        watching.map(|(number, store)| tokio::spawn(store.marks(format!("mark-{number}-end")))).collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let working = (0..WORKERS).map(|worker| tokio::spawn(work(stores.clone(), worker, rounds)));
    let mut asked = 0;
    for worker in working.collect::<Vec<_>>() {
        asked += worker.await??;
    }
    for (number, watch) in watching.into_iter().enumerate() {
        stores[number].touch(&format!("mark-{number}-end"), true).await?;
        let seen = watch.await??;
        ensure!(seen.iter().all(|mark| mark.starts_with(&format!("mark-{number}-"))), "{number}: {seen:?}");
        ensure!(seen.len() == WORKERS * rounds / 2 + 1, "{number} saw {} marks", seen.len());
    }
    Ok(asked)
}

fn names(worker: usize) -> impl Iterator<Item = String> {
    (0..DOCUMENTS).map(move |number| format!("w{worker}-{number}"))
}

/// Turns documents in both stores alike, and asks both what has become of all of them.
async fn work(mut stores: Vec<Inside>, worker: usize, rounds: usize) -> Result<usize> {
    let docs: Vec<_> = names(worker).collect();
    let mut is_viewer = [false; DOCUMENTS];
    let mut asked = 0;
    for round in 0..rounds {
        let turned = (round * 7 + worker) % DOCUMENTS;
        is_viewer[turned] = !is_viewer[turned];
        for store in &mut stores {
            store.touch(&docs[turned], is_viewer[turned]).await?;
        }
        stores[round % 2].touch(&format!("mark-{}-{worker}-{round}", round % 2), true).await?;
        for (doc, is_viewer) in docs.iter().zip(is_viewer) {
            for store in &mut stores {
                let expected = is_viewer == store.viewers_may;
                ensure!(store.may(doc).await? == expected, "{doc}, round {round}");
                asked += 1;
            }
        }
        if round % (rounds / WALKS) != 0 {
            continue;
        }
        let (found, pages) = walk(&mut stores).await?;
        asked += pages;
        for (store, found) in stores.iter().zip(found) {
            let own: BTreeSet<_> = found.into_iter().filter(|doc| docs.contains(doc)).collect();
            let expected = docs.iter().zip(is_viewer).filter(|(_, is_viewer)| *is_viewer == store.viewers_may);
            ensure!(own == expected.map(|(doc, _)| doc.clone()).collect(), "round {round}: {own:?}");
        }
    }
    Ok(asked)
}

/// All that each store lists, page by page in turns; each cursor is shown to the other store, too. And how many pages it were.
async fn walk(stores: &mut [Inside]) -> Result<([BTreeSet<String>; 2], usize)> {
    let mut after = [None, None];
    let mut found = [BTreeSet::new(), BTreeSet::new()];
    let (mut open, mut pages) = (true, 0);
    while open {
        open = false;
        for number in 0..2 {
            let (page, next) = stores[number].page(after[number].clone()).await?;
            pages += 1;
            found[number].extend(page);
            if let Some(next) = next {
                let refused = stores[1 - number].page(Some(next.clone())).await;
                ensure!(refused.is_err(), "a cursor of the other store: {refused:?}");
                (after[number], open) = (Some(next), true);
            }
        }
    }
    Ok((found, pages))
}
