//! Random requests, votes, renewals, revocations, tasks, clock jumps, restarts and kills, against a model of a few lines: at
//! every look, who may do what is exactly what the approved windows say; and in the end the log alone tells the same windows,
//! who decided on each, and when.
//!
//! `STONETOWN_GRANT_LIFECYCLES` and `STONETOWN_GRANT_KILLED_LIFECYCLES` set how many grants are made, `STONETOWN_SEED` repeats
//! a run: a failure tells the seed of its own world, and needs no more grants than that one had.
#![allow(clippy::unwrap_used, clippy::panic)]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};
use stonetown_authorizer::Call;
use stonetown_authorizer::watch::Watched;
use stonetown_grants::{Ask, AutoRule, Decision, Emergency, Error, Grant, Limits, Parameter, Stage, Template, Vote};
use stonetown_identity::Kind;
use stonetown_storage_rocksdb::RocksDatastore;
use stonetown_tuple::{Operation, Timestamp};
use world::history::History;
use world::{World, begin_clock, call, set_clock, wait};

/// Grants of one world: what is compared and read again grows with each.
const WORLD_GRANTS: u64 = 400;

const CLUSTERS: [&str; 3] = ["a", "b", "staging"];
const AGENTS: [&str; 3] = ["bot", "bit", "sam"];
const APPROVERS: [&str; 4] = ["sam", "rita", "zoe", "lead"];

fn template() -> Template {
    let stage = |name: &str, approvers: &str, need| Stage {
        name: name.to_owned(),
        approvers: vec![approvers.to_owned()],
        need,
        when: (name == "lead").then(|| "ttl_seconds > 600".to_owned()),
        timeout: 900,
    };
    Template {
        name: "scale".to_owned(),
        edges: vec!["cluster:${cluster}#scaler@${beneficiary}".to_owned()],
        parameters: BTreeMap::from([("cluster".to_owned(), Parameter { one_of: vec![], prefix: String::new() })]),
        answers: vec![],
        ttl_max: 1_200,
        total_max: 2_400,
        stages: vec![stage("sre", "sys/group:sre#member", 1), stage("lead", "sys/principal:lead", 1)],
        auto: vec![AutoRule {
            name: "staging".to_owned(),
            when: "parameters.cluster == 'staging' && !emergency".to_owned(),
            approve: true,
            ttl_max: 300,
        }],
        reason_required: false,
        ticket_required: false,
        emergency: Some(Emergency { ttl: 120, reviewers: vec!["sys/principal:lead".to_owned()] }),
        owner: "owner".to_owned(),
        requesters: AGENTS.iter().map(|agent| format!("sys/principal:{agent}")).collect(),
        version: 0,
    }
}

/// Access that was given: to whom, to what, from when, until when.
struct Window {
    cluster: String,
    agent: String,
    begins: Timestamp,
    ends: Timestamp,
}

impl Window {
    fn is_of(&self, cluster: &str, agent: &str) -> bool {
        (&*self.cluster, &*self.agent) == (cluster, agent)
    }

    fn holds(&self, now: Timestamp) -> bool {
        self.begins <= now && now < self.ends
    }
}

/// What was given, as the answers of the desk told: by grant.
#[derive(Default)]
struct Model {
    windows: BTreeMap<String, Window>,
    standing: BTreeSet<(String, String)>,
    open: BTreeSet<String>,
}

impl Model {
    /// Takes over what a call answered.
    fn learn(&mut self, grant: &Grant) {
        if let (Some(begins), Some(ends)) = (grant.begins, grant.ends) {
            let agent = grant.subject.trim_start_matches("agent:").to_owned();
            let window = Window { cluster: grant.parameters["cluster"].clone(), agent, begins: begins.0, ends: ends.0 };
            // What was cut short stays so.
            let window = self.windows.entry(grant.id.clone()).or_insert(window);
            window.ends = window.ends.min(ends.0);
        }
        if grant.state.is_final() {
            self.open.remove(&grant.id);
        } else {
            self.open.insert(grant.id.clone());
        }
    }

