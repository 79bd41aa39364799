//! The system store: what its schema promises, and how it is changed.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stonetown_authorizer::write::StoreUpdates;
use stonetown_authorizer::{Authorizer, Call, Caller, Error, Options, StoredUpdate};
use stonetown_identity::{Kind, System};
use stonetown_storage::{Datastore, MemoryDatastore};
use stonetown_tuple::{Operation, Source, StoreId};

fn open(datastore: &Arc<dyn Datastore>) -> System {
    let authorizer = Authorizer::open(Arc::clone(datastore), Options::default()).unwrap();
    System::open(Arc::new(authorizer)).unwrap()
}

fn new() -> System {
    open(&(Arc::new(MemoryDatastore::new()) as Arc<dyn Datastore>))
}

fn write(system: &System, relationships: &[&str]) {
    let mut change = system.change();
    for relationship in relationships {
        change.touch(relationship).unwrap();
    }
    change.commit(&Caller::internal(), None).unwrap();
}

/// `object#permission@subject`, perhaps with `{context}`.
fn holds(system: &System, question: &str) -> bool {
    let (question, context) = question.split_once(' ').unwrap_or((question, "{}"));
    let (object, rest) = question.split_once('#').unwrap();
    let (permission, subject) = rest.split_once('@').unwrap();
    let context = serde_json::from_str(context).unwrap();
    system.holds(&object.parse().unwrap(), permission, &subject.parse().unwrap(), context).unwrap()
}

