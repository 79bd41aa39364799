//! A group of very many members, and those who ask for all of them again and again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail, ensure};
use stonetown_api::proto::authzed::api::v1 as wire;
use tonic::{Code, Status};
use wire::check_permission_response::Permissionship;

use super::held::Held;
use super::percentile;
use crate::client::{Client, fully_consistent, object, relationship};
use crate::operated::Operated;

const SCHEMA: &str = "definition agent {} definition group { relation member: agent } \
     definition document { relation viewer: group#member; relation banned: agent; permission view = viewer - banned }";
/// Relationships of one message of the import.
const BATCH: usize = 10_000;

/// How large the attack is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Members of the group.
    pub members: usize,
    /// Those who ask for all of them at the same time.
    pub hostile: usize,
    /// Checks of one measurement.
    pub checks: usize,
}

/// What was found.
#[derive(Debug)]
pub struct Report {
    size: Size,
    imported_in: Duration,
    before: Held,
    loaded: Held,
    asked: Held,
    alone: Vec<Duration>,
    beside: Vec<Duration>,
    /// Lookups of all members that came to their end.
    pub lookups: usize,
    /// Such lookups that were turned away.
    pub turned_away: usize,
}

/// Makes a group of very many members, asks about members and others, alone and beside those who ask for everybody.
///
/// # Errors
/// If an answer is wrong, or a call fails in another way than by being turned away.
pub async fn run(size: Size) -> Result<Report> {
    let members = size.members;
    let server = Operated::start(&[]).await?;
    let mut client = Client::connect(&server.grpc).await?;
    client.write_schema(SCHEMA).await?;
    let before = Held::of(&server)?;
    let begun = Instant::now();
    let of = |number: usize| relationship(("group", "all"), "member", ("agent", &format!("a{number}")));
    let batches = (0..members).step_by(BATCH).map(|first| (first..members.min(first + BATCH)).map(of).collect());
    let loaded = client.import(batches.collect()).await?;
    ensure!(loaded == u64::try_from(members)?, "{loaded} were loaded");
    let mut everybody = relationship(("document", "d"), "viewer", ("group", "all"));
    everybody.subject.get_or_insert_default().optional_relation = "member".to_owned();
    let banned = relationship(("document", "d"), "banned", ("agent", "a0"));
    client.write([everybody, banned], []).await?;
    let imported_in = begun.elapsed();
    checks(&mut client, size).await?;
    let loaded = Held::of(&server)?;
    let alone = checks(&mut client, size).await?;
    let asked = Held::of(&server)?;

    let stop = Arc::new(AtomicBool::new(false));
    let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let hostile = {
        let (address, stop, counts) = (server.grpc.clone(), Arc::clone(&stop), Arc::clone(&counts));
        std::thread::spawn(move || ask_together(&address, size, &stop, &counts))
    };
    tokio::time::sleep(Duration::from_millis(200)).await;
    let beside = checks(&mut client, size).await;
    stop.store(true, Ordering::Relaxed);
    let ended = tokio::task::spawn_blocking(move || hostile.join()).await?;
    ended.map_err(|_| anyhow!("those who ask for all ended early"))??;
    let [lookups, turned_away] = [0, 1].map(|at| counts[at].load(Ordering::Relaxed));
    Ok(Report { size, imported_in, before, loaded, asked, alone, beside: beside?, lookups, turned_away })
}

/// Asks about members, about the one who is banned and about others; says how long each took, sorted.
async fn checks(client: &mut Client, Size { members, checks, .. }: Size) -> Result<Vec<Duration>> {
    let mut took = Vec::with_capacity(checks);
    for number in 0..checks {
        let at = number.wrapping_mul(7919) % members;
        let (agent, expected) = match number % 4 {
            0 => (format!("x{at}"), false),
            1 => ("a0".to_owned(), false),
            _ => (format!("a{at}"), at != 0),
        };
        let request = wire::CheckPermissionRequest {
            consistency: Some(fully_consistent()),
            resource: Some(object("document", "d")),
            permission: "view".to_owned(),
            subject: relationship(("document", "d"), "viewer", ("agent", &agent)).subject,
            ..wire::CheckPermissionRequest::default()
        };
        let begun = Instant::now();
        let answer = client.permissions.check_permission(request).await?.into_inner();
        took.push(begun.elapsed());
        ensure!((answer.permissionship() == Permissionship::HasPermission) == expected, "agent:{agent}");
    }
    took.sort_unstable();
    Ok(took)
}

/// Asks for everybody, many at once, until `stop`: on a thread of their own, so that who checks does not wait for them to read.
#[tokio::main(flavor = "current_thread")]
async fn ask_together(address: &str, size: Size, stop: &AtomicBool, counts: &[AtomicUsize; 2]) -> Result<()> {
    let all = (0..size.hostile).map(|_| ask_for_all(address, size.members - 1, stop, counts));
    futures::future::try_join_all(all).await.map(drop)
}

/// Asks for everybody, again and again until `stop`.
async fn ask_for_all(address: &str, expected: usize, stop: &AtomicBool, counts: &[AtomicUsize; 2]) -> Result<()> {
    let mut client = Client::connect(address).await?;
    while !stop.load(Ordering::Relaxed) {
        match all(&mut client, stop).await {
            Ok(None) => {}
            Ok(Some(found)) => {
                ensure!(found == expected, "{found} of {expected} were found");
                counts[0].fetch_add(1, Ordering::Relaxed);
            }
            Err(status) if status.code() == Code::ResourceExhausted => {
                counts[1].fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(status) => bail!("a lookup failed: {status}"),
        }
    }
    Ok(())
}

/// How many may view; `None` where it was stopped before it knew.
async fn all(client: &mut Client, stop: &AtomicBool) -> Result<Option<usize>, Status> {
    let request = wire::LookupSubjectsRequest {
        resource: Some(object("document", "d")),
        permission: "view".to_owned(),
        subject_object_type: "agent".to_owned(),
        ..wire::LookupSubjectsRequest::default()
    };
    let mut stream = client.permissions.lookup_subjects(request).await?.into_inner();
    let mut found = 0;
    while stream.message().await?.is_some() {
        found += 1;
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
    }
    Ok(Some(found))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            size: Size { members, hostile, checks },
            imported_in,
            before,
            loaded,
            asked,
            alone,
            beside,
            lookups,
            turned_away,
        } = self;
        writeln!(f, "{members} members, loaded in {:.1} s", imported_in.as_secs_f64())?;
        writeln!(f, "empty: {before}\nloaded, once asked: {loaded}\nasked {checks} times: {asked}")?;
        for (what, took) in [("alone", alone), ("beside those who ask for all", beside)] {
            let [half, most] = [50, 99].map(|percent| percentile(took, percent));
            writeln!(f, "checks {what}: p50 {half} us, p99 {most} us")?;
        }
        write!(f, "{hostile} asked for all members: {lookups} lookups ended, {turned_away} were turned away")
    }
}
