//! Preconditions, expected schemas, guards, request ids and deletes by filter.

use stonetown_tuple::Precondition;

use super::*;
use crate::{DeleteByFilter, Guard, RequestId};

fn needs(stage: &Stage, seconds: i64, preconditions: Vec<Precondition>) -> bool {
    let transaction = Transaction { preconditions, ..Transaction::new(stage.store, at(seconds)) };
    match stage.commit(transaction) {
        Ok(_) => true,
        Err(CommitError::Precondition(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

/// Preconditions look at what holds at the clock of the call.
pub fn preconditions_see_what_is_live(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = "document:plan#viewer@user:eve";
    stage.write(vec![touch(Relationship { not_before: Some(at(10)), ..until(text, 20) })]);
    stage.write(vec![granted(4, touch(until("document:b#viewer@user:eve", 20)))]);
    let (must, must_not) = (Precondition::MustMatch, Precondition::MustNotMatch);
    for (seconds, holds) in [(9, false), (10, true), (19, true), (20, false)] {
        let filter = || filter("document:plan", Some("user:eve"));
        assert_eq!(needs(&stage, seconds, vec![must(filter())]), holds, "at {seconds}");
        assert_eq!(needs(&stage, seconds, vec![must_not(filter())]), !holds, "at {seconds}");
    }
    assert!(needs(&stage, 0, vec![must(filter("document:b", None)), must_not(filter("folder", None))]));
    assert!(!needs(&stage, 0, vec![must(filter("document:b", None)), must(filter("folder", None))]));
    let missing = Precondition::MustMatch(filter("document:b#editor", None));
    let transaction = Transaction { preconditions: vec![missing.clone()], ..stage.transaction() };
    let Err(CommitError::Precondition(which)) = stage.commit(transaction) else { panic!() };
    assert_eq!(*which, missing, "the error carries the precondition");
}

/// Preconditions look at the state before their transaction, not at what it writes.
pub fn preconditions_are_tested_before_the_updates(make: Make<'_>) {
    let stage = Stage::new(make);
    let write = |precondition| {
        stage.commit(Transaction {
            preconditions: vec![precondition],
            updates: vec![touch(rel("document:plan#viewer@user:eve"))],
            ..stage.transaction()
        })
    };
    assert!(matches!(write(Precondition::MustMatch(filter("document:plan", None))), Err(CommitError::Precondition(_))));
    write(Precondition::MustNotMatch(filter("document:plan", None))).unwrap();
    write(Precondition::MustMatch(filter("document:plan", None))).unwrap();
}

/// A transaction that was checked against another schema is refused and told the newest.
pub fn a_schema_that_changed_is_refused(make: Make<'_>) {
    let stage = Stage { datastore: make(), store: StoreId::DEFAULT };
    let expecting = |schema_at| stage.commit(Transaction { schema_at: Some(schema_at), ..stage.transaction() });
    expecting(Revision(0)).unwrap();
    let written = stage.commit(Transaction { schema: Some(schema(&TABLES)), ..stage.transaction() }).unwrap().revision;
    expecting(written).unwrap();
    for wrong in [Revision(0), stage.datastore.head(), Revision(99)] {
        let refused = expecting(wrong);
        assert!(matches!(refused, Err(CommitError::SchemaChanged(now)) if now == written), "{refused:?}");
    }
    let other = Stage { store: StoreId(2), ..stage.clone() };
    other.commit(Transaction { schema: Some(schema(&TABLES)), ..other.transaction() }).unwrap();
    expecting(written).unwrap();
}

fn guarded(stage: &Stage, since: Revision) -> Result<Committed, CommitError> {
    let refuse = Box::new(|relationship: &Relationship| relationship.relation.as_str() == "editor");
    stage.commit(Transaction { guard: Some(Guard { since, refuse }), ..stage.transaction() })
}

/// A guard refuses when a relationship that it names was written after its snapshot.
pub fn a_guard_sees_what_was_written_since(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.touch(&["document:old#editor@user:eve"]);
    let since = stage.datastore.head();
    guarded(&stage, since).unwrap();
    stage.touch(&["document:plan#viewer@user:eve"]);
    guarded(&stage, since).unwrap();
    let other = Stage { store: StoreId(2), ..stage.clone() };
    other.commit(Transaction { schema: Some(schema(&TABLES)), ..other.transaction() }).unwrap();
    other.touch(&["document:plan#editor@user:eve"]);
    guarded(&stage, since).unwrap();
    stage.touch(&["document:plan#editor@user:eve"]);
    assert!(matches!(guarded(&stage, since), Err(CommitError::Conflict)));
    guarded(&stage, stage.datastore.head()).unwrap();
}

/// A guard ignores what was written and ended, or has expired.
pub fn a_guard_ignores_what_is_gone_again(make: Make<'_>) {
    let stage = Stage::new(make);
    let since = stage.datastore.head();
    stage.touch(&["document:plan#editor@user:eve"]);
    stage.write(vec![touch(until("document:plan#editor@user:bob", -5))]);
    assert!(matches!(guarded(&stage, since), Err(CommitError::Conflict)));
    stage.write(vec![delete(rel("document:plan#editor@user:eve"))]);
    guarded(&stage, since).unwrap();
}

fn asked(stage: &Stage, seconds: i64, id: &str, fingerprint: u64, text: &str) -> Result<Committed, CommitError> {
    stage.commit(Transaction {
        request_id: Some(RequestId { id: id.to_owned(), fingerprint }),
        updates: vec![create(rel(text))],
        ..Transaction::new(stage.store, at(seconds))
    })
}

/// A repeated request gets the first answer, though its conditions no longer hold.
pub fn a_request_id_repeats_its_answer(make: Make<'_>) {
    let stage = Stage::new(make);
    let first = asked(&stage, 0, "one", 1, "document:plan#viewer@user:eve").unwrap();
    assert!(!first.replayed);
    stage.touch(&["document:other#viewer@user:eve"]);
    let head = stage.datastore.head();
    let second = asked(&stage, 5, "one", 1, "document:plan#viewer@user:eve").unwrap();
    assert_eq!(second, Committed { replayed: true, ..first });
    assert_eq!(stage.datastore.head(), head, "a repetition is no commit");
    let other = Stage { store: StoreId(2), ..stage.clone() };
    other.commit(Transaction { schema: Some(schema(&TABLES)), ..other.transaction() }).unwrap();
    assert!(!asked(&other, 5, "one", 1, "document:plan#viewer@user:eve").unwrap().replayed);
    let counted = |id: &str| {
        stage.commit(Transaction {
            request_id: Some(RequestId { id: id.to_owned(), fingerprint: 3 }),
            delete: Some(DeleteByFilter { filter: filter("document", None), limit: Some(1), partial: true }),
            ..stage.transaction()
        })
    };
    let first = counted("three").unwrap();
    assert_eq!((first.count, first.partial), (1, true));
    assert_eq!(counted("three").unwrap(), Committed { replayed: true, ..first });
}

/// A request id that was used for something else is refused.
pub fn a_request_id_fits_one_request(make: Make<'_>) {
    let stage = Stage::new(make);
    asked(&stage, 0, "one", 1, "document:plan#viewer@user:eve").unwrap();
    let reused = asked(&stage, 0, "one", 2, "document:plan#viewer@user:bob");
    assert!(matches!(reused, Err(CommitError::RequestIdReused(ref id)) if id == "one"), "{reused:?}");
    stage.expect(&["document:plan#viewer@user:eve"]);
}

/// An answer is kept for a day.
pub fn a_request_id_is_forgotten_after_a_day(make: Make<'_>) {
    let stage = Stage::new(make);
    asked(&stage, 0, "one", 1, "document:plan#viewer@user:eve").unwrap();
    let day = RequestId::KEPT_SECONDS;
    assert!(asked(&stage, day, "one", 1, "document:plan#viewer@user:eve").unwrap().replayed);
    let anew = asked(&stage, day + 1, "one", 2, "document:plan#viewer@user:bob").unwrap();
    assert!(!anew.replayed);
    assert!(asked(&stage, day + 2, "one", 2, "document:plan#viewer@user:bob").unwrap().replayed);
}

/// A request that failed can be sent again.
pub fn a_failed_request_id_is_free(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.touch(&["document:plan#viewer@user:eve"]);
    assert!(asked(&stage, 0, "one", 1, "document:plan#viewer@user:eve").is_err());
    stage.write(vec![delete(rel("document:plan#viewer@user:eve"))]);
    assert!(!asked(&stage, 0, "one", 1, "document:plan#viewer@user:eve").unwrap().replayed);
}

fn delete_matching(
    stage: &Stage,
    seconds: i64,
    filter: RelationshipFilter,
    limit: Option<u64>,
    partial: bool,
) -> Result<(u64, bool), CommitError> {
    let delete = Some(DeleteByFilter { filter, limit, partial });
    let committed = stage.commit(Transaction { delete, ..Transaction::new(stage.store, at(seconds)) })?;
    Ok((committed.count, committed.partial))
}

/// A delete by filter ends what matches and says how many.
pub fn delete_by_filter_counts(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.touch(&["document:a#viewer@user:eve", "document:a#viewer@group:eng#member", "document:a#editor@user:eve"]);
    stage.touch(&["document:b#viewer@user:eve", "folder:a#viewer@user:eve"]);
    assert_eq!(delete_matching(&stage, 0, filter("document:a#viewer", None), None, false).unwrap(), (2, false));
    stage.expect(&["document:a#editor@user:eve", "document:b#viewer@user:eve", "folder:a#viewer@user:eve"]);
    assert_eq!(delete_matching(&stage, 0, filter("document", Some("user:eve")), None, false).unwrap(), (2, false));
    assert_eq!(delete_matching(&stage, 0, filter("document", None), None, false).unwrap(), (0, false));
    stage.expect(&["folder:a#viewer@user:eve"]);
    stage.touch(&["folder:b#viewer@user:eve"]);
    assert_eq!(delete_matching(&stage, 0, RelationshipFilter::default(), None, false).unwrap(), (2, false));
    stage.expect(&[]);
}

/// A limit refuses the whole, or cuts it where that is wanted.
pub fn delete_by_filter_keeps_its_limit(make: Make<'_>) {
    let stage = Stage::new(make);
    let texts: Vec<String> = (0..5).map(|n| format!("document:d{n}#viewer@user:eve")).collect();
    stage.write(texts.iter().map(|text| touch(rel(text))).collect());
    let head = stage.datastore.head();
    let refused = delete_matching(&stage, 0, filter("document", None), Some(4), false);
    assert!(matches!(refused, Err(CommitError::TooManyToDelete { limit: 4 })), "{refused:?}");
    assert_eq!((stage.all().len(), stage.datastore.head()), (5, head));
    assert_eq!(delete_matching(&stage, 0, filter("document", None), Some(2), true).unwrap(), (2, true));
    assert_eq!(stage.all().len(), 3);
    assert_eq!(delete_matching(&stage, 0, filter("document", None), Some(3), true).unwrap(), (3, false));
    stage.write(texts.iter().map(|text| touch(rel(text))).collect());
    assert_eq!(delete_matching(&stage, 0, filter("document", None), Some(5), false).unwrap(), (5, false));
    stage.expect(&[]);
}

/// A delete by filter ends what matches from every source and counts it once.
pub fn delete_by_filter_ends_every_source(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = "document:plan#viewer@user:eve";
    stage.write(vec![touch(until(text, -5)), granted(3, touch(rel(text))), granted(9, touch(until(text, 5)))]);
    assert_eq!(delete_matching(&stage, 0, filter("document", None), Some(1), false).unwrap(), (1, false));
    assert!(stored(&*stage.head()).is_empty());
}

/// A delete by filter neither counts nor ends what has expired; what has not begun yet is there.
pub fn delete_by_filter_skips_what_expired(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.write(vec![
        touch(until("document:a#viewer@user:eve", 5)),
        touch(from("document:b#viewer@user:eve", 50)),
        touch(until("document:c#viewer@user:eve", 6)),
    ]);
    assert_eq!(delete_matching(&stage, 5, filter("document", None), Some(2), false).unwrap(), (2, false));
    assert_eq!(stored(&*stage.head()).keys().collect::<Vec<_>>(), ["document:a#viewer@user:eve"]);
}
