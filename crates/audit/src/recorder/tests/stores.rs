//! Several stores, each with logs of its own.

use super::*;
use crate::layout::stores;
use crate::segment;

const SHOP: StoreId = StoreId(2);
const BLOG: StoreId = StoreId(7);

fn decision_in(store: StoreId, subject: &str) -> Decision<'_> {
    Decision { store, ..decision(subject) }
}

fn subjects_of(place: &Place, store: StoreId) -> Vec<String> {
    let records = place.records_of(store, DECISIONS).into_iter().filter(|record| record["kind"] == "decision");
    records.map(|record| record["subject"].as_str().unwrap().trim_start_matches("user:").to_owned()).collect()
}

fn viewer(subject: &str) -> String {
    format!("document:readme#viewer@user:{subject}")
}

fn revisions(place: &Place, store: StoreId) -> Vec<u64> {
    let records = place.records_of(store, CHANGES).into_iter().filter(|record| record["kind"] == "change");
    records.map(|record| record["revision"].as_u64().unwrap()).collect()
}

#[test]
fn a_decision_is_in_the_log_of_its_store_and_in_no_other() {
    let place = Place::new();
    let recorder = place.open(place.options());
    for (store, subject) in [
        (StoreId::DEFAULT, "default"),
        (SHOP, "shop"),
        (BLOG, "blog"),
        (StoreId::SYSTEM, "system"),
        (StoreId(LOGS_MAX - 1), "last"),
        (StoreId(LOGS_MAX), "beyond"),
        (StoreId(u32::MAX), "none"),
        (SHOP, "shop-again"),
    ] {
        recorder.record(decision_in(store, subject), false).unwrap();
    }
    recorder.close();
    // What belongs to no store is in the logs of the server.
    assert_eq!(subjects_of(&place, StoreId::DEFAULT), ["default", "system", "beyond", "none"]);
    assert_eq!(subjects_of(&place, SHOP), ["shop", "shop-again"]);
    assert_eq!(subjects_of(&place, BLOG), ["blog"]);
    assert_eq!(subjects_of(&place, StoreId(LOGS_MAX - 1)), ["last"]);
    let folder = place.options().folder;
    assert_eq!(stores(&folder).unwrap(), [StoreId::DEFAULT, SHOP, BLOG, StoreId(LOGS_MAX - 1)]);
    // That there are logs of others is in the log of the server: one that is gone is missed.
    let report = verify(&log_directory(&folder, StoreId::DEFAULT, DECISIONS), &Against::default()).unwrap();
    assert_eq!(report.begun.into_iter().collect::<Vec<_>>(), [(SHOP, 1), (BLOG, 1), (StoreId(LOGS_MAX - 1), 1)]);
    // A record of one proves nothing about another: their names differ.
    let origins = [StoreId::DEFAULT, SHOP].map(|store| recorder.log(store, DECISIONS).unwrap().origin().to_owned());
    assert!(origins[0].ends_with("/decisions") && origins[1].ends_with("/stores/2/decisions"), "{origins:?}");
}

#[test]
fn what_a_killed_process_left_goes_to_the_log_of_each_store_once() {
    let place = Place::new();
    let recorder = place.open(place.options());
    recorder.record(decision_in(SHOP, "shop-0"), false).unwrap();
    recorder.close();
    drop(recorder);
    // Two halves; of the first, the shop's first record is in its log already, and nothing of the others.
    let options = place.options();
    let mut mapped = Mapped::open(&options.folder.join(QUEUE), options.instance, options.queue_bytes_max).unwrap();
    let push = |half: &mut Half, store, subject: &str| {
        let mut draft = Draft::default();
        draft.set(&Body::Decision(decision_in(store, subject)));
        half.push(&draft.bytes);
    };
    let [one, two] = &mut mapped.halves;
    // In its log: start, shop-0, stop.
    one.begin_at(SHOP, 1);
    for (store, subject) in [(SHOP, "shop-0"), (BLOG, "blog-1"), (SHOP, "stop"), (SHOP, "shop-1"), (BLOG, "blog-2")] {
        push(one, store, subject);
    }
    two.follow(one);
    for (store, subject) in [(BLOG, "blog-3"), (StoreId::DEFAULT, "default-1")] {
        push(two, store, subject);
    }
    mapped.table.set_start(SHOP, Some(0));
    drop(mapped);
    for _ in 0..2 {
        place.open(place.options()).close();
        assert_eq!(subjects_of(&place, SHOP), ["shop-0", "shop-1"]);
        assert_eq!(subjects_of(&place, BLOG), ["blog-1", "blog-2", "blog-3"]);
        assert_eq!(subjects_of(&place, StoreId::DEFAULT), ["default-1"]);
    }
    // Each refers to the start of a process: that of the one that decided, or where this was killed before it, of the next.
    let start_of = |store, subject: &str| {
        let records = place.records_of(store, DECISIONS);
        let found = records.iter().find(|record| record["subject"] == format!("user:{subject}")).unwrap();
        let start = found["start"].as_u64().unwrap();
        assert_eq!(records[usize::try_from(start).unwrap()]["kind"], "start");
        (start, found["index"].as_u64().unwrap())
    };
    assert_eq!(start_of(SHOP, "shop-1"), (0, 3));
    assert_eq!(start_of(BLOG, "blog-1"), (3, 0));
}

