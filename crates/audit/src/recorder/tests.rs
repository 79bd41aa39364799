mod erasing;
mod stores;

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::sync::atomic::AtomicBool;

use stonetown_storage::{MemoryDatastore, SchemaWrite, StoredUpdate, TableKey, Transaction};
use stonetown_tuple::{Operation, Source, StoreId, Timestamp};

use super::*;
use crate::log::Sink;
use crate::reader::LogReader;
use crate::record::Outcome;
use crate::verify::{Against, verify};

struct Place {
    folder: tempfile::TempDir,
    datastore: Arc<dyn Datastore>,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap(), datastore: Arc::new(MemoryDatastore::new()) }
    }

    fn options(&self) -> Options {
        let keys = Keys::open(&self.folder.path().join("keys")).unwrap();
        Options::new(self.folder.path().join("audit"), keys, self.datastore.instance())
    }

    fn open(&self, options: Options) -> Recorder {
        Recorder::open(options, Arc::clone(&self.datastore)).unwrap()
    }

    /// The records of a log of the default store as JSON, after verifying it.
    fn records(&self, log: &str) -> Vec<serde_json::Value> {
        self.records_of(StoreId::DEFAULT, log)
    }

    fn records_of(&self, store: StoreId, log: &str) -> Vec<serde_json::Value> {
        let directory = log_directory(&self.folder.path().join("audit"), store, log);
        let report = verify(&directory, &Against::default()).unwrap();
        assert_eq!(report.problems, []);
        let mut records = Vec::new();
        let log = LogReader::open(&directory).unwrap();
        log.records(0, &mut |raw| {
            records.push(raw.record.to_json());
            ControlFlow::Continue(())
        })
        .unwrap();
        records
    }

    fn of_kind(&self, log: &str, kind: &str) -> Vec<serde_json::Value> {
        self.records(log).into_iter().filter(|record| record["kind"] == kind).collect()
    }
}

fn decision(subject: &str) -> Decision<'_> {
    Decision {
        time: Timestamp::now(),
        start: 0,
        call: "check",
        outcome: Outcome::Allowed,
        reason: "related",
        store: StoreId(1),
        revision: Revision(1),
        schema: Revision(1),
        duration: Duration::from_micros(4),
        resource_type: "document",
        permission: "view",
        subject_type: "user",
        subject_relation: "",
        count: 0,
        digest: None,
        caller: "key-1",
        resource_id: "readme",
        subject_id: subject,
        context: "",
        detail: "",
        actors: Vec::new(),
        judged_at: None,
    }
}

#[test]
fn decisions_of_many_threads_are_all_recorded() {
    let place = Place::new();
    let recorder = place.open(place.options());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let recorder = &recorder;
            scope.spawn(move || {
                for number in 0..500 {
                    recorder.record(decision(&format!("{thread}-{number}")), false).unwrap();
                }
            });
        }
    });
    recorder.close();
    assert_eq!(place.of_kind(DECISIONS, "decision").len(), 2000);
    assert_eq!(recorder.counters().decisions.load(Ordering::Relaxed), 2000);
    assert_eq!(recorder.counters().lost.load(Ordering::Relaxed), 0);
    let kinds: Vec<_> = place.records(DECISIONS).into_iter().map(|record| record["kind"].clone()).collect();
    assert_eq!((&kinds[0], &kinds[2001]), (&"start".into(), &"stop".into()));
}

