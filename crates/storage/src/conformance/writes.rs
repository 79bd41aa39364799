//! Create, touch and delete, and where relationships come from.

use super::*;

/// A created relationship is there with all that it carries.
pub fn a_created_relationship_is_there(make: Make<'_>) {
    let stage = Stage::new(make);
    let full = r#"document:plan#viewer@user:eve[tod:{"n":{"a":[1,2.5,null,"x",true]}}][expiration:2100-01-01T00:00:00Z][starts:2000-01-01T00:00:00.000000001Z]"#;
    stage.write(vec![create(rel(full)), create(rel("document:plan#viewer@group:eng#member"))]);
    stage.expect(&[full, "document:plan#viewer@group:eng#member"]);
}

/// A create fails when the relationship is there, whatever it carries, and says which.
pub fn create_refuses_what_is_there(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.touch(&["document:plan#viewer@user:eve[tod]"]);
    let refused = stage.write_at(now(), vec![create(rel("document:plan#viewer@user:eve"))]);
    let Err(CommitError::AlreadyExists(which)) = refused else { panic!("{refused:?}") };
    assert_eq!(*which, rel("document:plan#viewer@user:eve"));
    stage.write(vec![delete(rel("document:plan#viewer@user:eve"))]);
    stage.write(vec![create(rel("document:plan#viewer@user:eve"))]);
    stage.expect(&["document:plan#viewer@user:eve"]);
}

/// What has expired is not there for a create, from the moment of its expiry on.
pub fn create_replaces_what_has_expired(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = "document:plan#viewer@user:eve";
    stage.write(vec![create(until(text, 10))]);
    assert!(matches!(stage.write_at(at(9), vec![create(rel(text))]), Err(CommitError::AlreadyExists(_))));
    let replaced = stage.write_at(at(10), vec![create(until(text, 20))]).unwrap();
    let copies = &stored(&*stage.head())[text];
    assert_eq!(*copies, [Copy { source: Source(0), relationship: until(text, 20), written: replaced }]);
}

/// What has not begun yet is there for a create, though no read shows it.
pub fn create_counts_what_has_not_begun_as_there(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = "document:plan#viewer@user:eve";
    stage.write(vec![create(from(text, 10))]);
    stage.expect(&[]);
    assert!(matches!(stage.write_at(now(), vec![create(rel(text))]), Err(CommitError::AlreadyExists(_))));
    assert_eq!(live(&*stage.head(), at(10)), [from(text, 10).to_string()]);
}

/// A touch adds what is not there and replaces caveat and times of what is.
pub fn touch_adds_and_replaces(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.touch(&["document:plan#viewer@user:eve"]);
    stage.touch(&["document:plan#viewer@user:eve[tod:{\"a\":1}]", "document:plan#viewer@user:bob"]);
    stage.expect(&["document:plan#viewer@user:eve[tod:{\"a\":1}]", "document:plan#viewer@user:bob"]);
    stage.touch(&["document:plan#viewer@user:eve"]);
    stage.expect(&["document:plan#viewer@user:eve", "document:plan#viewer@user:bob"]);
}

/// A delete ends its relationship alone, ignores what it carries, and is content with nothing to delete.
pub fn delete_ends_what_is_there_only(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.touch(&["document:plan#viewer@user:eve[tod]", "document:plan#viewer@user:bob"]);
    stage.touch(&["document:plan#editor@user:eve", "document:plan#viewer@group:eve#member"]);
    stage.write(vec![delete(rel("document:plan#viewer@user:eve")), delete(rel("document:none#viewer@user:none"))]);
    stage.expect(&[
        "document:plan#viewer@user:bob",
        "document:plan#editor@user:eve",
        "document:plan#viewer@group:eve#member",
    ]);
    let log = stage.datastore.log(Revision(3), 1).unwrap();
    assert_eq!(log[0].changes.len(), 1, "what was not there is no change");
}

/// A delete of what no schema has declared does nothing.
pub fn delete_needs_no_table(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.write(vec![delete(rel("planet:mars#orbits@star:sun"))]);
    stage.expect(&[]);
}

/// Nothing is stored for which no schema has declared a table.
pub fn updates_of_unknown_tables_are_refused(make: Make<'_>) {
    let stage = Stage::new(make);
    for text in ["planet:mars#orbits@star:sun", "document:plan#editor@group:eng#member", "idle:one#viewer@user:eve"] {
        for update in [create(rel(text)), touch(rel(text))] {
            assert!(matches!(stage.write_at(now(), vec![update]), Err(CommitError::NoTable(_))), "{text}");
        }
    }
    stage.expect(&[]);
}