#[test]
fn the_schema_keeps_what_it_promises() {
    let system = new();
    write(
        &system,
        &[
            "sys/store:prod#parent@sys/root:self",
            "sys/root:self#operator@sys/principal:root",
            "sys/store:prod#admin@sys/principal:ada",
            "sys/store:prod#checker@sys/principal:gateway",
            "sys/store:prod#auditor@sys/principal:otto",
            "sys/type:prod|deploy#store@sys/store:prod",
            "sys/rel:prod|deploy|runner#type@sys/type:prod|deploy",
            "sys/rel:prod|deploy|runner#store@sys/store:prod",
            "sys/rel:prod|deploy|runner#writer@sys/principal:build",
            "sys/rel:prod|deploy|owner#store@sys/store:prod",
            "sys/group:sre#member@sys/principal:sam",
            "sys/group:sre#member@sys/principal:rita",
            "sys/group:sre#member@sys/principal:bot",
            "sys/template:prod|scale#stage@sys/stage:prod|scale|first",
            "sys/stage:prod|scale|first#approver@sys/group:sre#member",
            "sys/grant:g1#template@sys/template:prod|scale",
            "sys/grant:g1#requester@sys/principal:rita",
            "sys/grant:g1#beneficiary@sys/principal:bot",
            "sys/store:prod#writer@sys/principal:bootstrap",
            r#"sys/principal:alice#delegate@sys/principal:agent1[sys/scope:{"types":["ticket"],"perms":["read"]}][expiration:2099-01-01T00:00:00Z]"#,
            r#"sys/principal:alice#delegate@sys/principal:agent2[sys/scope:{"types":["ticket"],"perms":["read"]}][expiration:2020-01-01T00:00:00Z]"#,
        ],
    );
    for question in [
        "sys/type:prod|deploy#check@sys/principal:gateway",
        "sys/type:prod|deploy#check@sys/principal:root",
        "sys/rel:prod|deploy|runner#write@sys/principal:build",
        "sys/rel:prod|deploy|owner#write@sys/principal:bootstrap",
        "sys/rel:prod|deploy|owner#revoke@sys/principal:bootstrap",
        "sys/grant:g1#decide@sys/principal:sam",
        "sys/store:prod#audit@sys/principal:otto",
        r#"sys/principal:alice#act_as@sys/principal:agent1 {"type":"ticket","perm":"read"}"#,
    ] {
        assert!(holds(&system, question), "{question}");
    }
    for question in [
        // The build server writes one relation and nothing else.
        "sys/rel:prod|deploy|owner#write@sys/principal:build",
        // The gateway may check, but neither list nor write.
        "sys/type:prod|deploy#enumerate@sys/principal:gateway",
        "sys/rel:prod|deploy|runner#write@sys/principal:gateway",
        // Administrators get neither lists nor the audit for free.
        "sys/type:prod|deploy#enumerate@sys/principal:ada",
        "sys/type:prod|deploy#enumerate@sys/principal:root",
        "sys/store:prod#audit@sys/principal:ada",
        "sys/store:prod#audit@sys/principal:root",
        // Nobody approves a request of one's own or for oneself.
        "sys/grant:g1#decide@sys/principal:rita",
        "sys/grant:g1#decide@sys/principal:bot",
        // A delegation ends at its scope and at its expiry, and without the question's values it covers nothing.
        r#"sys/principal:alice#act_as@sys/principal:agent1 {"type":"ticket","perm":"write"}"#,
        r#"sys/principal:alice#act_as@sys/principal:agent2 {"type":"ticket","perm":"read"}"#,
        "sys/principal:alice#act_as@sys/principal:agent1",
    ] {
        assert!(!holds(&system, question), "{question}");
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    text: String,
}

fn note(text: &str) -> Note {
    Note { text: text.to_owned() }
}

#[test]
fn documents_come_back_as_they_were_written() {
    let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
    let system = open(&datastore);
    assert_eq!(system.document::<Note>(Kind::Principal, "ada").unwrap(), None);
    let awkward = "line\n\"quoted\" \u{1b}[31m </script> ü";
    let mut change = system.change();
    change.put(Kind::Principal, "ada", &note("one")).unwrap().put(Kind::Principal, "ada", &note(awkward)).unwrap();
    change.put(Kind::Template, "prod", &note("a store")).unwrap();
    change.commit(&Caller::named("otto"), Some(r#"{"reason":"a test"}"#.to_owned())).unwrap();
    drop(change);
    // Dropped, a change has never been.
    system.change().put(Kind::Principal, "bob", &note("never")).unwrap();
    assert_eq!(system.documents::<Note>(Kind::Principal).unwrap(), [("ada".to_owned(), note(awkward))]);
    let logged = datastore.log(datastore.head().0.checked_sub(1).map(stonetown_tuple::Revision).unwrap(), 1).unwrap();
    assert_eq!(logged[0].provenance.actor.as_deref(), Some("otto"));
    assert_eq!(logged[0].provenance.metadata.as_deref(), Some(r#"{"reason":"a test"}"#));

    let head = datastore.head();
    drop(system);
    let system = open(&datastore);
    assert_eq!(datastore.head(), head, "opening what is there writes nothing");
    assert_eq!(system.document::<Note>(Kind::Principal, "ada").unwrap(), Some(note(awkward)));
    let mut change = system.change();
    change.take(Kind::Principal, "ada").unwrap();
    change.commit(&Caller::internal(), None).unwrap();
    assert_eq!(system.document::<Note>(Kind::Principal, "ada").unwrap(), None);
    assert!(matches!(system.document::<Note>(Kind::Principal, "a b"), Err(Error::Refused(_))));
}

#[test]
fn a_change_of_two_stores_is_made_as_a_whole() {
    let system = new();
    let authorizer = system.authorizer();
    authorizer.write_schema(&Call::new("test"), "definition user {} definition doc { relation viewer: user }").unwrap();
    let other = |operation, text: &str| StoreUpdates {
        store: StoreId::DEFAULT,
        updates: vec![StoredUpdate { operation, relationship: text.parse().unwrap(), source: Source(7) }],
        metadata: None,
    };
    let attempt = |document: &str, operation, text: &str| {
        let mut change = system.change();
        change.put(Kind::Grant, "g1", &note(document)).unwrap();
        change.commit_with(&Caller::named("ada"), None, other(operation, text))
    };
    assert!(matches!(attempt("x", Operation::Create, "doc:a#nothing@user:eve"), Err(Error::UnknownRelation { .. })));
    assert_eq!(system.document::<Note>(Kind::Grant, "g1").unwrap(), None);
    attempt("active", Operation::Create, "doc:a#viewer@user:eve").unwrap();
    assert_eq!(system.document::<Note>(Kind::Grant, "g1").unwrap(), Some(note("active")));
    assert!(matches!(attempt("twice", Operation::Create, "doc:a#viewer@user:eve"), Err(Error::AlreadyExists(_))));
    assert_eq!(system.document::<Note>(Kind::Grant, "g1").unwrap(), Some(note("active")));
}

#[test]
fn who_changed_is_alone_until_what_follows_from_it_is_done() {
    let system = new();
    let order = parking_lot::Mutex::new(Vec::new());
    let (begun, begins) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let mut change = system.change();
        change.put(Kind::Grant, "g1", &note("one")).unwrap();
        change.commit(&Caller::internal(), None).unwrap();
        scope.spawn(|| {
            begun.send(()).unwrap();
            let _change = system.change();
            order.lock().push("another");
        });
        begins.recv().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        order.lock().push("what follows");
        drop(change);
    });
    assert_eq!(order.into_inner(), ["what follows", "another"]);
}