#[test]
fn a_strict_decision_is_on_disk_when_it_is_answered() {
    let place = Place::new();
    let recorder = place.open(place.options());
    for number in 0..5 {
        let receipt = recorder.record(decision("alice"), true).unwrap();
        recorder.wait(&receipt, None).unwrap();
        // Without closing: as kill -9 would leave it.
        assert_eq!(place.of_kind(DECISIONS, "decision").len(), number + 1);
        assert_eq!(recorder.counters().unsynced.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn what_finds_no_room_in_the_queue_is_counted_in_a_gap() {
    let place = Place::new();
    // At and past the bound: one fits, of many at once most do not.
    let recorder = place.open(Options { queue_bytes_max: 800, ..place.options() });
    for _ in 0..1000 {
        recorder.record(decision("alice"), false).unwrap();
    }
    recorder.close();
    let lost = recorder.counters().lost.load(Ordering::Relaxed);
    let written = place.of_kind(DECISIONS, "decision").len() as u64;
    let gaps: u64 = place.of_kind(DECISIONS, "gap").iter().map(|gap| gap["count"].as_u64().unwrap()).sum();
    assert!(lost > 0 && written > 0, "{lost} lost, {written} written");
    assert_eq!((written + lost, gaps), (1000, lost));
    // Closed: nothing is taken any more, and a strict call is told.
    assert!(recorder.record(decision("alice"), true).is_err());
    assert!(recorder.record(decision("alice"), false).is_ok());
    assert_eq!(recorder.counters().lost.load(Ordering::Relaxed), lost + 1);
}

static FULL: AtomicBool = AtomicBool::new(false);

/// A disk that asks before it writes.
struct AskingDisk(File, fn() -> io::Result<()>);

impl Sink for AskingDisk {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        (self.1)()?;
        self.0.write_all_at(bytes, offset)
    }
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }
}

fn storage_full_if(full: bool) -> io::Result<()> {
    if full { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
}

fn unless_full() -> io::Result<()> {
    storage_full_if(FULL.load(Ordering::SeqCst))
}

#[test]
fn on_a_full_disk_strict_calls_fail_and_the_rest_leaves_a_counted_gap() {
    let place = Place::new();
    let small = |directory, origin| Setup {
        sink: |file| Box::new(AskingDisk(file, unless_full)),
        ..Setup::new(directory, origin)
    };
    let recorder = Recorder::open_with(place.options(), Arc::clone(&place.datastore), small).unwrap();
    let strict = |subject| recorder.record(decision(subject), true).and_then(|receipt| recorder.wait(&receipt, None));
    strict("before").unwrap();
    FULL.store(true, Ordering::SeqCst);
    for _ in 0..7 {
        recorder.record(decision("lost"), false).unwrap();
    }
    assert_eq!(strict("refused"), Err(Unrecorded::NotSynced));
    assert_eq!(recorder.counters().failing.load(Ordering::Relaxed), 1);
    assert_eq!(recorder.counters().refused.load(Ordering::Relaxed), 1);
    FULL.store(false, Ordering::SeqCst);
    strict("after").unwrap();
    recorder.close();
    let gaps = place.of_kind(DECISIONS, "gap");
    let count: u64 = gaps.iter().map(|gap| gap["count"].as_u64().unwrap()).sum();
    // The refused one was counted, too: nobody was answered by it.
    assert_eq!((count, &gaps[0]["reason"]), (8, &"write_failed".into()));
    let subjects: Vec<_> =
        place.of_kind(DECISIONS, "decision").into_iter().map(|record| record["subject"].clone()).collect();
    assert_eq!(subjects, ["user:before", "user:after"]);
}

static HELD: Mutex<()> = Mutex::new(());
static FAILS_ONCE: AtomicBool = AtomicBool::new(false);

/// Fails once, when it goes on.
fn once_it_goes_on() -> io::Result<()> {
    let _until_it_goes_on = HELD.lock();
    storage_full_if(FAILS_ONCE.swap(false, Ordering::SeqCst))
}

#[test]
fn records_of_one_call_that_are_synced_at_different_times_are_all_waited_for() {
    let place = Place::new();
    let failing = |directory, origin| Setup {
        sink: |file| Box::new(AskingDisk(file, once_it_goes_on)),
        ..Setup::new(directory, origin)
    };
    let recorder = Recorder::open_with(place.options(), Arc::clone(&place.datastore), failing).unwrap();
    let before = recorder.record(decision("before"), true).unwrap();
    recorder.wait(&before, None).unwrap();
    let held = HELD.lock();
    FAILS_ONCE.store(true, Ordering::SeqCst);
    let mut receipt = recorder.record(decision("first"), true).unwrap();
    // The first is being written when the second is recorded.
    while recorder.queued_bytes() > 0 {
        std::thread::yield_now();
    }
    let second = recorder.record(decision("second"), true).unwrap();
    receipt.join(second);
    drop(held);
    assert_eq!(recorder.wait(&receipt, None), Err(Unrecorded::NotSynced));
    recorder.close();
    assert_eq!(subjects(&place), ["before", "second"]);
}

static STALLED: Mutex<()> = Mutex::new(());

struct StallingDisk(File);

impl Sink for StallingDisk {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        let _until_it_goes_on = STALLED.lock();
        self.0.sync_data()
    }
}

#[test]
fn a_stalled_disk_refuses_strict_calls_in_time_and_then_at_once_and_loses_none_of_the_rest_in_silence() {
    let place = Place::new();
    let stalling =
        |directory, origin| Setup { sink: |file| Box::new(StallingDisk(file)), ..Setup::new(directory, origin) };
    let patience = Duration::from_secs(1);
    let options = Options { strict_wait_max: patience, queue_bytes_max: 8_000, ..place.options() };
    let recorder = Recorder::open_with(options, Arc::clone(&place.datastore), stalling).unwrap();
    let strict = |deadline| {
        let receipt = recorder.record(decision("strict"), true)?;
        recorder.wait(&receipt, deadline)
    };
    strict(None).unwrap();
    let stall = STALLED.lock();
    let begun = Instant::now();
    assert_eq!(strict(Some(begun + Duration::from_millis(20))), Err(Unrecorded::OutOfTime), "the time of the call");
    assert!(begun.elapsed() < patience);
    assert_eq!(strict(None), Err(Unrecorded::OutOfTime));
    let begun = Instant::now();
    for _ in 0..10_000 {
        assert_eq!(strict(None), Err(Unrecorded::Stalled));
    }
    assert!(begun.elapsed() < patience * 100, "refused at once");
    for _ in 0..100 {
        recorder.record(decision("other"), false).unwrap();
    }
    drop(stall);
    // Calls are taken again as soon as the disk goes on.
    let begun = Instant::now();
    while strict(None).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(5));
    }
    recorder.close();
    let counters = recorder.counters();
    let (lost, refused) = (counters.lost.load(Ordering::Relaxed), counters.refused.load(Ordering::Relaxed));
    assert!(refused >= 10_002 && counters.strict.load(Ordering::Relaxed) >= 4);
    assert_eq!(counters.strict_waiting.load(Ordering::Relaxed), 0);
    assert!(counters.strict_wait_micros.load(Ordering::Relaxed) > 300_000);
    let others = subjects(&place).into_iter().filter(|subject| subject == "other").count() as u64;
    let gaps: u64 = place.of_kind(DECISIONS, "gap").iter().map(|gap| gap["count"].as_u64().unwrap()).sum();
    assert!(lost > 0, "there were more than the queue has room for");
    assert_eq!((others + lost, gaps), (100, lost));
}