    fn may(&self, cluster: &str, agent: &str, now: Timestamp) -> bool {
        self.standing.contains(&(cluster.to_owned(), agent.to_owned()))
            || self.windows.values().any(|window| window.is_of(cluster, agent) && window.holds(now))
    }
}

fn one<'a>(random: &mut StdRng, of: &[&'a str]) -> &'a str {
    of[random.random_range(0..of.len())]
}

/// What a refusal may be here: anything else is a bug.
fn expected(result: Result<Grant, Error>) -> Option<Grant> {
    match result {
        Ok(grant) => Some(grant),
        Err(
            Error::Denied { .. }
            | Error::NotFound { .. }
            | Error::WrongState { .. }
            | Error::TooMany { .. }
            | Error::Invalid { .. },
        ) => None,
        Err(error) => panic!("{error}"),
    }
}

fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn access_is_what_the_approved_windows_say() {
    let lifecycles = from_env("STONETOWN_GRANT_LIFECYCLES").unwrap_or(400);
    let mut seed = from_env("STONETOWN_SEED").unwrap_or_else(rand::random);
    println!("STONETOWN_SEED={seed}");
    let (mut made, mut looks, mut allowed, mut windows) = (0, 0, 0, 0);
    while made < lifecycles {
        let told = live(seed, (lifecycles - made).min(WORLD_GRANTS));
        (made, looks) = (made + told.made, looks + told.looks);
        (allowed, windows) = (allowed + told.allowed, windows + told.windows);
        seed = seed.wrapping_add(1);
    }
    println!("{made} grants, {looks} looks, {allowed} allowed, {windows} windows, each explained by the log");
    assert!(allowed > looks / 100 && allowed < looks, "the run is no test: {allowed} of {looks} allowed");
}

/// What came of a world.
#[derive(Default)]
struct Told {
    made: u64,
    looks: u64,
    allowed: u64,
    windows: u64,
}

/// Makes so many grants in a world of its own.
fn live(seed: u64, lifecycles: u64) -> Told {
    begin_clock();
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::with_limits(Limits { requests_per_minute_max: 1_000, ..Limits::default() });
    world.desk.put_template(&call("admin"), &template(), "").unwrap();
    let (mut model, mut told) = (Model::default(), Told::default());
    while told.made < lifecycles {
        step(&mut random, &mut world, &mut model, &mut told.made);
        world.authorizer().keep_time().unwrap();
        for may in look(&world, &model, &format!("seed {seed}, grant {}", told.made)) {
            (told.looks, told.allowed) = (told.looks + 1, told.allowed + u64::from(may));
        }
    }
    explained(&world, &model, &format!("seed {seed}"));
    Told { windows: model.windows.len() as u64, ..told }
}

/// Asks for everybody and everything, and compares.
fn look(world: &World, model: &Model, place: &str) -> Vec<bool> {
    let mut seen = Vec::new();
    for cluster in CLUSTERS {
        for agent in AGENTS {
            let before = model.may(cluster, agent, world.now());
            let may = world.may(cluster, agent);
            // While the clock is behind, time goes on between two questions.
            if before == model.may(cluster, agent, world.now()) {
                let of_both = model.windows.iter().filter(|(_, window)| window.is_of(cluster, agent));
                let told = || {
                    of_both.map(|(id, Window { begins, ends, .. })| {
                        format!("\n{begins} to {ends} by {:?}", world.desk.get(&call("owner"), id))
                    })
                };
                assert_eq!(
                    may,
                    before,
                    "cluster:{cluster}#scale@agent:{agent} at {:?}, {place}, standing {}{}",
                    world.now(),
                    model.standing.contains(&(cluster.to_owned(), agent.to_owned())),
                    told().collect::<String>(),
                );
                seen.push(may);
            }
        }
    }
    seen
}

