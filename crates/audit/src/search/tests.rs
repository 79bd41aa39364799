use std::time::Duration;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use stonetown_tuple::{Revision, StoreId};

use super::*;
use crate::keys::Keys;
use crate::layout::DECISIONS;
use crate::log::{Log, Setup};
use crate::record::{Change, Decision, Outcome};
use crate::{index, segment};

#[test]
fn a_type_an_object_or_a_userset_is_found() {
    assert!(is_object("user", "user:alice") && is_object("user:alice", "user:alice"));
    assert!(is_object("group:eng", "group:eng#member") && is_object("group:eng#member", "group:eng#member"));
    assert!(is_object("document", "document"));
    assert!(!is_object("user:al", "user:alice") && !is_object("us", "user:alice") && !is_object("user", "userx:a"));
}

#[test]
fn a_change_is_found_by_any_of_its_relationships() {
    let query = |subject: &str, resource: &str| Query {
        subject: Some(subject.to_owned()),
        resource: Some(resource.to_owned()),
        permission: Some("viewer".to_owned()),
        ..Query::default()
    };
    let update = r#"+document:readme#viewer@user:alice[weekday:{"a":"@#["}]"#;
    assert!(query("user:alice", "document").fits_update(update));
    assert!(!query("user:bob", "document").fits_update(update));
    assert!(query("user:alice", "document:readme").fits_update("-document:readme#viewer@user:alice source 7"));
}

/// A log of 700 records in segments of 64, the full ones indexed.
fn log(folder: &std::path::Path) -> LogReader {
    let keys = Keys::open(&folder.join("keys")).unwrap();
    let directory = folder.join("log");
    let setup = Setup { bits: 6, ..Setup::new(directory.clone(), "stonetown/1/decisions".to_owned()) };
    let (mut log, found) = Log::open(setup, &keys).unwrap();
    log.add_start("", "", &found).unwrap();
    for number in 0..699_i64 {
        let time = Timestamp::from_microsecond(number * 1_000_000).unwrap();
        let (subject, resource) = (format!("u{}", number % 37), format!("d{}", number % 11));
        let update = format!("+document:{resource}#viewer@group:g{}#member", number % 5);
        let body = if number % 7 == 0 {
            Body::Change(Change {
                time,
                revision: Revision(1),
                store: StoreId(1),
                part: 0,
                last: true,
                count: 1,
                schema: None,
                actor: "key-1",
                metadata: "",
                updates: vec![&update],
            })
        } else {
            Body::Decision(Decision {
                time,
                start: 0,
                call: if number % 3 == 0 { "check" } else { "check_bulk" },
                outcome: if number % 4 == 0 { Outcome::Denied } else { Outcome::Allowed },
                reason: "related",
                store: StoreId(1),
                revision: Revision(1),
                schema: Revision(1),
                duration: Duration::ZERO,
                judged_at: None,
                resource_type: "document",
                permission: if number % 2 == 0 { "view" } else { "edit" },
                subject_type: "user",
                subject_relation: "",
                count: 0,
                digest: None,
                caller: "key-1",
                resource_id: &resource,
                subject_id: &subject,
                context: "",
                detail: "",
                actors: vec!["agent-7"; usize::from(number % 13 == 0)],
            })
        };
        log.add(&body).unwrap();
    }
    log.sync().unwrap();
    let segments = segment::list(&directory).unwrap();
    for first in &segments[..segments.len() - 1] {
        index::make(&directory, *first).unwrap();
    }
    LogReader::open(&directory).unwrap()
}

fn found(log: &LogReader, query: &Query) -> (Vec<u64>, u64) {
    let mut found = Vec::new();
    let mut read = 0;
    let reading = &mut |_| {
        read += 1;
        ControlFlow::Continue(())
    };
    search(log, query, reading, &mut |raw| {
        found.push(raw.record.index);
        ControlFlow::Continue(())
    })
    .unwrap();
    (found, read)
}

