//! Every single change of a log is found, and at its place.

use std::fs;
use std::time::Duration;

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use stonetown_tuple::{Revision, StoreId, Timestamp};

use super::*;
use crate::keys::Keys;
use crate::log::{Log, Setup};
use crate::merkle::{consistency, inclusion, is_consistent, is_included};
use crate::note::SigningKey;
use crate::record::{Decision, Outcome};

const ORIGIN: &str = "stonetown/1/decisions";

struct Place {
    folder: tempfile::TempDir,
    keys: Keys,
}

impl Place {
    fn directory(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn path(&self, first: u64) -> PathBuf {
        segment::path(&self.directory(), first)
    }

    fn problems(&self) -> Vec<Problem> {
        verify(&self.directory(), &Against::default()).unwrap().problems
    }

    fn published(&self) -> String {
        fs::read_to_string(self.directory().join("checkpoint")).unwrap()
    }
}

fn body(subject: &str) -> Body<'_> {
    Body::Decision(Decision {
        time: Timestamp::UNIX_EPOCH,
        start: 0,
        call: "check",
        outcome: Outcome::Allowed,
        reason: "related",
        store: StoreId(1),
        revision: Revision(1),
        schema: Revision(1),
        duration: Duration::ZERO,
        resource_type: "document",
        permission: "view",
        subject_type: "user",
        subject_relation: "",
        count: 0,
        digest: None,
        caller: "key-1",
        resource_id: "readme",
        subject_id: subject,
        context: "",
        detail: "",
        actors: Vec::new(),
        judged_at: None,
    })
}

/// A log of so many decisions, synced after every third, in segments of eight.
fn log(count: u64) -> Place {
    log_of(count, "alice")
}

fn log_of(count: u64, subject: &str) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let keys = Keys::open(&folder.path().join("keys")).unwrap();
    let place = Place { folder, keys };
    write(&place, count, subject);
    place
}

fn write(place: &Place, count: u64, subject: &str) {
    let setup = Setup { bits: 3, ..Setup::new(place.directory(), ORIGIN.to_owned()) };
    let (mut log, _) = Log::open(setup, &place.keys).unwrap();
    for number in 0..count {
        log.add(&body(&format!("{subject}{number}"))).unwrap();
        if number % 3 == 2 {
            log.sync().unwrap();
        }
    }
    log.sync().unwrap();
    log.publish().unwrap();
}

/// Where the parts of a segment begin and end, with whether they are records.
fn parts(path: &Path) -> Vec<(usize, usize, bool)> {
    let mut reader = SegmentReader::open(path).unwrap().unwrap();
    let mut parts = Vec::new();
    loop {
        let begin = usize::try_from(reader.offset()).unwrap();
        let is_record = match reader.read().unwrap() {
            Next::Frame(Frame::Record { .. }) => true,
            Next::Frame(Frame::Checkpoint(_)) => false,
            _ => return parts,
        };
        parts.push((begin, usize::try_from(reader.offset()).unwrap(), is_record));
    }
}

