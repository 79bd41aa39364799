#![allow(clippy::unwrap_used, clippy::panic)]

use prost_types::value::Kind;
use prost_types::{Struct, Timestamp, Value};

use super::*;

const SCHEMA: &str = "definition user {}\n\ndefinition document {\n\trelation viewer: user\n}\n";

fn relationship(number: usize) -> pb::Relationship {
    let object = |object_type: &str, id: String| {
        Some(pb::ObjectReference { object_type: object_type.to_owned(), object_id: id })
    };
    let number_value = Value { kind: Some(Kind::NumberValue(number as f64)) };
    let context = Struct { fields: [("hour".to_owned(), number_value)].into_iter().collect() };
    pb::Relationship {
        resource: object("document", format!("d{number}")),
        relation: "viewer".to_owned(),
        subject: Some(pb::SubjectReference {
            object: object("user", if number == 1 { "*".to_owned() } else { format!("u{number}") }),
            optional_relation: if number % 5 == 4 { "member".to_owned() } else { String::new() },
        }),
        optional_caveat: number
            .is_multiple_of(3)
            .then(|| pb::ContextualizedCaveat { caveat_name: "tod".to_owned(), context: Some(context) }),
        optional_expires_at: number
            .is_multiple_of(4)
            .then(|| Timestamp { seconds: 1_900_000_000 + number as i64, nanos: 7_000_000 }),
    }
}

fn write(target: &Path, count: usize) {
    let mut writer = Writer::begin(target, SCHEMA, "a token", "all").unwrap();
    for (batch, relationships) in (0..count).map(relationship).collect::<Vec<_>>().chunks(70).enumerate() {
        writer.batch(relationships, &format!("after {batch}")).unwrap();
    }
    assert_eq!(writer.finish().unwrap(), count as u64);
}

fn read(path: &Path) -> anyhow::Result<(String, Option<String>, Vec<pb::Relationship>)> {
    let (schema, token, mut relationships) = open(path)?;
    let mut all = Vec::new();
    while let Some(relationship) = relationships.next()? {
        all.push(relationship);
    }
    Ok((schema, token, all))
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for count in [0, 1, 70, 2_345] {
        let path = folder.path().join(format!("{count}.backup"));
        write(&path, count);
        let contents = verify(&path, &|_| false, &mut |_| {}).unwrap();
        assert_eq!((contents.relationships, contents.has_checksum), (count as u64, true));
        let (schema, token, relationships) = read(&path).unwrap();
        assert_eq!((schema.as_str(), token.as_deref()), (SCHEMA, Some("a token")));
        assert_eq!(relationships, (0..count).map(relationship).collect::<Vec<_>>());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
        fs::remove_file(path).unwrap();
    }
}

/// Each byte of a file changed in turn, and each shorter file: an error, or the very same contents.
#[test]
fn a_damaged_file_is_never_read_as_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("good");
    write(&path, 150);
    let good = fs::read(&path).unwrap();
    let expected = read(&path).unwrap();
    let damaged = folder.path().join("damaged");
    let mut harmless = 0;
    let mut test = |bytes: &[u8], what: String| {
        fs::write(&damaged, bytes).unwrap();
        if verify(&damaged, &|_| false, &mut |_| {}).is_ok() {
            harmless += 1;
            assert_eq!(read(&damaged).unwrap(), expected, "{what}");
        }
    };
    for place in 0..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[place] ^= flip;
            test(&bytes, format!("byte {place} flipped by {flip}"));
        }
    }
    for length in 0..good.len() {
        test(&good[..length], format!("cut to {length}"));
    }
    test(&[good.as_slice(), b"\0"].concat(), "a byte more".to_owned());
    // Only the name of the entry with the checksum can change: then the file is like one of `zed`.
    assert!(harmless <= CHECK.len() * 3, "{harmless} damages were not noticed");
}

