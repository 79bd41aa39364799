use super::*;
use crate::merkle::leaf_hash;

fn time() -> Timestamp {
    Timestamp::from_microsecond(1_795_000_000_123_456).unwrap()
}

fn decision() -> Decision<'static> {
    Decision {
        time: time(),
        start: 3,
        call: "check",
        outcome: Outcome::Allowed,
        reason: "related",
        store: StoreId(1),
        revision: Revision(300),
        schema: Revision(2),
        duration: Duration::from_micros(17),
        resource_type: "document",
        permission: "view",
        subject_type: "user",
        subject_relation: "",
        count: 0,
        digest: None,
        caller: "key-1",
        resource_id: "readme",
        subject_id: "alice",
        context: r#"{"ip":"10.0.0.1"}"#,
        detail: "",
        actors: Vec::new(),
        judged_at: None,
    }
}

fn bodies() -> Vec<Body<'static>> {
    vec![
        Body::Decision(Decision { actors: vec!["agent-1", "agent-2"], judged_at: Some(time()), ..decision() }),
        Body::Erased(Erased { time: time(), decisions: 300, changes: 2, actor: "key-1", why: "ticket 7" }),
        Body::Start(Start {
            time: time(),
            node: "host",
            build: "stonetown 0.1.0",
            key: PublicKey([7; 32]),
            clean: true,
            bytes_cut: 12,
            position: Revision(9),
            recovered: 5,
        }),
        Body::Decision(decision()),
        Body::Decision(Decision { count: 7, digest: Some([3; 32]), context: "", ..decision() }),
        Body::Change(Change {
            time: time(),
            revision: Revision(5),
            store: StoreId(1),
            part: 1,
            last: true,
            count: 2,
            schema: Some([4; 32]),
            actor: "key-1",
            metadata: r#"{"ticket":"A-1"}"#,
            updates: vec!["+document:readme#viewer@user:alice", "-document:readme#viewer@user:bob"],
        }),
        Body::Gap(Gap { time: time(), reason: "queue_full", count: 9, from: 1, until: 2 }),
        Body::KeyChange(KeyChange {
            time: time(),
            old: PublicKey([1; 32]),
            new: PublicKey([2; 32]),
            endorsement: Some([3; 64]),
        }),
        Body::Pruned(time(), 65_536),
        Body::Begun(time(), StoreId(7)),
        Body::Stop(time()),
    ]
}

fn settled(body: &Body<'_>, index: u64) -> (Vec<u8>, Vec<u8>) {
    let mut draft = Draft::default();
    draft.set(body);
    let (mut entry, mut beside) = (Vec::new(), Vec::new());
    settle(&draft.bytes, index, 3, &mut entry, &mut beside, &mut Salts::new()).unwrap();
    (entry, beside)
}

#[test]
fn entries_read_as_they_were_written() {
    for (index, body) in bodies().into_iter().enumerate() {
        let (entry, beside) = settled(&body, index as u64);
        let read = Entry::read(&entry, &beside).unwrap();
        assert_eq!((read.index, &read.body, read.time()), (index as u64, &body, time()));
    }
}

#[test]
fn every_flipped_byte_of_an_entry_changes_its_leaf_and_every_cut_is_unreadable() {
    for body in bodies() {
        let (entry, beside) = settled(&body, 0);
        for at in 0..entry.len() {
            let mut flipped = entry.clone();
            flipped[at] ^= 1;
            assert_ne!(leaf_hash(&flipped), leaf_hash(&entry));
            assert_eq!(Entry::read(&entry[..at], &beside), None);
        }
    }
}

/// The bytes of `docs/audit-format.md`.
#[test]
fn the_documented_bytes_of_a_decision() {
    let (entry, beside) = settled(&Body::Decision(decision()), 258);
    let public = [
        &[1][..],
        &[0, 0, 0, 0, 0, 0, 1, 2],
        &[3],
        &1_795_000_000_123_456_u64.to_be_bytes(),
        &[3, 1],
        b"\x05check\x07related",
        &[1, 0xac, 0x02, 2, 17],
        b"\x08document\x04view\x04user\x00",
        &[0, 0, 0],
        &[4, 1, 2, 3, 4],
    ]
    .concat();
    assert_eq!(entry[..public.len()], public);
    assert_eq!(entry.len(), public.len() + 32);
    let expected = [&[1][..], &32_u32.to_be_bytes(), &5_u32.to_be_bytes()].concat();
    assert_eq!(beside[..9], expected);
    assert_eq!(&beside[25..41], b"key-1\0\0\0\0\0\0\0\0\0\0\0");
}

#[test]
fn json_says_who_what_and_how_and_marks_what_was_erased() {
    let (entry, mut beside) = settled(&Body::Decision(decision()), 1);
    let json = Entry::read(&entry, &beside).unwrap().to_json();
    assert_eq!(json["resource"], "document:readme");
    assert_eq!(json["subject"], "user:alice");
    assert_eq!(json["context"]["ip"], "10.0.0.1");
    assert_eq!(json["outcome"], "allowed");
    crate::sealed::erase(&mut beside, &mut |_, value| value == "alice");
    let json = Entry::read(&entry, &beside).unwrap().to_json();
    assert_eq!((&json["subject"], &json["resource"]), (&"user:[erased]".into(), &"document:readme".into()));
}

#[test]
fn a_record_that_is_too_long_is_no_entry() {
    let relation = "x".repeat(ENTRY_BYTES_MAX);
    let mut draft = Draft::default();
    draft.set(&Body::Decision(Decision { subject_relation: &relation, ..decision() }));
    let (mut entry, mut beside) = (Vec::new(), Vec::new());
    assert_eq!(settle(&draft.bytes, 0, 3, &mut entry, &mut beside, &mut Salts::new()), None);
}