#[test]
fn an_index_finds_what_reading_everything_finds() {
    let seed: u64 = std::env::var("SEED").ok().map_or(7, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path());
    let mut one_of = |texts: &[&str]| {
        let at = random.next_u32() as usize % (texts.len() * 2);
        texts.get(at).map(|text| (*text).to_owned())
    };
    for _ in 0..300 {
        let time = one_of(&["1970-01-01T00:02:00Z", "1970-01-01T00:05:00Z"]).map(|time| time.parse().unwrap());
        let query = Query {
            subject: one_of(&["user", "user:u3", "user:u36", "group:g1", "group:g1#member", "user:nobody"]),
            resource: one_of(&["document", "document:d0", "document:d10"]),
            permission: one_of(&["view", "viewer", "none"]),
            outcome: one_of(&["allowed", "denied"]),
            call: one_of(&["check"]),
            caller: one_of(&["key-1", "agent-7"]),
            since: time,
            until: one_of(&["1970-01-01T00:10:00Z"]).map(|time| time.parse().unwrap()),
            from: one_of(&["100", "650"]).map_or(0, |from| from.parse().unwrap()),
        };
        let mut expected = Vec::new();
        log.records(query.from, &mut |raw| {
            expected.extend(query.fits(&raw.record).then_some(raw.record.index));
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(found(&log, &query).0, expected, "{query:?}");
    }
}

#[test]
fn a_search_reads_what_it_finds_and_the_last_segment_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path());
    let query = |subject: &str| Query { subject: Some(subject.to_owned()), ..Query::default() };
    let (records, read) = found(&log, &query("user:u3"));
    assert!(!records.is_empty() && read <= records.len() as u64 + 64, "{read} read for {}", records.len());
    assert!(found(&log, &query("user:nobody")).1 <= 64);
    // Without an index everything is read, and as much found.
    for first in log.segments() {
        let _last_has_none = std::fs::remove_file(index::path(log.directory(), *first));
    }
    assert_eq!(found(&log, &query("user:u3")), (records, 700));
}

#[test]
fn a_damaged_index_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let log = log(folder.path());
    let path = index::path(log.directory(), 0);
    let whole = std::fs::read(&path).unwrap();
    for at in [0, 30, 40, 60] {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        assert!(index::Index::open(log.directory(), 0).is_none(), "byte {at}");
    }
    std::fs::write(&path, &whole[..20]).unwrap();
    let query = Query { subject: Some("user:u3".to_owned()), ..Query::default() };
    assert!(found(&log, &query).0.contains(&4), "the segment is read instead");
}

#[test]
fn what_no_record_can_fit_is_refused_at_its_field() {
    let time = |second| Some(Timestamp::from_second(second).unwrap());
    let of = |text: &str| Some(text.to_owned());
    let refused = |query: Query, log: &str| query.check(log).unwrap_err();
    let call = |name: &str| Query { call: of(name), ..Query::default() };
    assert!(refused(call("nosuch"), DECISIONS).why.contains("check, check_bulk"));
    assert_eq!(refused(call("lookup-resources"), DECISIONS).to_string(), "`call` is recorded as `lookup_resources`");
    assert_eq!(refused(call("check"), CHANGES).field, "call");
    let outcome = |name: &str| Query { outcome: of(name), ..Query::default() };
    assert!(refused(outcome("alowed"), DECISIONS).why.contains("allowed, denied"));
    assert_eq!(refused(outcome("allowed"), CHANGES).field, "outcome");
    for (since, until) in [(2, 1), (2, 2)] {
        let query = Query { since: time(since), until: time(until), ..Query::default() };
        assert_eq!(refused(query, DECISIONS).field, "until");
    }
    for bad in ["doc*", "document:", ":plan", "document:plan#viewer", "document:*", "document:a b", ""] {
        assert_eq!(refused(Query { resource: of(bad), ..Query::default() }, CHANGES).field, "resource", "{bad}");
    }
    for bad in ["us*", "user:", "user:anna#", "user:anna#...", "user:an na"] {
        assert_eq!(refused(Query { subject: of(bad), ..Query::default() }, DECISIONS).field, "subject", "{bad}");
    }
    assert_eq!(refused(Query { permission: of("vi ew"), ..Query::default() }, DECISIONS).field, "permission");

    for good in ["user", "user:anna", "group:eng#member", "group#member", "user:*", "sys/principal:anna"] {
        assert_eq!(Query { subject: of(good), ..Query::default() }.check(DECISIONS), Ok(()), "{good}");
    }
    let all = Query {
        resource: of("document:plan"),
        permission: of("viewer"),
        caller: of("whoever"),
        since: time(1),
        until: time(2),
        ..Query::default()
    };
    assert_eq!((all.check(CHANGES), all.check(DECISIONS)), (Ok(()), Ok(())));
    for call in CALLS {
        assert_eq!(Query { call: of(call), outcome: of("begun"), ..Query::default() }.check(DECISIONS), Ok(()));
    }
    assert!(CALLS.is_sorted());
}
