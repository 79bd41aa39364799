//! A watcher, a client that keeps sets, and counters, followed through random transactions while the server is killed and
//! streams break off. At each checkpoint all three are compared with what a scan says, and the sets with checks, too.
//!
//! A checkpoint is exact: what expires has expired and is in the log (a question to a counter sees to that), and a last
//! transaction marks the place up to which both streams are read.
//!
//! Reading order: this file, `author` (the transactions), `clients` (those who follow).

mod author;
mod clients;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::TryStreamExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stonetown_api::client::relationship_from_wire;
use stonetown_api::proto::authzed::api::v1 as wire;
use wire::check_bulk_permissions_pair::Response;
use wire::check_permission_response::Permissionship;
use wire::experimental_count_relationships_response::CounterResult;

use self::author::{Author, DOCUMENTS, MARK, USERS};
use self::clients::{Keeper, Watcher, listed};
use crate::client::{Client, fully_consistent, object, text};
use crate::server::{Server, Store};

/// Transactions between two checkpoints.
const TRANSACTIONS_PER_ROUND: u32 = 20;
/// The permissions of documents that are kept as sets.
const PERMISSIONS: [&str; 2] = ["view", "read"];
const FLAGS: [&str; 2] = ["--materialize-permission", "document#view@user,document#read@user"];
/// Time that anything may take to be told.
const SOON: Duration = Duration::from_secs(60);

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Transactions, rounded up to whole rounds.
    pub transactions: u32,
    /// Decides everything else.
    pub seed: u64,
    /// The `stonetown` binary.
    pub binary: PathBuf,
}

/// What was done, and found to agree.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Transactions that were followed, marks included.
    pub transactions: u32,
    /// Checkpoints.
    pub checkpoints: u32,
    /// Kills of the server.
    pub restarts: u32,
    /// Streams that were broken off and resumed, those of kills included.
    pub reconnects: u32,
    /// Relationships that watcher and scan agree about.
    pub relationships: usize,
    /// Children of sets that the kept and the listed agree about.
    pub children: usize,
    /// Checks that agree with the sets.
    pub checks: usize,
    /// Those among them that found a member.
    pub members: usize,
    /// Counts that agree with the scan.
    pub counts: usize,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} transactions, {} restarts, {} reconnects; at {} checkpoints {} relationships, {} children of sets, {} checks \
             ({} members) and {} counts agree",
            self.transactions,
            self.restarts,
            self.reconnects,
            self.checkpoints,
            self.relationships,
            self.children,
            self.checks,
            self.members,
            self.counts
        )
    }
}

/// Follows a server of its own.
///
/// # Errors
/// The first disagreement, or a failure of the server.
pub async fn run(plan: &Plan) -> Result<Tally> {
    let directory = tempfile::tempdir()?;
    let mut stage = Stage::start(plan, directory.path()).await?;
    let rounds = plan.transactions.div_ceil(TRANSACTIONS_PER_ROUND);
    for round in 0..rounds {
        stage.round().await.with_context(|| format!("round {round} of {rounds}, seed {}", plan.seed))?;
    }
    Ok(stage.tally)
}

struct Stage<'a> {
    binary: &'a Path,
    directory: &'a Path,
    /// None only while it is being replaced.
    server: Option<Server>,
    address: String,
    client: Client,
    random: StdRng,
    author: Author,
    watcher: Watcher,
    keeper: Keeper,
    tally: Tally,
}