/// Kills a process at any moment, many times, with its clock set to anything within the bounds of a restart: what was
/// acknowledged is there, and access is what the grants say.
#[test]
fn a_kill_leaves_grants_and_access_together() {
    let lifecycles = from_env("STONETOWN_GRANT_KILLED_LIFECYCLES").unwrap_or(60);
    let mut seed = from_env("STONETOWN_SEED").unwrap_or_else(rand::random);
    println!("STONETOWN_SEED={seed}");
    let (mut made, mut kills, mut windows) = (0, 0, 0);
    while made < lifecycles {
        let killed = kill_and_look(seed, (lifecycles - made).min(WORLD_GRANTS));
        (made, kills, windows) = (made + killed.made, kills + killed.kills, windows + killed.windows);
        seed = seed.wrapping_add(1);
    }
    println!("{made} grants over {kills} kills, {windows} windows, each explained by the log");
}

/// What came of a world that was killed.
struct Killed {
    made: u64,
    kills: u64,
    windows: u64,
}

/// What processes acknowledged before they were killed.
#[derive(Default, Serialize, Deserialize)]
struct Acknowledged {
    grants: BTreeMap<String, Grant>,
    /// The time, when one was last asked.
    time: Option<String>,
}

/// Makes so many grants in a directory of its own, by processes that are killed.
fn kill_and_look(seed: u64, lifecycles: u64) -> Killed {
    begin_clock();
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let (mut left_behind, mut kills) = (Acknowledged::default(), 0);
    while (left_behind.grants.len() as u64) < lifecycles {
        std::fs::write(directory.path().join("acknowledged"), serde_json::to_vec(&left_behind).unwrap()).unwrap();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_process_that_is_killed", "--nocapture"])
            .env(KILLED, directory.path())
            .env("STONETOWN_SEED", random.random::<u64>().to_string())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        let mut left = random.random_range(1..120_u32);
        for line in lines {
            let line = line.unwrap();
            if let Some(grant) = line.strip_prefix("GRANT ") {
                let grant: Grant = serde_json::from_str(grant).unwrap();
                left_behind.grants.insert(grant.id.clone(), grant);
            }
            if let Some(time) = line.strip_prefix("TOLD ") {
                left_behind.time = Some(time.to_owned());
            }
            left = left.saturating_sub(u32::from(line.starts_with("GRANT ")));
            if left == 0 {
                std::thread::sleep(Duration::from_micros(random.random_range(0..5_000)));
                child.kill().unwrap();
                left = u32::MAX;
            }
        }
        let status = child.wait().unwrap();
        assert!(status.code().is_none(), "the process ended by itself ({status}), seed {seed}, kill {kills}");
        kills += 1;
    }
    let (world, model) = opened(directory.path());
    explained(&world, &model, &format!("seed {seed}"));
    Killed { made: left_behind.grants.len() as u64, kills, windows: model.windows.len() as u64 }
}

/// The world that a process left behind, and what its grants say.
fn opened(directory: &Path) -> (World, Model) {
    let datastore = RocksDatastore::open(directory.join("data"), Default::default()).unwrap();
    let limits = Limits { requests_per_minute_max: 1_000, ..Limits::default() };
    let world = World::open(Arc::new(datastore), limits);
    world.prepare();
    let mut model = Model::default();
    let kept: Vec<(String, Grant)> = world.system.documents(Kind::Grant).unwrap();
    kept.iter().for_each(|(_, grant)| model.learn(grant));
    (world, model)
}

/// Where the process that is killed keeps its data.
const KILLED: &str = "STONETOWN_GRANT_DIRECTORY";