#[test]
fn strict_decisions_of_many_share_a_sync() {
    let place = Place::new();
    let recorder = place.open(place.options());
    std::thread::scope(|scope| {
        for thread in 0..32 {
            let recorder = &recorder;
            scope.spawn(move || {
                for number in 0..50 {
                    let receipt = recorder.record(decision(&format!("{thread}-{number}")), true).unwrap();
                    recorder.wait(&receipt, None).unwrap();
                }
            });
        }
    });
    let syncs = recorder.counters().syncs.load(Ordering::Relaxed);
    assert_eq!(place.of_kind(DECISIONS, "decision").len(), 1600, "all are there without closing");
    assert!(syncs < 800, "{syncs} syncs");
}

#[test]
fn masked_parameters_are_named_and_not_told() {
    let place = Place::new();
    let recorder = place.open(Options { masked: vec!["ssn".to_owned()], ..place.options() });
    let context = serde_json::json!({"ssn": "078-05-1120", "ip": "10.0.0.1"});
    let text = recorder.context(context.as_object().unwrap());
    assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["ssn"], "[masked]");
    assert!(text.contains("10.0.0.1") && !text.contains("1120"));
    assert_eq!(recorder.context(&CaveatContext::new()), "");
}

fn commit(datastore: &dyn Datastore, update: &str, operation: Operation) {
    commit_in(datastore, StoreId::DEFAULT, update, operation);
}