impl<'a> Stage<'a> {
    async fn start(plan: &'a Plan, directory: &'a Path) -> Result<Stage<'a>> {
        let server = Server::start(&plan.binary, Store::RocksDb(directory), &FLAGS, &[]).await?;
        let mut client = Client::connect(&server.address).await?;
        client.write_schema(author::schema(false)).await?;
        for (name, filter) in counters() {
            let request = wire::ExperimentalRegisterRelationshipCounterRequest {
                name: name.to_owned(),
                relationship_filter: Some(filter),
            };
            client.experimental.experimental_register_relationship_counter(request).await?;
        }
        Ok(Stage {
            binary: &plan.binary,
            directory,
            address: server.address.clone(),
            server: Some(server),
            client,
            random: StdRng::seed_from_u64(plan.seed),
            author: Author::default(),
            watcher: Watcher::default(),
            keeper: Keeper::default(),
            tally: Tally::default(),
        })
    }

    async fn round(&mut self) -> Result<()> {
        for _ in 1..TRANSACTIONS_PER_ROUND {
            self.author.write(&mut self.client, &mut self.random).await?;
            self.tally.transactions += 1;
            if self.random.random_range(0..6) == 0 {
                // Somewhere in the midst of what is told.
                let messages = self.random.random_range(1..20);
                self.watcher.glance(&mut self.client, messages).await?;
                self.keeper.glance(&self.address, messages).await?;
            }
            if self.random.random_range(0..30) == 0 {
                self.break_off();
            }
            if self.random.random_range(0..200) == 0 {
                self.restart().await?;
            }
        }
        self.checkpoint().await
    }

    fn break_off(&mut self) {
        self.tally.reconnects += u32::from(self.watcher.break_off()) + u32::from(self.keeper.break_off());
    }

    async fn restart(&mut self) -> Result<()> {
        if let Some(server) = self.server.take() {
            server.kill().await?;
        }
        let server = Server::start(self.binary, Store::RocksDb(self.directory), &FLAGS, &[]).await?;
        self.address.clone_from(&server.address);
        self.server = Some(server);
        self.client = Client::connect(&self.address).await?;
        self.break_off();
        self.tally.restarts += 1;
        Ok(())
    }

    async fn checkpoint(&mut self) -> Result<()> {
        self.author.wait_for_ends().await;
        // The log is told of what has ended before a counter is read.
        count(&mut self.client, counters()[0].0).await?;
        let is_marked = self.author.mark(&mut self.client).await?;
        self.tally.transactions += 1;
        let watched = self.watcher.read_until_mark(&mut self.client, is_marked);
        tokio::time::timeout(SOON, watched).await.context("the watch does not come to the mark")??;
        let kept = self.keeper.read_until_mark(&self.address, is_marked);
        tokio::time::timeout(SOON, kept).await.context("the sets do not come to the mark")??;

        let scanned = scan(&mut self.client).await?;
        ensure!(self.watcher.relationships == scanned, "watched {:?}, scanned {scanned:?}", self.watcher.relationships);
        self.tally.relationships += scanned.len();
        let listed = listed(&self.address, self.random.random_range(0..9)).await?;
        ensure!(self.keeper.children == listed, "kept {:?}, listed {listed:?}", self.keeper.children);
        self.tally.children += listed.len();
        self.compare_with_checks(&scanned).await?;
        for (name, filter) in counters() {
            let (counted, found) = (count(&mut self.client, name).await?, matching(&scanned, &filter));
            ensure!(counted == found as u64, "counter {name} has {counted}, a scan finds {found}");
            self.tally.counts += 1;
        }
        self.tally.checkpoints += 1;
        Ok(())
    }

    /// Whom the sets reach has the permission, and nobody else: but for a `*` with exceptions, which a set leaves out.
    async fn compare_with_checks(&mut self, scanned: &BTreeMap<String, String>) -> Result<()> {
        let asked = DOCUMENTS.iter().flat_map(|document| {
            let users = USERS.iter().chain(&["nobody"]);
            users.flat_map(move |user| PERMISSIONS.map(|permission| (*document, permission, *user)))
        });
        let asked: Vec<_> = asked.collect();
        let item = |(document, permission, user): &(&str, &str, &str)| wire::CheckBulkPermissionsRequestItem {
            resource: Some(object("document", document)),
            permission: (*permission).to_owned(),
            subject: Some(wire::SubjectReference { object: Some(object("user", user)), ..Default::default() }),
            context: None,
        };
        let items = asked.iter().map(item).collect();
        let request =
            wire::CheckBulkPermissionsRequest { consistency: Some(fully_consistent()), items, ..Default::default() };
        let answer = self.client.permissions.check_bulk_permissions(request).await?.into_inner();
        ensure!(answer.pairs.len() == asked.len(), "{} answers to {} checks", answer.pairs.len(), asked.len());
        for ((document, permission, user), pair) in asked.iter().zip(answer.pairs) {
            let Some(Response::Item(item)) = pair.response else { bail!("{pair:?}") };
            let has = item.permissionship() == Permissionship::HasPermission;
            let is_reached = self.keeper.reaches(&format!("document:{document}#{permission}"), user);
            let has_star = scanned.contains_key(&format!("document:{document}#viewer@user:*"));
            let banned = format!("document:{document}#banned@");
            let has_exceptions = *permission == "read" && scanned.keys().any(|key| key.starts_with(&banned));
            let is_left_out = has_star && has_exceptions;
            ensure!(
                has == is_reached || has && is_left_out,
                "{permission} of {user} on {document}: checked {has}, the sets say {is_reached}"
            );
            self.tally.checks += 1;
            self.tally.members += usize::from(is_reached);
        }
        Ok(())
    }
}