#[test]
fn the_process_that_is_killed() {
    let Ok(directory) = std::env::var(KILLED) else { return };
    let directory = Path::new(&directory);
    let mut random = StdRng::seed_from_u64(std::env::var("STONETOWN_SEED").unwrap().parse().unwrap());
    set_clock(i64::from(random.random_range(-600..600_i32)));
    let (mut world, mut model) = opened(directory);
    if world.desk.templates(&call("owner")).unwrap().is_empty() {
        world.desk.put_template(&call("admin"), &template(), "").unwrap();
    }
    let kept: BTreeMap<String, Grant> = world.system.documents(Kind::Grant).unwrap().into_iter().collect();
    let left_behind: Acknowledged =
        serde_json::from_slice(&std::fs::read(directory.join("acknowledged")).unwrap()).unwrap();
    let now = world.now();
    if let Some(told) = left_behind.time {
        assert!(told.parse::<Timestamp>().unwrap() <= now, "told {told}, and {now} after a kill");
    }
    for (id, grant) in left_behind.grants {
        let found = kept.get(&id).unwrap_or_else(|| panic!("grant {id} was acknowledged and is lost"));
        assert!(found.version > grant.version || *found == grant, "acknowledged {grant:?}, found {found:?}");
    }
    look(&world, &model, "after a kill");
    let mut made = 0;
    // What is visible was acknowledged.
    let mut watch = world.desk.watch(&Call::new("watcher"), None).unwrap();
    loop {
        step(&mut random, &mut world, &mut model, &mut made);
        world.authorizer().keep_time().unwrap();
        look(&world, &model, "between two kills");
        println!("TOLD {}", world.now());
        loop {
            match world.desk.poll(&mut watch).unwrap() {
                Watched::CaughtUp => break,
                Watched::More => {}
                Watched::Message(message) => {
                    for grant in world.desk.in_message(&call("owner"), &message).unwrap() {
                        println!("GRANT {}", serde_json::to_string(&grant).unwrap());
                    }
                }
            }
        }
    }
}

fn step(random: &mut StdRng, world: &mut World, model: &mut Model, made: &mut u64) {
    let open: Vec<&str> = model.open.iter().map(String::as_str).collect();
    let id = if open.is_empty() { String::new() } else { one(random, &open).to_owned() };
    match random.random_range(0..20) {
        0..5 => {
            let (cluster, agent) = (one(random, &CLUSTERS), one(random, &AGENTS));
            let starts_at = random
                .random_bool(0.2)
                .then(|| world.now().checked_add(Duration::from_secs(random.random_range(1..400))).unwrap());
            let ask = Ask {
                template: "scale".to_owned(),
                subject: format!("agent:{agent}"),
                parameters: BTreeMap::from([("cluster".to_owned(), cluster.to_owned())]),
                ttl: random.random_range(1..=1_200),
                starts_at,
                task: one(random, &["", "t1", "t2"]).to_owned(),
                emergency: random.random_bool(0.1),
                renews: (random.random_bool(0.2) && !id.is_empty()).then(|| id.clone()),
                ..Ask::default()
            };
            if let Some(grant) = expected(world.desk.request(&call(agent), &ask)) {
                *made += 1;
                model.learn(&grant);
            }
        }
        5..11 => {
            let decision = Decision {
                approve: random.random_bool(0.85),
                ttl_max: if random.random_bool(0.2) { random.random_range(1..300) } else { 0 },
                ..Decision::default()
            };
            if let Some(grant) = expected(world.desk.decide(&call(one(random, &APPROVERS)), &id, &decision)) {
                model.learn(&grant);
            }
        }
        11 => {
            let who = one(random, &["bot", "bit", "sam", "rita", "lead", "stranger"]);
            if let Some(grant) = expected(world.desk.revoke(&call(who), &id, "random")) {
                model.learn(&grant);
            }
        }
        12 => drop(expected(world.desk.review(&call("lead"), &id, true, ""))),
        13 => {
            let (agent, task) = (one(random, &AGENTS), one(random, &["t1", "t2"]));
            world.desk.complete_task(&call(agent), task).unwrap();
            for id in model.open.clone() {
                let grant = world.desk.get(&call("owner"), &id).unwrap();
                model.learn(&grant);
            }
        }
        14 if std::env::var_os(KILLED).is_none() => {
            let (cluster, agent) = (one(random, &CLUSTERS), one(random, &AGENTS));
            let edge = format!("cluster:{cluster}#scaler@agent:{agent}");
            let place = (cluster.to_owned(), agent.to_owned());
            // A delete ends what stands and every grant of the same relationship.
            if random.random_bool(0.3) {
                world.write(Operation::Touch, &edge);
                model.standing.insert(place);
            } else if model.standing.remove(&place) {
                world.write(Operation::Delete, &edge);
                let now = world.now();
                for window in model.windows.values_mut().filter(|window| window.is_of(cluster, agent)) {
                    window.ends = window.ends.min(now.max(window.begins));
                }
            }
        }
        15 => drop(world.desk.tick().unwrap()),
        16 => {
            if random.random_bool(0.5) {
                world.leave("sre", "zoe");
            } else {
                world.join("sre", "zoe");
            }
        }
        17 if std::env::var_os(KILLED).is_none() => {
            // A process ends at any moment, and the next one may find the clock set back. After a kill it waits.
            let told = world.now();
            if random.random_bool(0.98) {
                world.authorizer().leave_time().unwrap();
            }
            set_clock(-i64::from(random.random_range(0..300_u32)));
            let old = std::mem::replace(world, World::with_limits(Limits::default()));
            *world = old.reopened();
            assert!(world.now() >= told, "told {told}, and {} after a restart", world.now());
        }
        18 => set_clock(i64::from(random.random_range(-600..600_i32))),
        _ => wait(i64::from(random.random_range(1..200_u32))),
    }
}