/// When one update fails nothing of its transaction remains: no edge, no name, no table, no revision.
pub fn a_failed_transaction_leaves_no_trace(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.touch(&["document:plan#viewer@user:eve"]);
    let before = (stage.datastore.head(), stored(&*stage.head()), stage.head().tables());
    let failed = stage.commit(Transaction {
        updates: vec![
            touch(rel("document:new#viewer@user:newcomer")),
            touch(rel("planet:mars#orbits@star:sun")),
            delete(rel("document:plan#viewer@user:eve")),
            create(rel("document:plan#viewer@user:bob")),
            create(rel("document:plan#viewer@user:bob")),
        ],
        schema: Some(schema(&["planet#orbits@star"])),
        ..stage.transaction()
    });
    assert!(matches!(failed, Err(CommitError::AlreadyExists(_))), "{failed:?}");
    let head = stage.head();
    assert_eq!((stage.datastore.head(), stored(&*head), head.tables()), before);
    assert_eq!(head.type_id("planet"), None);
    let user = head.type_id("user").unwrap();
    assert_eq!(head.ordinal(user, "newcomer").unwrap(), None);
    assert_eq!(head.schema().unwrap().unwrap().bytes.as_ref(), b"6 tables");
    stage.touch(&["document:plan#viewer@user:newcomer"]);
    stage.expect(&["document:plan#viewer@user:eve", "document:plan#viewer@user:newcomer"]);
}

/// A relationship that is stored once for each source is read once, while any of them holds.
pub fn the_same_relationship_comes_once_from_several_sources(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = "document:plan#viewer@user:eve";
    stage.write(vec![create(rel(text))]);
    stage.write(vec![granted(7, create(until(text, 10))), granted(9, create(until(text, 20)))]);
    assert_eq!(stored(&*stage.head())[text].len(), 3);
    stage.expect(&[text]);
    assert!(matches!(stage.write_at(now(), vec![granted(7, create(rel(text)))]), Err(CommitError::AlreadyExists(_))));
    stage.write(vec![granted(7, touch(until(text, 5)))]);
    let sources: Vec<_> = stored(&*stage.head())[text].iter().map(|copy| copy.relationship.expires_at).collect();
    assert_eq!(sources, [None, Some(at(5)), Some(at(20))], "a touch acts on its own source");

    let other = "document:plan#viewer@user:bob";
    stage.write(vec![granted(7, touch(until(other, 10))), granted(9, touch(until(other, 20)))]);
    let head = stage.head();
    let shown = |seconds| live(&*head, at(seconds)).iter().filter(|text| text.contains("bob")).count();
    assert_eq!((shown(9), shown(10), shown(20)), (1, 1, 0));
}

/// A delete ends a relationship whatever granted it.
pub fn delete_ends_every_source(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = "document:plan#viewer@user:eve";
    stage.write(vec![touch(rel(text)), granted(7, touch(rel(text))), granted(u64::MAX, touch(until(text, 5)))]);
    stage.write(vec![touch(rel("document:plan#viewer@user:bob"))]);
    stage.write_at(at(6), vec![delete(rel(text))]).unwrap();
    assert_eq!(stored(&*stage.head()).keys().collect::<Vec<_>>(), ["document:plan#viewer@user:bob"]);
}

/// A wildcard subject shares the table of the plain subjects, as ordinal 0.
pub fn a_wildcard_is_a_subject_of_ordinal_zero(make: Make<'_>) {
    let stage = Stage::new(make);
    stage.touch(&["document:plan#viewer@user:*", "document:plan#viewer@user:eve"]);
    stage.expect(&["document:plan#viewer@user:*", "document:plan#viewer@user:eve"]);
    let head = stage.head();
    let user = head.type_id("user").unwrap();
    assert_eq!(head.ordinal(user, "*").unwrap(), Some(Ordinal::WILDCARD));
    assert_eq!(&*head.object_id(user, Ordinal::WILDCARD).unwrap(), "*");
    stage.write(vec![delete(rel("document:plan#viewer@user:*"))]);
    stage.expect(&["document:plan#viewer@user:eve"]);
}

/// Each update sees what the ones before it did.
pub fn updates_apply_in_order(make: Make<'_>) {
    let stage = Stage::new(make);
    let text = "document:plan#viewer@user:eve";
    stage.write(vec![touch(rel(text)), granted(7, delete(rel(text))), granted(9, create(rel(text)))]);
    let copies = stored(&*stage.head());
    assert_eq!(copies[text].iter().map(|copy| copy.source).collect::<Vec<_>>(), [Source(9)]);
}

/// A transaction without changes is a commit like any other.
pub fn an_empty_transaction_is_a_revision(make: Make<'_>) {
    let stage = Stage::new(make);
    let before = stage.datastore.head();
    let revision = stage.write(Vec::new());
    assert_eq!(revision, before.next());
    assert_eq!(stage.datastore.head(), revision);
    assert_eq!(stage.datastore.log(before, 9).unwrap().len(), 1);
}

/// Updates may use the tables that their own transaction makes.
pub fn schema_and_relationships_come_in_one_transaction(make: Make<'_>) {
    let stage = Stage { datastore: make(), store: StoreId(3) };
    let written = stage.commit(Transaction {
        schema: Some(schema(&TABLES)),
        updates: vec![create(rel("document:plan#viewer@user:eve"))],
        ..stage.transaction()
    });
    assert_eq!(written.unwrap().revision, Revision(1));
    stage.expect(&["document:plan#viewer@user:eve"]);
    assert_eq!(stage.head().schema().unwrap().unwrap().revision, Revision(1));
}
