//! Random requests, votes, renewals, revocations, tasks, clock jumps, restarts and kills, against a model of a few lines: at
//! every look, who may do what is exactly what the approved windows say.
//!
//! `STONETOWN_GRANT_LIFECYCLES` sets how many grants are made, `STONETOWN_SEED` repeats a run.
#![allow(clippy::unwrap_used, clippy::panic)]

mod world;

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stonetown_authorizer::watch::Watched;
use stonetown_grants::{Ask, AutoRule, Decision, Emergency, Error, Grant, Limits, Parameter, Stage, State, Template};
use stonetown_identity::Kind;
use stonetown_storage_rocksdb::RocksDatastore;
use stonetown_tuple::{Operation, Revision, Timestamp};
use world::{World, call, set_clock, wait};

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

/// What was given, as the answers of the desk told: by grant.
#[derive(Default)]
struct Model {
    windows: BTreeMap<String, (String, String, Timestamp, Timestamp)>,
    standing: BTreeSet<(String, String)>,
    open: BTreeSet<String>,
}

impl Model {
    /// Takes over what a call answered.
    fn learn(&mut self, grant: &Grant) {
        if let (Some(begins), Some(ends)) = (grant.begins, grant.ends) {
            let agent = grant.subject.trim_start_matches("agent:").to_owned();
            let window = (grant.parameters["cluster"].clone(), agent, begins.0, ends.0);
            // What was cut short stays so.
            let window = self.windows.entry(grant.id.clone()).or_insert(window);
            window.3 = window.3.min(ends.0);
        }
        if grant.state.is_final() {
            self.open.remove(&grant.id);
        } else {
            self.open.insert(grant.id.clone());
        }
    }

