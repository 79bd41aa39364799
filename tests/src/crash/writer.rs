//! What is written between two kills, and what must be found after them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stonetown_api::proto::authzed::api::v1 as wire;
use tonic::{Code, Status};

use crate::client::{Client, at_exactly, at_least, fully_consistent, relationship};

const SCHEMA: &str = "definition user {}

definition entry {
	relation first: user
	relation second: user
	relation third: user
}

definition bulk {
	relation member: user
}
";

/// The relations that one transaction writes together.
const RELATIONS: [&str; 3] = ["first", "second", "third"];
/// Entries that a writer leaves standing; it deletes older ones, so that a lost deletion shows as well.
const ENTRIES: usize = 8;
/// Writers of entries.
const ENTRY_WRITERS: u64 = 4;
/// Relationships of one import, and of one of its messages.
const IMPORT: usize = 5000;
const IMPORT_MESSAGE: usize = 1000;
/// Time between two schemas, or two imports.
const SLOW: Duration = Duration::from_millis(150);
/// Verified states that are kept, to be read again at their tokens.
const PINNED: usize = 4;

/// Writes the schema that the writers need.
///
/// # Errors
/// The server's.
pub(super) async fn prepare(mut client: Client) -> Result<()> {
    client.write_schema(SCHEMA).await?;
    Ok(())
}

/// All writers.
pub(super) fn all(seed: u64) -> Vec<Writer> {
    let entries = (0..ENTRY_WRITERS).map(|id| Writer::new(Kind::Entries(id), seed));
    entries.chain([Writer::new(Kind::Imports, seed), Writer::new(Kind::Schemas, seed)]).collect()
}

/// One sequence of transactions, one at a time, and what it must have left behind.
pub struct Writer {
    kind: Kind,
    random: StdRng,
    counter: u64,
    /// After all that was acknowledged.
    state: State,
    /// After the transaction that was under way at the kill, if there was one.
    in_doubt: Option<State>,
    /// The token of the last acknowledged transaction, and states that were verified earlier, with theirs.
    token: Option<wire::ZedToken>,
    pinned: Vec<(wire::ZedToken, State)>,
    /// Acknowledged transactions so far.
    pub acknowledged: u64,
    /// Transactions that were under way at a kill so far.
    pub in_doubt_count: u64,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Small transactions that add an entry of three relationships and delete an old one.
    Entries(u64),
    /// An import of thousands, then the deletion of all of them, each in one transaction.
    Imports,
    /// New schemas.
    Schemas,
}

/// What is there of a writer: how many relationships, or definitions, each of its transactions left.
type State = BTreeMap<u64, usize>;

impl Writer {
    fn new(kind: Kind, seed: u64) -> Self {
        let salt = match kind {
            Kind::Entries(id) => id,
            Kind::Imports => 100,
            Kind::Schemas => 101,
        };
        Self {
            kind,
            random: StdRng::seed_from_u64(seed ^ (salt << 32)),
            counter: 0,
            state: State::new(),
            in_doubt: None,
            token: None,
            pinned: Vec::new(),
            acknowledged: 0,
            in_doubt_count: 0,
        }
    }