fn commit_in(datastore: &dyn Datastore, store: StoreId, update: &str, operation: Operation) {
    let mut transaction = Transaction::new(store, Timestamp::now());
    transaction.updates.push(StoredUpdate {
        operation,
        relationship: update.parse().unwrap(),
        source: Source::STANDING,
    });
    transaction.actor = Some("key-1".to_owned());
    transaction.metadata = Some(r#"{"ticket":"A-1"}"#.to_owned());
    datastore.commit(transaction).unwrap();
}

fn commit_schema(datastore: &dyn Datastore) {
    write_schema_in(datastore, StoreId::DEFAULT);
}

fn write_schema_in(datastore: &dyn Datastore, store: StoreId) {
    let mut transaction = Transaction::new(store, Timestamp::now());
    let table = TableKey {
        resource_type: "document".to_owned(),
        relation: "viewer".to_owned(),
        subject_type: "user".to_owned(),
        subject_relation: None,
    };
    transaction.schema = Some(SchemaWrite {
        bytes: b"the schema".to_vec(),
        tables: vec![table],
        types: vec!["document".to_owned(), "user".to_owned()],
    });
    datastore.commit(transaction).unwrap();
}

#[test]
fn changes_are_taken_from_the_transaction_log_what_was_committed_unrecorded_first() {
    let place = Place::new();
    commit_schema(&*place.datastore);
    commit(&*place.datastore, "document:readme#viewer@user:alice", Operation::Touch);
    let recorder = place.open(place.options());
    commit(&*place.datastore, "document:readme#viewer@user:alice", Operation::Delete);
    recorder.close();
    assert_eq!(recorder.position(), Revision(3));
    // Committed while nothing records, as between a commit and its record before a crash.
    commit(&*place.datastore, "document:readme#viewer@user:bob", Operation::Touch);
    place.open(place.options()).close();
    // Nothing new: nothing is recorded twice.
    place.open(place.options()).close();
    let changes = place.of_kind(CHANGES, "change");
    let of = |field: &str| changes.iter().map(|change| change[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("revision"), [1, 2, 3, 4]);
    let hash = crate::merkle::sha256(b"the schema").iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(changes[0]["schema_sha256"], hash);
    assert_eq!(changes[1]["updates"][0], "+document:readme#viewer@user:alice");
    assert_eq!(changes[2]["updates"][0], "-document:readme#viewer@user:alice");
    assert_eq!((&changes[3]["actor"], &changes[3]["metadata"]["ticket"]), (&"key-1".into(), &"A-1".into()));
}

#[test]
fn a_transaction_of_many_relationships_has_several_records_and_a_cut_log_leaves_a_gap() {
    let place = Place::new();
    commit_schema(&*place.datastore);
    let mut transaction = Transaction::new(StoreId::DEFAULT, Timestamp::now());
    transaction.updates.extend((0..450).map(|number| StoredUpdate {
        operation: Operation::Touch,
        relationship: format!("document:readme#viewer@user:u{number}").parse().unwrap(),
        source: Source::STANDING,
    }));
    place.datastore.commit(transaction).unwrap();
    place.open(place.options()).close();
    let parts = place.of_kind(CHANGES, "change");
    let sizes: Vec<_> =
        parts.iter().map(|part| (part["part"].clone(), part["updates"].as_array().map_or(0, Vec::len))).collect();
    assert_eq!(sizes, [(0.into(), 0), (0.into(), 200), (1.into(), 200), (2.into(), 50)]);
    assert_eq!((&parts[2]["last"], &parts[3]["last"]), (&false.into(), &true.into()));

    for subject in ["a1", "a2", "a3"] {
        commit(&*place.datastore, &format!("document:readme#viewer@user:{subject}"), Operation::Touch);
    }
    place.datastore.collect_garbage(Revision(4), Revision(4), 1000).unwrap();
    place.open(place.options()).close();
    let gaps = place.of_kind(CHANGES, "gap");
    assert_eq!(
        (&gaps[0]["reason"], &gaps[0]["from"], &gaps[0]["until"]),
        (&"transaction_log_cut".into(), &3.into(), &4.into())
    );
    assert_eq!(place.of_kind(CHANGES, "change").last().unwrap()["revision"], 5);
}

#[test]
fn a_datastore_older_than_its_log_is_told() {
    let place = Place::new();
    commit_schema(&*place.datastore);
    commit(&*place.datastore, "document:readme#viewer@user:alice", Operation::Touch);
    place.open(place.options()).close();
    let older: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
    commit_schema(&*older);
    for _ in 0..2 {
        Recorder::open(place.options(), Arc::clone(&older)).unwrap().close();
    }
    let gaps = place.of_kind(CHANGES, "gap");
    assert_eq!(gaps.len(), 1);
    assert_eq!(
        (&gaps[0]["reason"], &gaps[0]["from"], &gaps[0]["until"]),
        (&"history_went_back".into(), &1.into(), &2.into())
    );
}

#[test]
fn old_decisions_go_when_there_are_too_many_bytes_and_the_log_says_so() {
    let place = Place::new();
    let setup = |directory, origin| Setup { bits: 3, ..Setup::new(directory, origin) };
    let directory = place.folder.path().join("audit").join(DECISIONS);
    let (mut log, found) =
        Log::open(setup(directory.clone(), "stonetown/1/decisions".to_owned()), &place.options().keys).unwrap();
    log.add_start("", "", &found).unwrap();
    for number in 0..60 {
        log.add(&Body::Decision(decision(&format!("u{number}")))).unwrap();
    }
    log.sync().unwrap();
    let bytes = |log: &Log| {
        crate::segment::list(log.directory())
            .unwrap()
            .iter()
            .map(|first| std::fs::metadata(crate::segment::path(log.directory(), *first)).unwrap().len())
            .sum::<u64>()
    };
    let before = bytes(&log);
    worker::prune(&mut log, before).unwrap();
    assert_eq!(bytes(&log), before, "at the bound nothing goes");
    worker::prune(&mut log, before / 2).unwrap();
    assert!(bytes(&log) <= before / 2 + 4096);
    log.sync().unwrap();
    log.publish().unwrap();
    let report = verify(&directory, &Against::default()).unwrap();
    assert_eq!(report.problems, []);
    assert!(report.first >= 24);
}

/// What a killed process leaves: a log of `written` decisions and a queue with two halves, the first of them being written.
fn killed(place: &Place, written: usize, first: &[&str], second: &[&str]) {
    let recorder = place.open(place.options());
    for number in 0..written {
        recorder.record(decision(&format!("written-{number}")), false).unwrap();
    }
    recorder.close();
    drop(recorder);
    let options = place.options();
    let mut mapped = Mapped::open(&options.folder.join(QUEUE), options.instance, options.queue_bytes_max).unwrap();
    let push = |half: &mut Half, subject: &str| {
        let mut draft = Draft::default();
        draft.set(&Body::Decision(decision(subject)));
        half.push(&draft.bytes);
    };
    let [one, two] = &mut mapped.halves;
    first.iter().for_each(|subject| push(one, subject));
    two.follow(one);
    second.iter().for_each(|subject| push(two, subject));
}

fn subjects(place: &Place) -> Vec<String> {
    let decisions = place.of_kind(DECISIONS, "decision").into_iter();
    decisions.map(|record| record["subject"].as_str().unwrap().trim_start_matches("user:").to_owned()).collect()
}

#[test]
fn what_a_killed_process_had_only_in_its_queue_is_written_by_the_next_once_and_in_order() {
    let place = Place::new();
    killed(&place, 2, &["a", "b", "c"], &["d", "e"]);
    place.open(place.options()).close();
    assert_eq!(subjects(&place), ["written-0", "written-1", "a", "b", "c", "d", "e"]);
    let starts = place.of_kind(DECISIONS, "start");
    assert_eq!((&starts[0]["recovered"], &starts[1]["recovered"]), (&0.into(), &5.into()));
    // Nothing is left for a third.
    place.open(place.options()).close();
    assert_eq!(subjects(&place).len(), 7);
}

#[test]
fn of_a_half_that_was_being_written_only_the_rest_is_recovered() {
    let place = Place::new();
    // The log has: start, three decisions, stop; the half began with the second of them.
    killed(&place, 3, &["written-1", "written-2", "stop", "new"], &[]);
    let options = place.options();
    let mut mapped = Mapped::open(&options.folder.join(QUEUE), options.instance, options.queue_bytes_max).unwrap();
    mapped.halves[0].begin_at(StoreId::DEFAULT, 2);
    drop(mapped);
    place.open(place.options()).close();
    assert_eq!(subjects(&place), ["written-0", "written-1", "written-2", "new"]);
}

#[test]
fn a_queue_of_another_history_is_dropped_and_one_in_use_is_refused() {
    let place = Place::new();
    killed(&place, 1, &["a"], &[]);
    let other: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
    Recorder::open(Options { instance: other.instance(), ..place.options() }, other).unwrap().close();
    assert!(!subjects(&place).contains(&"a".to_owned()));

    let recorder = place.open(place.options());
    let second = Recorder::open(place.options(), Arc::clone(&place.datastore));
    assert!(matches!(second, Err(LogError::Io { source, .. }) if source.kind() == io::ErrorKind::ResourceBusy));
    recorder.close();
}

#[test]
fn a_flood_of_refused_log_ins_leaves_few_records_and_an_exact_count() {
    let place = Place::new();
    let recorder = place.open(place.options());
    for _ in 0..5000 {
        recorder.record_refused_log_in("unknown", "/authzed.api.v1.PermissionsService/CheckPermission");
    }
    recorder.close();
    let single = place.of_kind(DECISIONS, "decision").len() as u64;
    let counted: u64 = place.of_kind(DECISIONS, "gap").iter().map(|gap| gap["count"].as_u64().unwrap()).sum();
    assert!((1..=30).contains(&single), "{single} single records");
    assert_eq!(single + counted, 5000);
    let report = verify(&place.folder.path().join("audit").join(DECISIONS), &Against::default()).unwrap();
    assert_eq!((report.sampled, report.gaps), (counted, (0, 0)));
}

#[test]
fn erased_fields_are_gone_from_the_disk_and_the_log_stays_whole() {
    let place = Place::new();
    commit_schema(&*place.datastore);
    commit(&*place.datastore, "document:readme#viewer@user:alice", Operation::Touch);
    commit(&*place.datastore, "document:readme#viewer@user:bob", Operation::Touch);
    let recorder = place.open(place.options());
    let of_alice = Decision { context: r#"{"home":"alice-street"}"#, ..decision("alice") };
    let receipt = recorder.record(of_alice, true).unwrap();
    recorder.record(Decision { detail: "document:readme#view > user:alice", ..decision("bob") }, false).unwrap();
    recorder.wait(&receipt, None).unwrap();
    let erasure = Erasure { object: Some("user:alice".to_owned()), caller: None };
    std::thread::sleep(Duration::from_millis(200));
    let fields = recorder.erase(StoreId::DEFAULT, &erasure, "key-1", "ticket 7").unwrap();
    // Her id and her context, the detail that mentions her; her relationship and the metadata beside it.
    assert_eq!(fields, Fields { decisions: 3, changes: 2 });
    assert_eq!(recorder.erase(StoreId::DEFAULT, &erasure, "key-1", "again").unwrap(), Fields::default());
    recorder.close();
    assert!(subjects(&place).contains(&"[erased]".to_owned()) && subjects(&place).contains(&"bob".to_owned()));
    let told = place.of_kind(CHANGES, "erased");
    assert_eq!((told.len(), &told[0]["decisions"], &told[0]["why"]), (1, &3.into(), &"ticket 7".into()));
    for log in [DECISIONS, CHANGES] {
        let directory = place.folder.path().join("audit").join(log);
        for first in crate::segment::list(&directory).unwrap() {
            let bytes = std::fs::read(crate::segment::path(&directory, first)).unwrap();
            assert!(!bytes.windows(5).any(|window| window == b"alice"), "{log}");
        }
    }
    let report = |log| verify(&place.folder.path().join("audit").join(log), &Against::default()).unwrap();
    assert_eq!(crate::untold_erasures(&report(DECISIONS), &report(CHANGES)), None);
}

#[test]
fn fields_that_are_gone_without_a_record_of_that_are_noticed() {
    let place = Place::new();
    let recorder = place.open(place.options());
    recorder.record(decision("alice"), false).unwrap();
    recorder.close();
    let folder = place.folder.path().join("audit");
    let erasure = Erasure { object: Some("user:alice".to_owned()), caller: None };
    crate::erase::erase_recorded(&folder, &erasure, |_| Ok(())).unwrap();
    let report = |log| verify(&folder.join(log), &Against::default()).unwrap();
    let (decisions, changes) = (report(DECISIONS), report(CHANGES));
    assert_eq!((decisions.problems.len(), decisions.erased), (0, 1));
    assert!(crate::untold_erasures(&decisions, &changes).is_some());
}

#[test]
fn erasing_offline_is_recorded_and_refused_while_the_logs_are_in_use() {
    let place = Place::new();
    let (folder, keys) = (place.options().folder, place.options().keys);
    let recorder = place.open(place.options());
    recorder.record(Decision { caller: "key-9", ..decision("alice") }, false).unwrap();
    let erasure = Erasure { object: None, caller: Some("key-9".to_owned()) };
    let erase = || crate::erase_offline(&folder, StoreId::DEFAULT, &keys, &erasure, "operator", "asked");
    assert!(matches!(erase(), Err(EraseError::Read(_))));
    recorder.close();
    drop(recorder);
    assert_eq!(erase().unwrap(), Fields { decisions: 1, changes: 0 });
    assert_eq!(place.of_kind(CHANGES, "erased").len(), 1);
    place.open(place.options()).close();
    assert_eq!(place.of_kind(DECISIONS, "decision")[0]["caller"], "[erased]");
}
