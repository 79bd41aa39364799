#![allow(clippy::unwrap_used, clippy::panic)]

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// The bytes of each kind of key. A change here is a new format.
#[test]
fn the_bytes_of_keys_are_those_of_the_document() {
    let edge =
        EdgeKey { store: StoreId(1), table: TableId(2), resource: Ordinal(3), subject: Ordinal(4), source: Source(5) };
    let (store, object_type, ordinal_) = (StoreId(1), TypeId(2), Ordinal(3));
    let time_ = Timestamp::from_nanosecond(1).unwrap();
    let hex = |key: Vec<u8>| key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let forward = "10 00000001 00000002 00000003 00000004 0000000000000005 fffffffffffffff9";
    let reverse = "11 00000001 00000002 00000004 00000003 0000000000000005 fffffffffffffff9";
    for (key, expected) in [
        (meta(), "01"),
        (version(Direction::Forward, &edge, Revision(6)), forward),
        (version(Direction::Reverse, &edge, Revision(6)), reverse),
        (
            moment(Kind::Ahead, &Moment { time: time_, edge, written: Revision(6) }),
            "12 80000000000000000000000000000001 00000001 00000002 00000003 00000004 0000000000000005 0000000000000006",
        ),
        (kept(store, "ab"), "70 00000001 6162"),
        (ordinal(store, object_type, "ab"), "20 00000001 00000002 6162"),
        (object_id(store, object_type, ordinal_), "21 00000001 00000002 00000003"),
        (suspect(store, object_type, ordinal_), "22 00000001 00000002 00000003"),
        (last_ordinal(store, object_type), "23 00000001 00000002"),
        (super::object_type(store, object_type), "30 00000001 00000002"),
        (table(store, TableId(2)), "31 00000001 00000002"),
        (schema(store, Revision(6)), "32 00000001 fffffffffffffff9"),
        (transaction(Revision(6)), "40 0000000000000006"),
        (versions(Revision(6)), "41 0000000000000006"),
        (time(time_, Revision(6)), "42 80000000000000000000000000000001 0000000000000006"),
        (request(store, "ab"), "50 00000001 6162"),
        (request_time(time_, store, "ab"), "51 80000000000000000000000000000001 00000001 6162"),
        (bulk(7), "60 0000000000000007"),
        (staged(7, &edge), "61 0000000000000007 00000002 00000003 00000004 0000000000000005"),
        (staged_name(7, store, object_type, ordinal_), "62 0000000000000007 00000001 00000002 00000003"),
        (progress(7), "63 0000000000000007"),
        (log(Revision(6), 1), "80 0000000000000006 00000001"),
    ] {
        assert_eq!(hex(key), expected.replace(' ', ""));
    }
}

/// Keys read back as what they were made of, and sort as it does.
#[test]
fn keys_round_trip_and_sort_as_their_parts() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    // Few values, so that neighbours meet; extremes among them.
    let small = |random: &mut StdRng| [0, 1, 2, 255, 256, u32::MAX][random.random_range(0..6)];
    let large = |random: &mut StdRng| [0, 1, 255, 256, u64::MAX - 1, u64::MAX][random.random_range(0..6)];
    let mut edges: Vec<(EdgeKey, Revision)> = Vec::new();
    for _ in 0..2_000 {
        let edge = EdgeKey {
            store: StoreId(small(&mut random)),
            table: TableId(small(&mut random)),
            resource: Ordinal(small(&mut random)),
            subject: Ordinal(small(&mut random)),
            source: Source(large(&mut random)),
        };
        edges.push((edge, Revision(large(&mut random))));
    }
    for (edge, revision) in &edges {
        for direction in [Direction::Forward, Direction::Reverse] {
            let key = version(direction, edge, *revision);
            assert_eq!(read_version(&key), Some((edge.position(direction), *revision)));
            assert_eq!(EdgeKey::at(edge.store, edge.table, direction, edge.position(direction)), *edge);
            assert_eq!(key.len(), VERSION_BYTES);
            assert_eq!(read_edge_version(direction, &key), Some((*edge, *revision)));
            let row = row_versions(direction, edge.store, edge.table, edge.position(direction).row);
            assert!(row.len() == ROW_BYTES && key.starts_with(&row));
            let versions = edge_versions(direction, edge);
            assert!(versions.len() == EDGE_BYTES && key.starts_with(&versions));
        }
        assert_eq!(read_staged(edge.store, &staged(9, edge)), Some(*edge));
        assert_eq!(read_schema(&schema(edge.store, *revision)), Some((edge.store, *revision)));
        let object = (edge.store, TypeId(edge.table.0), edge.resource);
        assert_eq!(read_object(&suspect(object.0, object.1, object.2)), Some(object));
        assert_eq!(read_staged_name(&staged_name(9, object.0, object.1, object.2)), Some(object));
        assert_eq!(read_numbered(&table(edge.store, edge.table)), Some((edge.store, edge.table.0)));
        assert_eq!(read_bulk(&bulk(revision.0)), Some(revision.0));
        let moment = Timestamp::from_nanosecond(i128::from(edge.source.0 as i64)).unwrap();
        let ahead = Moment { time: moment, edge: *edge, written: *revision };
        assert_eq!(read_moment(&super::moment(Kind::Expired, &ahead)), Some(ahead));
        assert_eq!(read_time(&time(moment, *revision)), Some((moment, *revision)));
        assert_eq!(read_request_time(&request_time(moment, edge.store, "a")), Some((moment, edge.store, "a")));
        assert_eq!(read_request(&request(edge.store, "a")), Some((edge.store, "a")));
        assert_eq!(read_ordinal_key(&ordinal(object.0, object.1, "a")), Some((object.0, object.1, "a")));
        assert_eq!(read_revision(&transaction(*revision)), Some(*revision));
        assert_eq!(read_log(&log(*revision, 7)), Some((*revision, 7)));
        assert_eq!(read_bulk_of(&staged(9, edge)), Some(9));
    }
    for pair in edges.windows(2) {
        let [(a, newer), (b, older)] = pair else { panic!() };
        let forward = |edge, revision| version(Direction::Forward, edge, revision);
        let by_parts = (a, std::cmp::Reverse(newer)).cmp(&(b, std::cmp::Reverse(older)));
        assert_eq!(forward(a, *newer).cmp(&forward(b, *older)), by_parts);
        let place = |edge: &EdgeKey| (edge.store, edge.table, edge.position(Direction::Reverse));
        let reverse = |edge| edge_versions(Direction::Reverse, edge);
        assert_eq!(reverse(a).cmp(&reverse(b)), place(a).cmp(&place(b)));
    }
    let times = [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX];
    assert!(times.map(|moment| time(moment, Revision(1))).is_sorted());
}

#[test]
fn after_a_prefix_comes_what_does_not_begin_with_it() {
    assert_eq!(after(&[1, 2]), [1, 3]);
    assert_eq!(after(&[1, 255, 255]), [2]);
    assert!(after(&[1, 255]) > vec![1, 255, 255, 255]);
}

#[test]
fn damaged_keys_are_not_read() {
    for length in 0..40 {
        let key = vec![0x10; length];
        assert_eq!(read_version(&key).is_some(), length == VERSION_BYTES);
        assert_eq!(read_object(&key).is_some(), length == 13);
        assert_eq!(read_bulk(&key).is_some(), length == 9);
        assert_eq!(read_staged(StoreId(1), &key).is_some(), length == 29);
    }
}