#[test]
fn the_files_of_a_bounded_number_of_logs_are_open() {
    let place = Place::new();
    let options = place.options();
    let Options { folder, keys, instance, node, build, .. } = options;
    std::fs::create_dir_all(&folder).unwrap();
    let mut shelf = Shelf::new(Maker { folder, kind: DECISIONS, instance, keys, node, build, setup: Setup::new });
    let all = (1..=shelf::AWAKE_MAX as u32 + 5).map(StoreId);
    for round in 0..3 {
        for of in all.clone() {
            let log = &mut shelf.get(of).unwrap().log;
            log.add(&Body::Decision(decision_in(of, &round.to_string()))).unwrap();
            log.write().unwrap();
            assert!(shelf.awake() <= shelf::AWAKE_MAX, "{} at {of:?}", shelf.awake());
        }
    }
    assert_eq!(shelf.awake(), shelf::AWAKE_MAX);
    shelf.each().for_each(|(_, kept)| kept.log.publish().unwrap());
    for of in all {
        assert_eq!(subjects_of(&place, of), ["0", "1", "2"]);
    }
}

#[test]
fn a_damaged_log_of_one_store_leaves_the_others_alone_and_lacks_nothing_in_silence() {
    let place = Place::new();
    let recorder = place.open(place.options());
    recorder.record(decision_in(SHOP, "shop"), false).unwrap();
    recorder.close();
    drop(recorder);
    let directory = log_directory(&place.options().folder, SHOP, DECISIONS);
    let segment = segment::path(&directory, 0);
    let whole = std::fs::read(&segment).unwrap();
    let mut damaged = whole.clone();
    damaged[200] ^= 1;
    std::fs::write(&segment, &damaged).unwrap();

    let recorder = place.open(place.options());
    let strict = |store| {
        let receipt = recorder.record(decision_in(store, "strict"), true)?;
        recorder.wait(&receipt, None)
    };
    recorder.record(decision_in(SHOP, "lost"), false).unwrap();
    assert_eq!(strict(SHOP), Err(Unrecorded::NotSynced));
    assert_eq!(strict(BLOG), Ok(()));
    assert_eq!(strict(StoreId::DEFAULT), Ok(()));
    recorder.close();
    drop(recorder);
    assert_eq!(
        (subjects_of(&place, BLOG), subjects_of(&place, StoreId::DEFAULT)),
        (vec!["strict".to_owned()], vec!["strict".to_owned()])
    );

    // Mended, the log says what it lacks: the count has outlived the process.
    std::fs::write(&segment, &whole).unwrap();
    place.open(place.options()).close();
    let gaps = place.records_of(SHOP, DECISIONS).into_iter().filter(|record| record["kind"] == "gap");
    assert_eq!(gaps.map(|gap| gap["count"].as_u64().unwrap()).sum::<u64>(), 2);
}

#[test]
fn changes_are_in_the_log_of_their_store_each_once() {
    let place = Place::new();
    for store in [StoreId::DEFAULT, SHOP, BLOG] {
        write_schema_in(&*place.datastore, store);
    }
    place.open(place.options()).close();
    for (store, subject) in [(SHOP, "a"), (BLOG, "b"), (SHOP, "c"), (StoreId::DEFAULT, "d")] {
        commit_in(&*place.datastore, store, &viewer(subject), Operation::Touch);
    }
    place.open(place.options()).close();
    let expected = || {
        assert_eq!(revisions(&place, StoreId::DEFAULT), [1, 7]);
        assert_eq!(revisions(&place, SHOP), [2, 4, 6]);
        assert_eq!(revisions(&place, BLOG), [3, 5]);
    };
    expected();
    // How far all of them are is lost, or older than they are, as after a crash: nothing is there twice.
    let position = place.options().folder.join(POSITION);
    let text = format!("stonetown audit position 1\n{}\n1\n", place.datastore.instance());
    std::fs::write(&position, text).unwrap();
    place.open(place.options()).close();
    expected();
    std::fs::write(&position, "stonetown").unwrap();
    let opened = Recorder::open(place.options(), Arc::clone(&place.datastore));
    assert!(matches!(opened, Err(LogError::Damaged { .. })));
    std::fs::remove_file(&position).unwrap();
    // The shop alone changes for long, and the log of transactions is cut behind it: nobody lacks anything.
    for number in 0..5 {
        commit_in(&*place.datastore, SHOP, &viewer(&format!("later-{number}")), Operation::Touch);
    }
    place.open(place.options()).close();
    place.datastore.collect_garbage(Revision(12), Revision(12), 1000).unwrap();
    place.open(place.options()).close();
    assert_eq!(revisions(&place, SHOP), [2, 4, 6, 8, 9, 10, 11, 12]);
    for store in [StoreId::DEFAULT, SHOP, BLOG] {
        assert!(place.records_of(store, CHANGES).iter().all(|record| record["kind"] != "gap"));
    }
}

