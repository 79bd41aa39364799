//! Relationship counters against a recount, under random writes, expiries, restarts and a log that is cut.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use stonetown_authorizer::counters::Count;
use stonetown_authorizer::read::ReadRequest;
use stonetown_authorizer::write::{DeleteRequest, WriteRequest};
use stonetown_authorizer::{Authorizer, BulkMode, Call, Error, Limits, Options};
use stonetown_storage::{Datastore, MemoryDatastore};
use stonetown_tuple::{
    Consistency, Operation, RelationName, RelationshipFilter, RelationshipUpdate, SubjectFilter, SubjectRelationFilter,
    Timestamp,
};

const SCHEMA: &str = "use expiration  definition user {}  definition group { relation member: user }
  definition document { relation viewer: user | user with expiration | group#member }";

struct Door {
    datastore: Arc<dyn Datastore>,
    authorizer: Authorizer,
    call: Call,
}

impl Door {
    fn new() -> Door {
        let door = Door::on(Arc::new(MemoryDatastore::new()));
        door.authorizer.write_schema(&door.call, SCHEMA).unwrap();
        door
    }

    fn on(datastore: Arc<dyn Datastore>) -> Door {
        let limits = Limits { counters_max: 5, ..Limits::default() };
        let authorizer = Authorizer::open(Arc::clone(&datastore), Options { limits, ..Options::default() }).unwrap();
        Door { datastore, authorizer, call: Call::new("test") }
    }

    /// The same store behind a new door.
    fn reopened(self) -> Door {
        Door::on(self.datastore)
    }

    fn write(&self, operation: Operation, texts: &[String]) {
        let update = |text: &String| RelationshipUpdate { operation, relationship: text.parse().unwrap() };
        let updates = texts.iter().map(update).collect();
        self.authorizer.write(&self.call, &WriteRequest { updates, ..WriteRequest::default() }).unwrap();
    }

    fn register(&self, name: &str, filter: &RelationshipFilter) -> Result<(), Error> {
        self.authorizer.register_counter(&self.call, &RelationName::new(name).unwrap(), filter.clone())
    }

    /// What a counter says, after it has been calculated.
    fn count(&self, name: &str) -> (u64, Consistency) {
        loop {
            match self.authorizer.read_counter(&self.call, name).unwrap() {
                Count::Value { relationships, at } => return (relationships, Consistency::AtExactSnapshot(at)),
                Count::StillCalculating => drop(self.authorizer.advance_counters().unwrap()),
            }
        }
    }

    fn recount(&self, filter: &RelationshipFilter, consistency: Consistency) -> u64 {
        let mut count = 0;
        let request = ReadRequest { consistency, filter: filter.clone(), ..ReadRequest::default() };
        let visit = &mut |_| {
            count += 1;
            ControlFlow::Continue(())
        };
        self.authorizer.read(&self.call, &request, visit).unwrap();
        count
    }

    fn agrees(&self, filters: &[RelationshipFilter]) {
        for (number, filter) in filters.iter().enumerate() {
            let name = format!("counter{number}");
            loop {
                let (count, at) = self.count(&name);
                let recount = self.recount(filter, at);
                // Where nothing expired between the two counts, it has not between count and recount either.
                if self.count(&name) == (count, at) {
                    assert_eq!(count, recount, "{filter:?}");
                    break;
                }
            }
        }
    }
}

fn filters() -> Vec<RelationshipFilter> {
    let documents =
        RelationshipFilter { resource_type: Some("document".parse().unwrap()), ..RelationshipFilter::default() };
    let subject = |relation| SubjectFilter { subject_type: "user".parse().unwrap(), subject_id: None, relation };
    vec![
        documents.clone(),
        RelationshipFilter { resource_id: Some("d1".parse().unwrap()), ..documents.clone() },
        RelationshipFilter { resource_id_prefix: Some("d2".parse().unwrap()), ..documents.clone() },
        RelationshipFilter { subject: Some(subject(SubjectRelationFilter::Ellipsis)), ..documents },
        RelationshipFilter { relation: Some("member".parse().unwrap()), ..RelationshipFilter::default() },
    ]
}

fn random_relationship(now: Timestamp) -> String {
    let dice = |sides: u64| rand::random::<u64>() % sides;
    match dice(8) {
        0 => format!("group:g{}#member@user:u{}", dice(3), dice(5)),
        1 => format!("document:d{}#viewer@group:g{}#member", dice(30), dice(3)),
        2 => {
            let end = now.checked_add(Duration::from_millis(dice(40))).unwrap();
            format!("document:d{}#viewer@user:u{}[expiration:{end}]", dice(30), dice(5))
        }
        _ => format!("document:d{}#viewer@user:u{}", dice(30), dice(5)),
    }
}

#[test]
fn counters_are_a_recount_kept() {
    let mut door = Door::new();
    let filters = filters();
    for round in 0..600 {
        if round == 20 {
            for (number, filter) in filters.iter().enumerate() {
                door.register(&format!("counter{number}"), filter).unwrap();
            }
        }
        let now = Timestamp::now();
        let mut texts: Vec<String> = Vec::new();
        for _ in 0..rand::random::<u64>() % 6 {
            let text = random_relationship(now);
            let key = |text: &str| text.split('[').next().unwrap().to_owned();
            if !texts.iter().any(|other| key(other) == key(&text)) {
                texts.push(text);
            }
        }
        match round % 15 {
            3 => door.write(Operation::Delete, &texts),
            7 => {
                let mut import = door.authorizer.import(&door.call, BulkMode::Touch).unwrap();
                import.push(texts.iter().map(|text| text.parse().unwrap()).collect()).unwrap();
                import.finish().unwrap();
            }
            11 => {
                let filter = RelationshipFilter { resource_id: Some("d1".parse().unwrap()), ..filters[0].clone() };
                door.authorizer.delete(&door.call, &DeleteRequest { filter, ..DeleteRequest::default() }).unwrap();
            }
            13 => drop(door.authorizer.remove_expired(now).unwrap()),
            _ => door.write(Operation::Touch, &texts),
        }
        if round % 97 == 96 {
            door = door.reopened();
        }
        if round > 20 && round % 5 == 0 {
            if round % 2 == 0 {
                std::thread::sleep(Duration::from_millis(3));
            }
            door.agrees(&filters);
        }
    }
    std::thread::sleep(Duration::from_millis(60));
    door.agrees(&filters);
}

#[test]
fn counters_have_names_filters_and_a_bound() {
    let door = Door::new();
    let filter = &filters()[0];
    door.register("first", filter).unwrap();
    let again = door.register("first", &filters()[1]).unwrap_err();
    assert!(matches!(again, Error::CounterRegistered { filter: ref kept, .. } if **kept == *filter), "{again:?}");
    assert!(matches!(door.register("empty", &RelationshipFilter::default()), Err(Error::InvalidFilter { .. })));
    let unknown =
        RelationshipFilter { resource_type: Some("nothing".parse().unwrap()), ..RelationshipFilter::default() };
    assert!(matches!(door.register("unknown", &unknown), Err(Error::UnknownDefinition { .. })));
    for number in 1..5 {
        door.register(&format!("more{number}"), filter).unwrap();
    }
    assert!(matches!(door.register("toomany", filter), Err(Error::TooManyCounters { limit: 5 })));
    assert_eq!(door.authorizer.read_counter(&door.call, "first").unwrap(), Count::StillCalculating);
    door.authorizer.unregister_counter(&door.call, "first").unwrap();
    for missing in [
        door.authorizer.unregister_counter(&door.call, "first"),
        door.authorizer.read_counter(&door.call, "first").map(drop),
    ] {
        assert!(matches!(missing, Err(Error::CounterNotRegistered { .. })));
    }
    door.register("toomany", filter).unwrap();
}

#[test]
fn a_counter_whose_log_was_cut_is_counted_anew() {
    let door = Door::new();
    let filter = &filters()[0];
    door.write(Operation::Touch, &["document:d1#viewer@user:u1".to_owned()]);
    door.register("counter0", filter).unwrap();
    door.agrees(std::slice::from_ref(filter));
    let datastore = door.datastore;
    drop(door.authorizer);
    // Another process, which does not know of the counter, writes and cuts the log.
    let other = Door::on(Arc::clone(&datastore));
    for number in 0..20 {
        other.write(Operation::Touch, &[format!("document:e{number}#viewer@user:u1")]);
    }
    other.authorizer.collect_garbage(Timestamp::MAX, Timestamp::MAX).unwrap();
    let door = Door::on(datastore);
    door.agrees(std::slice::from_ref(filter));
    assert_eq!(door.count("counter0").0, 21);
}
