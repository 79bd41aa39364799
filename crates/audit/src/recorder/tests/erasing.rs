//! Erasures find whoever they are about, wherever a record names them.

use super::*;

fn of_anna() -> Erasure {
    Erasure { object: Some("user:anna".to_owned()), caller: None }
}

/// Erases what is about Anna from logs of these decisions and of what was committed; returns how much.
fn erase(place: &Place, decisions: Vec<Decision<'_>>) -> Fields {
    let recorder = place.open(place.options());
    decisions.into_iter().for_each(|decision| drop(recorder.record(decision, false).unwrap()));
    recorder.close();
    drop(recorder);
    let options = place.options();
    crate::erase_offline(&options.folder, StoreId::DEFAULT, &options.keys, &of_anna(), "key-1", "asked").unwrap()
}

#[test]
fn who_acted_for_another_is_erased_with_the_context_of_that() {
    let place = Place::new();
    let acted = |actors| Decision { actors, context: r#"{"at":"home"}"#, ..decision("bob") };
    let fields = erase(&place, vec![acted(vec!["user:anna", "agent:7"]), acted(vec!["user:anna2"])]);
    assert_eq!(fields, Fields { decisions: 2, changes: 0 });
    let records = place.of_kind(DECISIONS, "decision");
    assert_eq!(records[0]["actors"], serde_json::json!(["[erased]", "agent:7"]));
    assert_eq!((&records[0]["context"], &records[0]["subject"]), (&"[erased]".into(), &"user:bob".into()));
    assert_eq!((&records[1]["actors"][0], &records[1]["context"]["at"]), (&"user:anna2".into(), &"home".into()));
}

fn commit_document(datastore: &dyn Datastore, id: &str, document: &serde_json::Value) {
    let context = serde_json::json!({ "json": document.to_string() });
    commit(datastore, &format!("document:{id}#viewer@user:root[sys/document:{context}]"), Operation::Touch);
}

#[test]
fn documents_that_mention_her_are_erased_from_the_log_of_changes_and_those_of_her_namesakes_are_not() {
    let place = Place::new();
    commit_schema(&*place.datastore);
    let mentions = [
        serde_json::json!({ "subject": "user:anna" }),
        serde_json::json!({ "edges": ["document:plan#viewer@user:anna", "document:plan#viewer@user:bob"] }),
        serde_json::json!({ "subjects": [{ "store": "shop", "subject": "user:anna" }] }),
        serde_json::json!({ "reason": "on call with\nuser:anna, for a week" }),
        serde_json::json!({ "reason": "she is\u{1b}user:anna." }),
    ];
    let others = ["user:anna2", "xuser:anna", "user:anna/x", "team/user:anna", "user:annabel"];
    for (number, document) in mentions.iter().enumerate() {
        commit_document(&*place.datastore, &format!("m{number}"), document);
    }
    for (number, subject) in others.iter().enumerate() {
        commit_document(&*place.datastore, &format!("o{number}"), &serde_json::json!({ "subject": subject }));
    }
    let fields = erase(&place, Vec::new());
    // Each with the metadata of its transaction.
    assert_eq!(fields, Fields { decisions: 0, changes: 2 * mentions.len() as u64 });
    let updates: Vec<_> = place
        .of_kind(CHANGES, "change")
        .into_iter()
        .filter_map(|change| change["updates"][0].as_str().map(str::to_owned))
        .collect();
    let (erased, kept) = updates.split_at(mentions.len());
    assert!(erased.iter().all(|update| update == "[erased]"), "{erased:?}");
    for (subject, update) in others.iter().zip(kept) {
        assert!(update.contains(subject), "{update}");
    }
}

static STALLED: Mutex<()> = Mutex::new(());

fn once_it_goes_on() -> io::Result<()> {
    drop(STALLED.lock());
    Ok(())
}

#[test]
fn an_erasure_that_was_refused_is_not_recorded_later() {
    let place = Place::new();
    let stalling = |directory, origin| Setup {
        sink: |file| Box::new(AskingDisk(file, once_it_goes_on)),
        ..Setup::new(directory, origin)
    };
    let options = Options { erasure_wait_max: Duration::from_millis(50), ..place.options() };
    let recorder = Recorder::open_with(options, Arc::clone(&place.datastore), stalling).unwrap();
    let receipt = recorder.record(decision("anna"), true).unwrap();
    recorder.wait(&receipt, None).unwrap();
    let stalled = STALLED.lock();
    recorder.record(decision("anna"), false).unwrap();
    // The writer has begun to write, and does not get to the erasure.
    while recorder.queued_bytes() > 0 {
        std::thread::yield_now();
    }
    let erased = recorder.erase(StoreId::DEFAULT, &of_anna(), "key-1", "asked");
    assert!(matches!(erased, Err(EraseError::Unrecorded)), "{erased:?}");
    drop(stalled);
    recorder.close();
    assert_eq!(place.of_kind(CHANGES, "erased"), [] as [serde_json::Value; 0]);
    assert_eq!(subjects(&place), ["anna", "anna"]);
}