#[test]
fn transactions_that_are_gone_are_told_in_each_log_that_may_lack_them() {
    let place = Place::new();
    write_schema_in(&*place.datastore, SHOP);
    place.open(place.options()).close();
    for subject in ["a", "b", "c"] {
        commit_in(&*place.datastore, SHOP, &viewer(subject), Operation::Touch);
    }
    place.datastore.collect_garbage(Revision(3), Revision(3), 1000).unwrap();
    place.open(place.options()).close();
    for store in [StoreId::DEFAULT, SHOP] {
        let gaps: Vec<_> =
            place.records_of(store, CHANGES).into_iter().filter(|record| record["kind"] == "gap").collect();
        assert_eq!((gaps.len(), &gaps[0]["from"], &gaps[0]["until"]), (1, &2.into(), &3.into()), "{store:?}");
    }
    assert_eq!(revisions(&place, SHOP), [1, 4]);
}

#[test]
fn data_of_a_version_with_one_log_for_all_stores_goes_on_where_that_ended() {
    let place = Place::new();
    write_schema_in(&*place.datastore, StoreId::DEFAULT);
    write_schema_in(&*place.datastore, SHOP);
    // As that version wrote it: the changes of all stores in the default one's log, and no position apart.
    let options = place.options();
    let directory = log_directory(&options.folder, StoreId::DEFAULT, CHANGES);
    let name = crate::layout::origin(options.instance, StoreId::DEFAULT, CHANGES);
    let (mut log, found) = Log::open(Setup::new(directory, name), &options.keys).unwrap();
    log.add_start("", "", &found).unwrap();
    for (revision, store) in [(1, StoreId::DEFAULT), (2, SHOP)] {
        log.add(&Body::Change(crate::record::Change {
            time: Timestamp::now(),
            revision: Revision(revision),
            store,
            part: 0,
            last: true,
            count: 0,
            schema: None,
            actor: "",
            metadata: "",
            updates: Vec::new(),
        }))
        .unwrap();
    }
    log.publish().unwrap();
    drop(log);
    commit_in(&*place.datastore, SHOP, &viewer("new"), Operation::Touch);
    place.open(place.options()).close();
    assert_eq!(revisions(&place, StoreId::DEFAULT), [1, 2]);
    assert_eq!(revisions(&place, SHOP), [3]);
}

#[test]
fn an_erasure_is_of_one_store() {
    let place = Place::new();
    let recorder = place.open(place.options());
    for store in [StoreId::DEFAULT, SHOP] {
        let receipt = recorder.record(decision_in(store, "alice"), true).unwrap();
        recorder.wait(&receipt, None).unwrap();
    }
    let erasure = Erasure { object: Some("user:alice".to_owned()), caller: None };
    let fields = recorder.erase(SHOP, &erasure, "key-1", "ticket 7").unwrap();
    assert_eq!(fields, Fields { decisions: 1, changes: 0 });
    recorder.close();
    drop(recorder);
    assert_eq!(
        (subjects_of(&place, SHOP), subjects_of(&place, StoreId::DEFAULT)),
        (vec!["[erased]".to_owned()], vec!["alice".to_owned()])
    );
    let report = |log| verify(&log_directory(&place.options().folder, SHOP, log), &Against::default()).unwrap();
    assert_eq!(crate::untold_erasures(&report(DECISIONS), &report(CHANGES)), None);
}

#[test]
fn what_a_killed_process_of_an_older_version_left_is_counted() {
    let place = Place::new();
    place.open(place.options()).close();
    let options = place.options();
    let path = options.folder.join(QUEUE);
    let file = File::options().read(true).write(true).open(&path).unwrap();
    // The form of that version: the first line says 1, and the halves follow the first page.
    file.write_all_at(b"stonetown audit queue 1\n", 0).unwrap();
    let half = (options.queue_bytes_max / 2 + 24).next_multiple_of(4096);
    file.write_all_at(&(half as u64).to_be_bytes(), 48).unwrap();
    file.set_len((4096 + 2 * half) as u64).unwrap();
    file.write_all_at(&vec![0; 2 * half], 4096).unwrap();
    let drafts: Vec<u8> = [[0, 0, 0, 9]; 3].iter().flat_map(|length| [&length[..], &[0; 9]].concat()).collect();
    file.write_all_at(&(drafts.len() as u64).to_be_bytes(), 4096 + 8).unwrap();
    file.write_all_at(&drafts, 4096 + 24).unwrap();
    drop(file);
    place.open(place.options()).close();
    let gaps = place.of_kind(DECISIONS, "gap");
    assert_eq!((gaps.len(), &gaps[0]["count"], &gaps[0]["reason"]), (1, &3.into(), &"write_failed".into()));
}
