//! A desk over a store of clusters, with a clock that stands still until it is told.
#![allow(dead_code)] // each test uses a part

pub(crate) mod history;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use stonetown_authorizer::check::CheckRequest;
use stonetown_authorizer::write::WriteRequest;
use stonetown_authorizer::{Authorizer, Call, Caller, Effort, Membership, Options};
use stonetown_grants::{Ask, Decision, Desk, Limits, Parameter, Stage, Template};
use stonetown_identity::principal::StandIn;
use stonetown_identity::{DEFAULT_STORE, Kind, Principal, PrincipalKind, System};
use stonetown_storage::{Datastore, MemoryDatastore};
use stonetown_tuple::{Consistency, Operation, RelationshipUpdate, Timestamp};

const SCHEMA: &str = "use expiration
definition agent {}
definition cluster {
  relation scaler: agent | agent with expiration
  permission scale = scaler
}";

/// A principal for whom the agent of its name stands.
fn standing_for(id: &str, created_at: Timestamp) -> Principal {
    let subject = StandIn { store: DEFAULT_STORE.to_owned(), subject: format!("agent:{id}") };
    Principal {
        kind: PrincipalKind::Agent,
        owner: None,
        labels: BTreeMap::new(),
        subjects: vec![subject],
        external: Vec::new(),
        retired: false,
        created_at,
    }
}

/// When worlds begin, in seconds since 1970.
const BEGINNING: i64 = 1_900_000_000;

thread_local! {
    static CLOCK: Cell<i64> = const { Cell::new(BEGINNING) };
}

/// Sets the clock to the beginning of worlds.
pub(crate) fn begin_clock() {
    CLOCK.set(BEGINNING);
}

fn wall() -> Timestamp {
    Timestamp::from_second(CLOCK.get()).unwrap()
}

/// Lets so many seconds pass.
pub(crate) fn wait(seconds: i64) {
    CLOCK.set(CLOCK.get() + seconds);
}

/// Sets the wall clock by so many seconds, as somebody might by mistake.
pub(crate) fn set_clock(seconds: i64) {
    wait(seconds);
}

pub(crate) fn call(who: &str) -> Call {
    Call::new(who)
}

pub(crate) struct World {
    pub(crate) datastore: Arc<dyn Datastore>,
    pub(crate) system: Arc<System>,
    pub(crate) desk: Desk,
    limits: Limits,
}