/// Files without a checksum over the whole, as `zed` makes them, still have one for each block.
#[test]
fn a_damaged_file_of_zed_is_never_read_as_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("good");
    let marker = [7; MARKER_BYTES];
    let mut good = Vec::new();
    let avro = records::avro_schema();
    ocf::write_header(&mut good, &[("avro.schema", avro.as_bytes()), (TOKEN, b"a token")], &marker).unwrap();
    let mut data = Vec::new();
    records::put_schema(&mut data, SCHEMA);
    (0..30).for_each(|number| records::put_relationship(&mut data, &relationship(number)));
    ocf::write_block(&mut good, &Block { count: 31, data }, &marker).unwrap();
    fs::write(&path, &good).unwrap();
    let contents = verify(&path, &|_| false, &mut |_| {}).unwrap();
    assert_eq!((contents.relationships, contents.has_checksum), (30, false));
    let (schema, _, relationships) = read(&path).unwrap();
    let damaged = folder.path().join("damaged");
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 1;
        fs::write(&damaged, bytes).unwrap();
        if verify(&damaged, &|_| false, &mut |_| {}).is_ok() {
            let found = read(&damaged).unwrap();
            assert_eq!((found.0, found.2), (schema.clone(), relationships.clone()), "byte {place}");
        }
    }
}

#[test]
fn an_interrupted_backup_says_so_and_is_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daily");
    let all: Vec<_> = (0..200).map(relationship).collect();
    let mut writer = Writer::begin(&path, SCHEMA, "a token", "all").unwrap();
    writer.batch(&all[..120], "after 120").unwrap();
    // The next batch was under way.
    writer.file.write_all(b"half a block").unwrap();
    drop(writer);
    assert!(!path.exists());
    let unfinished = format!("{:#}", verify(&incomplete(&path), &|_| false, &mut |_| {}).unwrap_err());
    assert!(unfinished.contains("an unfinished backup"), "{unfinished}");

    let other = Writer::resume(&path, "some").err().unwrap();
    assert!(format!("{other:#}").contains("another selection"), "{other:#}");
    let mut writer = Writer::resume(&path, "all").unwrap().unwrap();
    assert_eq!((writer.state.cursor.as_str(), writer.state.relationships), ("after 120", 120));
    assert_eq!(writer.state.token, "a token");
    writer.batch(&all[120..], "after 200").unwrap();
    assert_eq!(writer.finish().unwrap(), 200);
    assert_eq!(verify(&path, &|_| false, &mut |_| {}).unwrap().relationships, 200);
    assert_eq!(read(&path).unwrap().2, all);
    assert!(Writer::resume(&path, "all").unwrap().is_none());
    assert!(refuse_existing(&path).is_err());
}

#[test]
fn an_unfinished_file_that_lost_bytes_is_not_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("daily");
    let mut writer = Writer::begin(&path, SCHEMA, "a token", "all").unwrap();
    writer.batch(&[relationship(1)], "after 1").unwrap();
    drop(writer);
    let file = File::options().write(true).open(incomplete(&path)).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    let refused = Writer::resume(&path, "all").err().unwrap();
    assert!(format!("{refused:#}").contains("lacks bytes"), "{refused:#}");
    fs::write(state_of(&path), "nonsense").unwrap();
    assert!(Writer::resume(&path, "all").is_err());
}

#[test]
fn what_a_newer_version_adds_is_refused_rather_than_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("newer");
    for (old, new, what) in [
        ("\"caveat_name\"", "\"not_known_at_all\"", "field `not_known_at_all`"),
        ("relationship_v1", "relationship_v2", "records"),
        ("\"bytes\"", "\"float\"", "a field of type"),
    ] {
        let avro = records::avro_schema().replace(old, new);
        let mut bytes = Vec::new();
        ocf::write_header(&mut bytes, &[("avro.schema", avro.as_bytes())], &[7; MARKER_BYTES]).unwrap();
        fs::write(&path, bytes).unwrap();
        let refused = format!("{:#}", verify(&path, &|_| false, &mut |_| {}).unwrap_err());
        assert!(refused.contains(what), "{refused}");
    }
    fs::write(&path, "definition user {}").unwrap();
    let refused = format!("{:#}", verify(&path, &|_| false, &mut |_| {}).unwrap_err());
    assert!(refused.contains("newer") && refused.contains("does not begin as an Avro file does"), "{refused}");
}

#[test]
fn relationships_of_old_servers_can_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("old");
    let mut writer = Writer::begin(&path, SCHEMA, "a token", "all").unwrap();
    let old = pb::Relationship { relation: "ab".to_owned(), ..relationship(1) };
    writer.batch(&[relationship(0), old], "after 2").unwrap();
    writer.finish().unwrap();
    let refused = format!("{:#}", verify(&path, &|_| false, &mut |_| {}).unwrap_err());
    assert!(refused.contains("relationship 2") && refused.contains("`ab`"), "{refused}");
    assert_eq!(verify(&path, &|one| one.relation == "ab", &mut |_| {}).unwrap().relationships, 2);
}