#[test]
fn every_flipped_byte_is_found_at_its_record() {
    let place = log(11);
    assert_eq!(place.problems(), []);
    for first in [0, 8] {
        let path = place.path(first);
        let whole = fs::read(&path).unwrap();
        let records = parts(&path);
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            fs::write(&path, &flipped).unwrap();
            let problems = place.problems();
            // Of the very last checkpoint only the head is like one that a crash cut off: no record is behind it.
            let is_torn = first == 8 && records.last().is_some_and(|(begin, ..)| (*begin..begin + 5).contains(&at));
            assert!(is_torn || !problems.is_empty(), "segment {first}, byte {at}");
            let before = records.iter().filter(|(_, end, is_record)| *is_record && *end <= at).count() as u64;
            let inside = records.iter().any(|(begin, end, is_record)| *is_record && (*begin..*end).contains(&at));
            if inside {
                let index = first + before;
                let found = problems.iter().any(|p| p.from <= index && index < p.until && p.until - p.from <= 8);
                assert!(found, "segment {first}, byte {at}, record {index}: {problems:?}");
                assert!(problems[0].from == index || problems[0].until - problems[0].from > 1);
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    let path = place.directory().join("checkpoint");
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        assert!(!place.problems().is_empty(), "checkpoint, byte {at}");
    }
}

#[test]
fn a_removed_inserted_or_moved_record_is_found_at_its_place() {
    let place = log(16);
    for first in [0, 8] {
        let path = place.path(first);
        let whole = fs::read(&path).unwrap();
        let records: Vec<_> = parts(&path).into_iter().filter(|(.., is_record)| *is_record).collect();
        for (number, (begin, end, _)) in records.iter().enumerate() {
            let index = first + number as u64;
            let record = &whole[*begin..*end];
            let is_last = first == 8 && number == 7;
            let removed = [&whole[..*begin], &whole[*end..]].concat();
            fs::write(&path, removed).unwrap();
            let problems = place.problems();
            assert!(!problems.is_empty(), "{index} removed");
            assert!(is_last || problems.iter().any(|p| p.from <= index && index < p.until), "{index}: {problems:?}");

            fs::write(&path, [&whole[..*begin], record, &whole[*begin..]].concat()).unwrap();
            let problems = place.problems();
            assert!(problems.iter().any(|p| p.from <= index + 1 && index < p.until), "{index} twice: {problems:?}");

            if let Some((next_begin, next_end, _)) = records.get(number + 1).filter(|(next, ..)| next == end) {
                let swapped = [&whole[..*begin], &whole[*next_begin..*next_end], record, &whole[*next_end..]].concat();
                fs::write(&path, swapped).unwrap();
                assert_eq!(place.problems()[0].from, index, "swapped with the next");
            }
        }
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn any_single_change_is_found_where_it_is() {
    let seed: u64 = std::env::var("SEED").ok().map_or(5, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut below = |bound: usize| random.next_u32() as usize % bound;
    let (place, forged) = (log(32), log_of(32, "malice"));
    for round in 0..600 {
        let first = 8 * below(4) as u64;
        let path = place.path(first);
        let whole = fs::read(&path).unwrap();
        let records: Vec<_> = parts(&path).into_iter().filter(|(.., is_record)| *is_record).collect();
        let number = below(8);
        let (begin, end, _) = records[number];
        let index = first + number as u64;
        let mut altered = whole.clone();
        let kind = below(6);
        match kind {
            // A bit of a record, a record less, one more, two that changed places.
            0 => altered[begin + below(end - begin)] ^= 1 << below(8),
            1 => drop(altered.drain(begin..end)),
            2 => drop(altered.splice(begin..begin, whole[begin..end].to_vec())),
            3 => {
                let (other_begin, other_end, _) = records[(number + 1) % 8];
                let (one, two) = (whole[begin..end].to_vec(), whole[other_begin..other_end].to_vec());
                let parts = if begin < other_begin {
                    [&whole[..begin], &two, &whole[end..other_begin], &one, &whole[other_end..]].concat()
                } else {
                    [&whole[..other_begin], &one, &whole[other_end..begin], &two, &whole[end..]].concat()
                };
                altered = parts;
            }
            // Another record, made as well as it can be without the key: with its index, its hash and its fields.
            4 => {
                let theirs = parts(&forged.path(first)).into_iter().filter(|(.., is_record)| *is_record).nth(number);
                let (from, to, _) = theirs.unwrap();
                drop(altered.splice(begin..end, fs::read(forged.path(first)).unwrap()[from..to].to_vec()));
            }
            // Everything from it on.
            _ => altered.truncate(begin),
        }
        fs::write(&path, &altered).unwrap();
        let problems = place.problems();
        let at = if kind == 3 { index.min(first + (number as u64 + 1) % 8) } else { index };
        let is_found = problems.iter().any(|problem| problem.from <= at && at < problem.until);
        // The last record of all, removed, is missed at the end of the log.
        assert!(
            is_found || (index == 31 && !problems.is_empty()),
            "SEED={seed} round {round} kind {kind} record {index}: {problems:?}"
        );
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(place.problems(), []);
}

#[test]
fn a_log_cut_at_any_byte_lacks_what_was_signed_for() {
    let place = log(11);
    let path = place.path(8);
    let whole = fs::read(&path).unwrap();
    let last_record = parts(&path).into_iter().rfind(|(.., is_record)| *is_record).unwrap();
    for length in 0..last_record.1 {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(!place.problems().is_empty(), "cut to {length}");
    }
    fs::remove_file(&path).unwrap();
    assert!(!place.problems().is_empty());
    fs::write(&path, &whole).unwrap();
    fs::remove_file(place.path(0)).unwrap();
    // Old segments may go for their age, but then the log says so.
    let report = verify(&place.directory(), &Against::default()).unwrap();
    assert_eq!((report.problems.len(), report.first, report.size), (1, 8, 11));
    assert_eq!((report.problems[0].from, report.problems[0].until), (0, 8));
}

#[test]
fn who_cannot_sign_is_found_between_two_checkpoints_however_well_the_record_is_made() {
    let (place, forged) = (log(8), log_of(8, "mallory"));
    let (path, other) = (place.path(0), forged.path(0));
    let (whole, fake) = (fs::read(&path).unwrap(), fs::read(&other).unwrap());
    // The header names the key, so only a part is taken: one record, with its own hash and index.
    let (mine, theirs) = (parts(&path)[4], parts(&other)[4]);
    assert!(mine.2 && theirs.2);
    let forgery = [&whole[..mine.0], &fake[theirs.0..theirs.1], &whole[mine.1..]].concat();
    fs::write(&path, forgery).unwrap();
    let problems = place.problems();
    assert_eq!((problems[0].from, problems[0].until), (3, 6), "{problems:?}");
}

#[test]
fn who_has_stolen_the_key_is_found_against_an_exported_checkpoint() {
    let place = log(11);
    let exported = place.published();
    let against = |notes: &[&str]| Against {
        keys: Vec::new(),
        checkpoints: notes.iter().map(|note| (*note).to_owned()).collect(),
    };
    write(&place, 4, "alice");
    let report = verify(&place.directory(), &against(&[&exported])).unwrap();
    assert_eq!((report.problems, report.agreed), (Vec::new(), 1));

    // The whole log written anew, with the log's own key.
    fs::remove_dir_all(place.directory()).unwrap();
    write(&place, 15, "mallory");
    assert_eq!(place.problems(), []);
    let report = verify(&place.directory(), &against(&[&exported])).unwrap();
    assert_eq!(report.problems.len(), 1);
    assert_eq!((report.problems[0].from, report.problems[0].until), (0, 11));

    // A shorter one.
    fs::remove_dir_all(place.directory()).unwrap();
    write(&place, 5, "alice");
    let report = verify(&place.directory(), &against(&[&exported])).unwrap();
    assert!(report.problems[0].what.contains("were removed"), "{:?}", report.problems);

    // A checkpoint that nobody signed, and one of another log.
    let key = SigningKey::from_seed(&[3; 32]).unwrap();
    let (_, mut checkpoint) = LogReader::open(&place.directory()).unwrap().newest_checkpoint().unwrap().unwrap();
    let report = verify(&place.directory(), &against(&[&checkpoint.sign(&key), "no note"])).unwrap();
    assert_eq!(report.problems.len(), 2, "{:?}", report.problems);
    checkpoint.origin = "stonetown/1/changes".to_owned();
    let report = verify(&place.directory(), &against(&[&checkpoint.sign(&key)])).unwrap();
    assert_eq!((report.problems, report.agreed), (Vec::new(), 0));
}

#[test]
fn proofs_of_a_stored_log_hold_also_after_old_segments_are_gone() {
    let place = log(61);
    let mut oldest = 0;
    for gone in [None, Some(0), Some(8), Some(16)] {
        if let Some(gone) = gone {
            fs::remove_file(place.path(gone)).unwrap();
            oldest = gone + 8;
        }
        let log = LogReader::open(&place.directory()).unwrap();
        let root = verify(&place.directory(), &Against::default()).unwrap().root;
        let mut checked = 0;
        log.records(oldest, &mut |raw| {
            let index = raw.record.index;
            let proof = inclusion(&mut log.subtrees(61), index, 61).unwrap();
            assert!(is_included(&raw.leaf, index, 61, &proof, &root), "{index}");
            checked += 1;
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(checked, 61 - oldest);
        for old in oldest.max(1)..=61 {
            let proof = consistency(&mut log.subtrees(61), old, 61).unwrap();
            let old_root = crate::merkle::root(&mut log.subtrees(61), old).unwrap();
            assert!(is_consistent(old, 61, &old_root, &root, &proof), "{old}");
        }
    }
    let log = LogReader::open(&place.directory()).unwrap();
    assert!(matches!(inclusion(&mut log.subtrees(61), 3, 61), Err(ReadError::NoRecord { .. })));
}