/// The relationships that are counted.
fn counters() -> [(&'static str, wire::RelationshipFilter); 3] {
    let of_type = |name: &str| wire::RelationshipFilter { resource_type: name.to_owned(), ..Default::default() };
    let of_users = wire::SubjectFilter {
        subject_type: "user".to_owned(),
        optional_relation: Some(wire::subject_filter::RelationFilter::default()),
        ..Default::default()
    };
    [
        ("documents", of_type("document")),
        ("one_document", wire::RelationshipFilter { optional_resource_id: "d1".to_owned(), ..of_type("document") }),
        (
            "users_of_documents",
            wire::RelationshipFilter { optional_subject_filter: Some(of_users), ..of_type("document") },
        ),
    ]
}

/// How many relationships one of these filters matches.
fn matching(scanned: &BTreeMap<String, String>, filter: &wire::RelationshipFilter) -> usize {
    let prefix = match filter.optional_resource_id.as_str() {
        "" => format!("{}:", filter.resource_type),
        id => format!("{}:{id}#", filter.resource_type),
    };
    let is_of_user = |key: &str| filter.optional_subject_filter.is_none() || key.contains("@user:");
    scanned.keys().filter(|key| key.starts_with(&prefix) && is_of_user(key)).count()
}

/// What a counter says, once it is calculated.
async fn count(client: &mut Client, name: &str) -> Result<u64> {
    let counted = async {
        loop {
            let request = wire::ExperimentalCountRelationshipsRequest { name: name.to_owned() };
            let answer = client.experimental.experimental_count_relationships(request).await?.into_inner();
            match answer.counter_result.context("an empty answer")? {
                CounterResult::CounterStillCalculating(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                CounterResult::ReadCounterValue(value) => return Ok(value.relationship_count),
            }
        }
    };
    tokio::time::timeout(SOON, counted).await.context("a counter is not calculated")?
}

/// All relationships, whole, by their text without caveat and times.
async fn scan(client: &mut Client) -> Result<BTreeMap<String, String>> {
    let mut all = BTreeMap::new();
    for resource_type in ["document", "folder", "group"] {
        let request = wire::ReadRelationshipsRequest {
            consistency: Some(fully_consistent()),
            relationship_filter: Some(wire::RelationshipFilter {
                resource_type: resource_type.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut rows = client.permissions.read_relationships(request).await?.into_inner();
        while let Some(row) = rows.try_next().await? {
            let relationship = row.relationship.context("no relationship")?;
            all.insert(text(&relationship), whole(relationship)?);
        }
    }
    Ok(all)
}

fn whole(relationship: wire::Relationship) -> Result<String> {
    Ok(relationship_from_wire(relationship).map_err(anyhow::Error::msg)?.to_string())
}

/// Children of sets, as `PARENT CHILD`.
type Children = BTreeSet<String>;