    fn may(&self, cluster: &str, agent: &str, now: Timestamp) -> bool {
        let holds = |(c, a, begins, ends): &(String, String, Timestamp, Timestamp)| {
            c == cluster && a == agent && *begins <= now && now < *ends
        };
        self.standing.contains(&(cluster.to_owned(), agent.to_owned())) || self.windows.values().any(holds)
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

#[test]
fn access_is_what_the_approved_windows_say() {
    let from_env = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let lifecycles = from_env("STONETOWN_GRANT_LIFECYCLES").unwrap_or(400);
    let seed = from_env("STONETOWN_SEED").unwrap_or_else(rand::random);
    println!("STONETOWN_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut world = World::with_limits(Limits { requests_per_minute_max: 1_000, ..Limits::default() });
    world.desk.put_template(&call("admin"), &template(), "").unwrap();
    let mut model = Model::default();
    let (mut made, mut looks, mut allowed) = (0, 0_u64, 0_u64);
    while made < lifecycles {
        step(&mut random, &mut world, &mut model, &mut made);
        for may in look(&world, &model, &format!("seed {seed}, grant {made}")) {
            (looks, allowed) = (looks + 1, allowed + u64::from(may));
        }
    }
    explained(&world, &model);
    println!("{made} grants, {looks} looks, {allowed} allowed, {} windows", model.windows.len());
    assert!(allowed > looks / 100 && allowed < looks, "the run is no test: {allowed} of {looks} allowed");
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
                let of_both = model.windows.iter().filter(|(_, (of, who, ..))| (&**of, &**who) == (cluster, agent));
                let told =
                    || of_both.map(|(id, window)| format!("\n{window:?} {:?}", world.desk.get(&call("owner"), id)));
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
    let from_env = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let lifecycles = from_env("STONETOWN_GRANT_KILLED_LIFECYCLES").unwrap_or(60);
    let seed = from_env("STONETOWN_SEED").unwrap_or_else(rand::random);
    println!("STONETOWN_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let told = directory.path().join("acknowledged");
    let mut acknowledged: BTreeMap<String, Grant> = BTreeMap::new();
    let mut kills = 0;
    while (acknowledged.len() as u64) < lifecycles {
        std::fs::write(&told, serde_json::to_vec(&acknowledged).unwrap()).unwrap();
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
                acknowledged.insert(grant.id.clone(), grant);
            }
            left = left.saturating_sub(u32::from(line.starts_with("GRANT ")));
            if left == 0 {
                std::thread::sleep(std::time::Duration::from_micros(random.random_range(0..5_000)));
                child.kill().unwrap();
                left = u32::MAX;
            }
        }
        let status = child.wait().unwrap();
        assert!(status.code().is_none(), "the process ended by itself ({status}), seed {seed}, kill {kills}");
        kills += 1;
    }
    println!("{} grants over {kills} kills", acknowledged.len());
}

/// Where the process that is killed keeps its data.
const KILLED: &str = "STONETOWN_GRANT_DIRECTORY";

#[test]
fn the_process_that_is_killed() {
    let Ok(directory) = std::env::var(KILLED) else { return };
    let directory = std::path::Path::new(&directory);
    let mut random = StdRng::seed_from_u64(std::env::var("STONETOWN_SEED").unwrap().parse().unwrap());
    set_clock(i64::from(random.random_range(-600..600_i32)));
    let datastore = RocksDatastore::open(directory.join("data"), Default::default()).unwrap();
    let limits = Limits { requests_per_minute_max: 1_000, ..Limits::default() };
    let mut world = World::open(std::sync::Arc::new(datastore), limits);
    world.prepare();
    if world.desk.templates(&call("owner")).unwrap().is_empty() {
        world.desk.put_template(&call("admin"), &template(), "").unwrap();
    }
    let mut model = Model::default();
    let kept: BTreeMap<String, Grant> = world.system.documents(Kind::Grant).unwrap().into_iter().collect();
    kept.values().for_each(|grant| model.learn(grant));
    let told: BTreeMap<String, Grant> =
        serde_json::from_slice(&std::fs::read(directory.join("acknowledged")).unwrap()).unwrap();
    for (id, grant) in told {
        let found = kept.get(&id).unwrap_or_else(|| panic!("grant {id} was acknowledged and is lost"));
        assert!(found.version > grant.version || *found == grant, "acknowledged {grant:?}, found {found:?}");
    }
    look(&world, &model, "after a kill");
    let mut made = 0;
    // What is visible was acknowledged.
    let mut watch = world.desk.watch(None).unwrap();
    loop {
        step(&mut random, &mut world, &mut model, &mut made);
        look(&world, &model, "between two kills");
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
                .then(|| world.now().checked_add(std::time::Duration::from_secs(random.random_range(1..400))).unwrap());
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
            // Also one that had ended: by a clock that is behind since a restart it had not yet, and now has.
            let known: BTreeSet<String> = model.open.iter().chain(model.windows.keys()).cloned().collect();
            for id in known {
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
                for (of_cluster, of_agent, begins, ends) in model.windows.values_mut() {
                    if (&*of_cluster, &*of_agent) == (&place.0, &place.1) {
                        *ends = (*ends).min(now.max(*begins));
                        *begins = (*begins).min(*ends);
                    }
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
            // A process ends at any moment, and the next one may find the clock set back.
            set_clock(-i64::from(random.random_range(0..300_u32)));
            let old = std::mem::replace(world, World::with_limits(Limits::default()));
            *world = old.reopened();
        }
        18 => set_clock(i64::from(random.random_range(-600..600_i32))),
        _ => wait(i64::from(random.random_range(1..200_u32))),
    }
}

/// Each window is told by the log: a commit of its store names the grant, and the grant's own history has the votes.
fn explained(world: &World, model: &Model) {
    let mut told = BTreeSet::new();
    let (mut after, head) = (Revision(0), world.datastore.head());
    while after < head {
        for entry in world.datastore.log(after, 1_000).unwrap() {
            after = entry.revision;
            let metadata = entry.provenance.metadata.as_deref().unwrap_or("{}");
            let metadata: serde_json::Value = serde_json::from_str(metadata).unwrap();
            if let Some(id) = metadata["stonetown.grant"].as_str()
                && entry.changes.iter().any(|change| change.source.0 != 0)
            {
                assert!(entry.provenance.actor.is_some(), "{id}");
                told.insert(id.to_owned());
            }
        }
    }
    for (id, window) in &model.windows {
        assert!(told.contains(id), "nothing in the log explains {id}: {window:?}");
        let grant = world.desk.get(&call("owner"), id).unwrap();
        let by_people = grant.votes.iter().any(|vote| vote.approve);
        assert!(
            by_people || grant.emergency || grant.because.contains("rule") || grant.state != State::Approved,
            "{grant:?}"
        );
    }
}
