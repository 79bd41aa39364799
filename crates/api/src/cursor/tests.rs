use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::*;

const ASKER: Asker<'static> = Asker { caller: "key-1", store: StoreId(0), instance: InstanceId(7) };

fn key() -> CursorKey {
    CursorKey::new(&[42; 32])
}

fn request(resource_type: &str) -> wire::ReadRelationshipsRequest {
    wire::ReadRelationshipsRequest {
        relationship_filter: Some(wire::RelationshipFilter {
            resource_type: resource_type.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn question() -> Question {
    Question::new(key(), ASKER, "ReadRelationships", &request("document"))
}

fn cursor() -> Cursor<ReadPosition> {
    let edge = EdgePosition { row: Ordinal(5), other: Ordinal(u32::MAX), source: Source(u64::MAX) };
    Cursor {
        token: ZedToken { instance: ASKER.instance, revision: Revision(42) },
        now: "1969-12-31T23:59:59.5Z".parse().unwrap(),
        position: ReadPosition { table: TableId(3), edge },
    }
}

/// What a question says to a text as cursor.
fn read(question: &Question, text: &str) -> Result<Option<Cursor<ReadPosition>>, CursorError> {
    question.decode(Some(wire::Cursor { token: text.to_owned() }))
}

#[test]
fn cursors_come_back_as_they_were_given_out() {
    let text = question().encode(&cursor());
    assert_eq!(question().decode(Some(text)), Ok(Some(cursor())));
    assert_eq!(question().decode::<ReadPosition>(None), Ok(None));
}

#[test]
fn a_cursor_is_good_for_its_own_call_parameters_caller_store_and_instance_only() {
    let text = question().encode(&cursor()).token;
    let (call, document) = ("ReadRelationships", &request("document"));
    for other in [
        Question::new(key(), ASKER, call, &request("folder")),
        Question::new(key(), ASKER, "ExportBulkRelationships", document),
        Question::new(key(), Asker { caller: "key-2", ..ASKER }, call, document),
        Question::new(key(), Asker { store: StoreId(1), ..ASKER }, call, document),
        Question::new(key(), Asker { instance: InstanceId(8), ..ASKER }, call, document),
        // The same letters, cut elsewhere.
        Question::new(key(), Asker { caller: "key-1R", ..ASKER }, "eadRelationships", document),
    ] {
        assert_eq!(read(&other, &text), Err(CursorError::Mismatch));
    }
}

#[test]
fn a_cursor_of_another_key_is_refused() {
    let text = question().encode(&cursor()).token;
    for other in [CursorKey::new(&[43; 32]), CursorKey::default()] {
        let other = Question::new(other, ASKER, "ReadRelationships", &request("document"));
        assert_eq!(read(&other, &text), Err(CursorError::Mismatch));
    }
}

#[test]
fn what_is_no_cursor_is_refused() {
    for text in ["", "not-a-cursor", "A", &"A".repeat(TEXT_BYTES_MAX + 4)] {
        let refused = read(&question(), text);
        assert!(matches!(refused, Err(CursorError::Undecodable(_))), "{text}: {refused:?}");
    }
    for text in ["AAAA", &"A".repeat(64), &"A".repeat(TEXT_BYTES_MAX)] {
        assert_eq!(read(&question(), text), Err(CursorError::Mismatch), "{text}");
    }
}

#[test]
fn a_cursor_with_a_flipped_bit_or_a_part_cut_off_is_refused() {
    let text = question().encode(&cursor()).token;
    let bytes = STANDARD.decode(&text).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(read(&question(), &STANDARD.encode(&changed)), Err(CursorError::Mismatch), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(read(&question(), &STANDARD.encode(&bytes[..length])).is_err(), "first {length}");
        assert!(read(&question(), &STANDARD.encode(&bytes[bytes.len() - length..])).is_err(), "last {length}");
    }
    for bit in 0..text.len() * 7 {
        let mut changed = text.clone().into_bytes();
        changed[bit / 7] ^= 1 << (bit % 7);
        assert!(read(&question(), &String::from_utf8(changed).unwrap()).is_err(), "bit {bit} of the text");
    }
}

#[test]
fn time_cannot_be_turned_back_without_the_key() {
    let earlier = Cursor { now: "1969-12-31T00:00:00Z".parse().unwrap(), ..cursor() };
    let guessed = Question { key: CursorKey::new(&[0; 32]), ..question() };
    let forged = STANDARD.decode(guessed.encode(&earlier).token).unwrap();
    let own = STANDARD.decode(question().encode(&cursor()).token).unwrap();
    // With a signature of one's own, of none, and of another cursor.
    let content = &forged[..forged.len() - 32];
    for signature in [&forged[forged.len() - 32..], &[], &[0; 32], &own[own.len() - 32..]] {
        let text = STANDARD.encode([content, signature].concat());
        assert_eq!(read(&question(), &text), Err(CursorError::Mismatch));
    }
}

/// As cursors were before they were signed: instance, revision, time, question and position, then a checksum.
#[test]
fn a_cursor_from_before_there_was_a_key_is_refused_as_one_to_begin_again_without() {
    #[derive(Clone, PartialEq, Message)]
    struct Checksummed {
        #[prost(fixed64, tag = "1")]
        instance: u64,
        #[prost(uint64, tag = "2")]
        revision: u64,
        #[prost(message, optional, tag = "3")]
        now: Option<prost_types::Timestamp>,
        #[prost(fixed64, tag = "4")]
        question: u64,
        #[prost(uint64, repeated, tag = "5")]
        position: Vec<u64>,
    }
    let old = Checksummed {
        instance: ASKER.instance.0,
        revision: 42,
        now: Some(timestamp_to_wire(cursor().now)),
        question: xxh3_64_with_seed(&request("document").encode_to_vec(), xxh3_64_with_seed(b"ReadRelationships", 0)),
        position: cursor().position.to_numbers(),
    };
    let mut bytes = old.encode_to_vec();
    bytes.extend(xxh3_64_with_seed(&bytes, old.instance).to_le_bytes());
    assert_eq!(read(&question(), &STANDARD.encode(bytes)), Err(CursorError::Mismatch));
}