impl World {
    pub(crate) fn new() -> World {
        World::with_limits(Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> World {
        let world = World::open(Arc::new(MemoryDatastore::new()), limits);
        world.prepare();
        world
    }

    /// The schema, an administrator, and a group of two.
    pub(crate) fn prepare(&self) {
        let internal = Call { caller: Caller::internal(), ..Call::new("") };
        self.authorizer().write_schema(&internal, SCHEMA).unwrap();
        let mut change = self.system.change();
        for relationship in [
            "sys/store:default#admin@sys/principal:admin",
            "sys/group:sre#member@sys/principal:sam",
            "sys/group:sre#member@sys/principal:rita",
        ] {
            change.touch(relationship).unwrap();
        }
        for id in ["admin", "bot", "bit", "lead", "mightier", "other", "owner", "rita", "sam", "zoe"] {
            let principal = standing_for(id, self.now());
            let alias = principal.subjects[0].alias();
            change.touch(&format!("sys/alias:{alias}#principal@sys/principal:{id}")).unwrap();
            change.put(Kind::Principal, id, &principal).unwrap();
        }
        change.commit(&Caller::internal(), None).unwrap();
    }

    pub(crate) fn open(datastore: Arc<dyn Datastore>, limits: Limits) -> World {
        World::open_within(datastore, limits, stonetown_authorizer::Limits::default())
    }

    /// A world whose engine has these bounds.
    pub(crate) fn open_within(
        datastore: Arc<dyn Datastore>,
        limits: Limits,
        of_engine: stonetown_authorizer::Limits,
    ) -> World {
        let options = Options { wall_clock: Some(wall), limits: of_engine, ..Options::default() };
        let authorizer = Arc::new(Authorizer::open(Arc::clone(&datastore), options).unwrap());
        let system = Arc::new(System::open(authorizer).unwrap());
        let desk = Desk::open(Arc::clone(&system), limits.clone()).unwrap();
        World { datastore, system, desk, limits }
    }

    /// The same data behind a new process.
    pub(crate) fn reopened(self) -> World {
        World::open(self.datastore, self.limits)
    }

    pub(crate) fn authorizer(&self) -> &Authorizer {
        self.system.authorizer()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.system.now()
    }

    /// Whether an agent may scale a cluster.
    pub(crate) fn may(&self, cluster: &str, agent: &str) -> bool {
        let request = CheckRequest {
            freshness: Consistency::FullyConsistent.into(),
            resource: format!("cluster:{cluster}").parse().unwrap(),
            permission: "scale".parse().unwrap(),
            subject: format!("agent:{agent}").parse().unwrap(),
            context: Default::default(),
            with: Vec::new(),
            trace: false,
        };
        let answer =
            self.authorizer().check(&Call { caller: Caller::internal(), ..Call::new("") }, &request, Effort::Full);
        answer.unwrap().membership == Membership::Member
    }

    /// Writes a standing relationship.
    pub(crate) fn touch(&self, relationship: &str) {
        self.write(Operation::Touch, relationship);
    }

    pub(crate) fn write(&self, operation: Operation, relationship: &str) {
        let updates = vec![RelationshipUpdate { operation, relationship: relationship.parse().unwrap() }];
        let request = WriteRequest { updates, ..WriteRequest::default() };
        self.authorizer().write(&Call { caller: Caller::internal(), ..Call::new("") }, &request).unwrap();
    }

    fn change(&self, touch: bool, relationship: &str) {
        let mut change = self.system.change();
        if touch {
            change.touch(relationship).unwrap();
        } else {
            change.delete(relationship).unwrap();
        }
        change.commit(&Caller::internal(), None).unwrap();
    }

    pub(crate) fn join(&self, group: &str, who: &str) {
        self.change(true, &format!("sys/group:{group}#member@sys/principal:{who}"));
    }

    pub(crate) fn leave(&self, group: &str, who: &str) {
        self.change(false, &format!("sys/group:{group}#member@sys/principal:{who}"));
    }

    pub(crate) fn own(&self, principal: &str, owner: &str) {
        self.change(true, &format!("sys/principal:{principal}#owner@sys/principal:{owner}"));
    }

    /// Lets somebody write everything in the store.
    pub(crate) fn empower(&self, who: &str) {
        self.change(true, &format!("sys/store:default#writer@sys/principal:{who}"));
    }

    pub(crate) fn quarantine(&self, who: &str) {
        self.change(true, &format!("sys/principal:{who}#quarantined@sys/root:self"));
    }
}

/// Access to a cluster for up to an hour, that one of the group `sre` approves.
pub(crate) fn scale() -> Template {
    Template {
        name: "scale".to_owned(),
        edges: vec!["cluster:${cluster}#scaler@${beneficiary}".to_owned()],
        parameters: BTreeMap::from([("cluster".to_owned(), Parameter { one_of: vec![], prefix: String::new() })]),
        answers: vec!["cluster:${cluster}#scale".to_owned()],
        ttl_max: 3_600,
        total_max: 7_200,
        stages: vec![Stage {
            name: "sre".to_owned(),
            approvers: vec!["sys/group:sre#member".to_owned()],
            need: 1,
            when: None,
            timeout: 600,
        }],
        auto: vec![],
        reason_required: false,
        ticket_required: false,
        emergency: None,
        owner: "owner".to_owned(),
        requesters: vec!["sys/principal:bot".to_owned(), "sys/group:sre#member".to_owned()],
        version: 0,
    }
}

pub(crate) fn ask(cluster: &str) -> Ask {
    Ask {
        template: "scale".to_owned(),
        subject: "agent:bot".to_owned(),
        parameters: BTreeMap::from([("cluster".to_owned(), cluster.to_owned())]),
        ttl: 60,
        ..Ask::default()
    }
}

pub(crate) fn approve() -> Decision {
    Decision { approve: true, ..Decision::default() }
}

/// A world with a template.
pub(crate) fn with(template: &Template) -> World {
    let world = World::new();
    world.desk.put_template(&call("admin"), template, "a test").unwrap();
    world
}