/// Each window is told by the log, and each access that the log tells of is a window: with its grant, the votes that its
/// template demands, each put down to who cast it, and no longer than the template allows.
fn explained(world: &World, model: &Model, place: &str) {
    let history = History::read(world);
    let told: Vec<&String> = history.access.keys().collect();
    assert_eq!(told, model.windows.keys().collect::<Vec<_>>(), "grants that gave access by the log, {place}");
    for (id, window) in &model.windows {
        let grant = world.desk.get(&call("owner"), id).unwrap();
        let access = &history.access[id];
        assert!(window.is_of(&access.cluster, &access.agent), "{place}: {grant:?}");
        // What ended before it began was never open.
        let ends = window.ends.max(window.begins);
        assert!(near(window.begins, access.begins) && near(ends, access.ends), "{place}: {grant:?}, {access:?}");
        let deed =
            |by: &str, at| history.deeds.iter().any(|deed| deed.grant == *id && deed.by == by && near(deed.at, at));
        assert!(deed(&grant.requester, grant.asked_at.0), "the log does not say who asked, {place}: {grant:?}");
        for vote in &grant.votes {
            assert!(deed(&vote.by, vote.at.0), "the log does not have a vote, {place}: {grant:?}");
        }
        let voted = |stage: &str, by: &[&str]| {
            let counts = |vote: &Vote| vote.approve && vote.stage == stage && by.contains(&&*vote.by);
            grant.votes.iter().any(|vote| counts(vote) && vote.by != grant.requester)
        };
        let longest = match &*window.cluster {
            _ if grant.emergency => 120,
            "staging" => 300,
            _ => {
                assert!(voted("sre", &["sam", "rita", "zoe"]), "{place}: {grant:?}");
                assert!(grant.ttl <= 600 || voted("lead", &["lead"]), "{place}: {grant:?}");
                grant.ttl.min(1_200)
            }
        };
        let within = |from: Timestamp, seconds| from.checked_add(Duration::from_secs(seconds)).unwrap() >= window.ends;
        assert!(within(window.begins, longest), "{place}: {grant:?}");
        assert!(within(grant.first_began.map_or(window.begins, |first| first.0), 2_400), "{place}: {grant:?}");
    }
}

/// Whether two readings of the clock can be of one call: one is of its beginning, the other of its commit.
fn near(one: Timestamp, other: Timestamp) -> bool {
    one.duration_since(other).unsigned_abs() <= Duration::from_secs(2)
}
