#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;

fn caveated(json: &str) -> EdgeState {
    let caveat = CaveatRef { name: CaveatName::new("tod").unwrap(), context: serde_json::from_str(json).unwrap() };
    EdgeState {
        caveat: Some(Arc::new(caveat)),
        not_before: Some(Timestamp::from_nanosecond(-1).unwrap()),
        expires_at: Some(Timestamp::MAX),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of values. A change here is a new format.
#[test]
fn the_bytes_of_values_are_those_of_the_document() {
    let state = |state: Option<EdgeState>| hex(&encode(&stored_state(state.as_ref()).unwrap()).unwrap());
    assert_eq!(state(None), "0100");
    assert_eq!(state(Some(EdgeState::default())), "0101000000");
    let full = EdgeState { expires_at: Some(Timestamp::from_nanosecond(1).unwrap()), ..caveated(r#"{"a":1}"#) };
    assert_eq!(state(Some(full)), "01010103746f64077b2261223a317d01010102");
    let cursor = Cursor { revision: 1, piece: 2, change: 3 };
    let meta = Meta { instance: 7, head: 6, floor: 5, log_floor: 4, swept: cursor, cut: cursor };
    assert_eq!(hex(&encode(&meta).unwrap()), "0107060504010203010203");
    let change = Change {
        table: TableId(1),
        resource: Ordinal(2),
        subject: Ordinal(3),
        source: Source(4),
        state: Some(EdgeState::default()),
        effect: Effect::Continues,
    };
    assert_eq!(hex(&encode_changes(std::slice::from_ref(&change)).unwrap()), "0201010203040100000001");
    let old = [0x01, 0x01, 0x01, 0x02, 0x03, 0x04, 0x01, 0x00, 0x00, 0x00];
    let begins = Change { effect: Effect::Begins, ..change };
    assert_eq!(decode_changes(&old, &mut StateReader::default()).unwrap(), [begins]);
    let provenance =
        Provenance { time: Timestamp::from_nanosecond(1).unwrap(), actor: Some("me".to_owned()), metadata: None };
    let provenance = StoredProvenance::from(&provenance);
    assert_eq!(hex(&encode(&provenance).unwrap()), "010201026d6500");
    let header =
        LogHeader { store: 1, schema_changed: true, provenance: provenance.clone(), pieces: 2, time_only: false };
    assert_eq!(hex(&header.encode().unwrap()), "0201010201026d65000200");
    let old = [0x01, 0x01, 0x01, 0x02, 0x01, 0x02, 0x6d, 0x65, 0x00, 0x02];
    assert_eq!(LogHeader::decode(&old).unwrap(), header);
    let table = StoredTable {
        resource_type: 1,
        relation: "abc".to_owned(),
        subject_type: 2,
        subject_relation: Some("def".to_owned()),
    };
    assert_eq!(hex(&encode(&table).unwrap()), "010103616263020103646566");
    let committed = Committed { revision: Revision(3), count: 4, partial: true, replayed: false };
    let answered = Answered::new(9, Timestamp::from_nanosecond(1).unwrap(), &committed);
    assert_eq!(hex(&encode(&answered).unwrap()), "010902030401");
    let bulk = StoredBulk { store: 1, marked: Some(Mark { revision: 2, schema_changed: false, provenance }) };
    assert_eq!(hex(&encode(&bulk).unwrap()), "010101020002".to_owned() + "01026d6500");
    let progress = Progress { pieces: 1, versions: 2, last: vec![3] };
    assert_eq!(hex(&encode(&progress).unwrap()), "0101020103");
}

#[test]
fn states_round_trip_and_share_their_caveats() {
    let mut reader = StateReader::default();
    for json in
        [r#"{}"#, r#"{"f":0.1,"g":1e300,"i":-9223372036854775808,"u":18446744073709551615}"#, r#"{"a":[{"b":null}]}"#]
    {
        let state = caveated(json);
        let bytes = encode(&stored_state(Some(&state)).unwrap()).unwrap();
        let first = reader.read(&bytes).unwrap().unwrap();
        let second = reader.read(&bytes).unwrap().unwrap();
        assert_eq!(first, state);
        assert!(Arc::ptr_eq(first.caveat.as_ref().unwrap(), second.caveat.as_ref().unwrap()));
    }
    for number in 0..2 * CAVEATS_MAX {
        let state = caveated(&format!(r#"{{"n":{number}}}"#));
        assert_eq!(reader.read(&encode(&stored_state(Some(&state)).unwrap()).unwrap()).unwrap(), Some(state));
    }
    assert!(reader.caveats.len() <= CAVEATS_MAX);
}

#[test]
fn a_context_too_deep_to_be_read_back_is_not_written() {
    let nested = |depth: usize| caveated(&format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth)));
    let deepest = nested(CONTEXT_DEPTH_MAX);
    let bytes = encode(&stored_state(Some(&deepest)).unwrap()).unwrap();
    assert_eq!(StateReader::default().read(&bytes).unwrap(), Some(deepest));
    assert!(matches!(stored_state(Some(&nested(CONTEXT_DEPTH_MAX + 1))), Err(StorageError::Refused(_))));
}

#[test]
fn damaged_values_are_refused() {
    let bytes = encode(&stored_state(Some(&caveated(r#"{"a":1}"#))).unwrap()).unwrap();
    let mut reader = StateReader::default();
    for length in 0..bytes.len() {
        assert!(matches!(reader.read(&bytes[..length]), Err(StorageError::Damaged(_))), "cut to {length}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(reader.read(&longer), Err(StorageError::Damaged(_))));
    let mut newer = bytes;
    newer[0] = 2;
    let Err(StorageError::Damaged(error)) = reader.read(&newer) else { panic!() };
    assert!(error.contains("version 2"), "{error}");
}