    /// Writes until the server is gone.
    ///
    /// # Errors
    /// If a write is refused, or fails while the server should be there.
    pub(super) async fn write_until(&mut self, mut client: Client, killed: &AtomicBool) -> Result<()> {
        while !killed.load(Ordering::SeqCst) {
            self.counter += 1;
            let after = self.next_state();
            match self.write(&mut client, &after).await {
                Ok(token) => {
                    self.state = after;
                    self.acknowledged += 1;
                    if let Some(token) = token {
                        self.token = Some(token);
                    }
                }
                Err(_) if killed.load(Ordering::SeqCst) => {
                    self.in_doubt = Some(after);
                    self.in_doubt_count += 1;
                    return Ok(());
                }
                // Lost against another writer: nothing was written.
                Err(status) if status.code() == Code::Aborted => continue,
                Err(status) => bail!("{:?}: {status}", self.kind),
            }
            let pause = match self.kind {
                Kind::Entries(_) => Duration::from_micros(self.random.random_range(0..2000)),
                Kind::Imports | Kind::Schemas => SLOW,
            };
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    fn next_state(&self) -> State {
        match self.kind {
            Kind::Entries(_) => {
                let mut after = self.state.clone();
                if after.len() >= ENTRIES {
                    after.pop_first();
                }
                after.insert(self.counter, RELATIONS.len());
                after
            }
            Kind::Imports if self.state.is_empty() => State::from([(self.counter, IMPORT)]),
            Kind::Imports => State::new(),
            Kind::Schemas => State::from([(self.counter, 1)]),
        }
    }

    async fn write(&self, client: &mut Client, after: &State) -> Result<Option<wire::ZedToken>, Status> {
        match self.kind {
            Kind::Entries(id) => {
                let entry = |counter: &u64| {
                    let name = format!("w{id}-{counter}");
                    RELATIONS.map(|relation| relationship(("entry", &name), relation, ("user", "anna")))
                };
                let added = after.keys().filter(|counter| !self.state.contains_key(counter)).flat_map(entry);
                let removed = self.state.keys().filter(|counter| !after.contains_key(counter)).flat_map(entry);
                client.write(added, removed).await.map(Some)
            }
            Kind::Imports => match after.keys().next() {
                Some(counter) => {
                    let rows: Vec<_> = (0..IMPORT)
                        .map(|n| relationship(("bulk", &format!("i{counter}-{n}")), "member", ("user", "anna")))
                        .collect();
                    client.import(rows.chunks(IMPORT_MESSAGE).map(<[_]>::to_vec).collect()).await.map(|_| None)
                }
                None => client.delete(filter("bulk", "")).await.map(|_| None),
            },
            Kind::Schemas => {
                client.write_schema(&format!("{SCHEMA}\ndefinition version_{} {{}}\n", self.counter)).await.map(Some)
            }
        }
    }

    /// Compares what is there with what must be. Returns what differs, and goes on from what is there otherwise.
    ///
    /// # Errors
    /// If the server cannot be asked.
    pub(super) async fn verify(&mut self, mut client: Client) -> Result<Option<String>> {
        let found = self.read(&mut client, fully_consistent()).await?;
        let in_doubt = self.in_doubt.take();
        if found != self.state && in_doubt.as_ref() != Some(&found) {
            return Ok(Some(format!(
                "{:?}: found {found:?}, acknowledged {:?}, under way {in_doubt:?}",
                self.kind, self.state
            )));
        }
        if let Some(what) = self.verify_tokens(&mut client).await? {
            return Ok(Some(what));
        }
        self.state = found;
        Ok(None)
    }

    /// The tokens of acknowledged transactions still stand for the states that they were given for.
    async fn verify_tokens(&mut self, client: &mut Client) -> Result<Option<String>> {
        let Kind::Entries(_) = self.kind else { return Ok(None) };
        let Some(token) = self.token.clone() else { return Ok(None) };
        if let Err(status) = client.read(filter("entry", "none"), at_least(&token)).await {
            return Ok(Some(format!("{:?}: the last token is refused: {status}", self.kind)));
        }
        if self.pinned.last().map(|(pinned, _)| &pinned.token) != Some(&token.token) {
            self.pinned.push((token, self.state.clone()));
            if self.pinned.len() > PINNED {
                self.pinned.remove(0);
            }
        }
        for (token, state) in self.pinned.clone() {
            match self.read(client, at_exactly(&token)).await {
                Ok(found) if found == state => {}
                Ok(found) => {
                    return Ok(Some(format!("{:?}: a token shows {found:?} instead of {state:?}", self.kind)));
                }
                Err(status) => return Ok(Some(format!("{:?}: a token is refused: {status}", self.kind))),
            }
        }
        Ok(None)
    }

    async fn read(&self, client: &mut Client, consistency: wire::Consistency) -> Result<State, Status> {
        match self.kind {
            Kind::Entries(id) => {
                let rows = client.read(filter("entry", &format!("w{id}-")), consistency).await?;
                Ok(count(&rows))
            }
            Kind::Imports => Ok(count(&client.read(filter("bulk", ""), consistency).await?)),
            Kind::Schemas => {
                let text = client.schema.read_schema(wire::ReadSchemaRequest {}).await?.into_inner().schema_text;
                let versions = text.split("definition version_").skip(1);
                let counters = versions.filter_map(|rest| rest.split_whitespace().next()?.parse().ok());
                Ok(counters.map(|counter| (counter, 1)).collect())
            }
        }
    }
}

/// Relationships by the counter in their resource's id, `xxx:w0-COUNTER#..` or `xxx:iCOUNTER-..#..`.
fn count(rows: &BTreeSet<String>) -> State {
    let mut state = State::new();
    for row in rows {
        let id = row.split([':', '#']).nth(1).unwrap_or_default();
        let (left, right) = id.split_once('-').unwrap_or_default();
        let counter = left.strip_prefix('i').unwrap_or(right);
        *state.entry(counter.parse().unwrap_or(u64::MAX)).or_default() += 1;
    }
    state
}

fn filter(resource_type: &str, prefix: &str) -> wire::RelationshipFilter {
    wire::RelationshipFilter {
        resource_type: resource_type.to_owned(),
        optional_resource_id_prefix: prefix.to_owned(),
        ..Default::default()
    }
}
