use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::note::KnownKey;
use crate::record::{Erased, Gap};
use crate::verify::{Against, verify};

const ORIGIN: &str = "stonetown/1/decisions";

fn setup(directory: &Path) -> Setup {
    Setup { bits: 3, ..Setup::new(directory.to_owned(), ORIGIN.to_owned()) }
}

struct Place {
    folder: tempfile::TempDir,
    keys: Keys,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::open(&folder.path().join("keys")).unwrap();
        Place { folder, keys }
    }

    fn directory(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn open(&self) -> Result<(Log, Found), LogError> {
        Log::open(setup(&self.directory()), &self.keys)
    }

    fn last_segment(&self) -> PathBuf {
        let last = segment::list(&self.directory()).unwrap().pop().unwrap();
        segment::path(&self.directory(), last)
    }
}

fn add(log: &mut Log, count: u64) {
    for number in 0..count {
        let time = Timestamp::UNIX_EPOCH;
        log.add(&Body::Gap(Gap { time, reason: "a test", count: number, from: 0, until: 0 })).unwrap();
    }
}

fn close(mut log: Log) {
    log.add(&Body::Stop(Timestamp::UNIX_EPOCH)).unwrap();
    log.sync().unwrap();
    log.publish().unwrap();
}

#[test]
fn a_log_goes_on_where_it_ended_over_many_segments() {
    let place = Place::new();
    let mut expected = 0;
    for round in 0..9 {
        let (mut log, found) = place.open().unwrap();
        assert_eq!((log.size(), found.clean, found.bytes_cut), (expected, true, 0), "round {round}");
        add(&mut log, round);
        expected += round + 1;
        close(log);
        let report = verify(&place.directory(), &Against::default()).unwrap();
        assert_eq!((report.problems, report.size, report.signed), (Vec::new(), expected, expected));
    }
    assert_eq!(segment::list(&place.directory()).unwrap(), [0, 8, 16, 24, 32, 40]);
}

#[test]
fn a_torn_tail_is_cut_at_every_byte_and_what_was_signed_for_stays() {
    let place = Place::new();
    let (mut log, _) = place.open().unwrap();
    add(&mut log, 3);
    log.sync().unwrap();
    log.publish().unwrap();
    let signed = fs::metadata(place.last_segment()).unwrap().len();
    add(&mut log, 3);
    log.write().unwrap();
    drop(log);
    let whole = fs::read(place.last_segment()).unwrap();
    let mut sizes = BTreeSet::new();
    for length in signed..=whole.len() as u64 {
        fs::write(place.last_segment(), &whole[..usize::try_from(length).unwrap()]).unwrap();
        let (log, found) = place.open().unwrap();
        assert!(!found.clean, "cut to {length}");
        assert!(log.size() >= 3 && found.bytes_cut <= length - signed);
        sizes.insert(log.size());
        let after = fs::metadata(place.last_segment()).unwrap().len();
        assert_eq!(after, length - found.bytes_cut);
    }
    assert_eq!(sizes, BTreeSet::from([3, 4, 5, 6]));
    // What was signed for and is gone is no torn tail.
    for length in 0..signed {
        fs::write(place.last_segment(), &whole[..usize::try_from(length).unwrap()]).unwrap();
        // The last checkpoint itself can be torn: the file beside still says how far it went.
        match place.open() {
            Err(LogError::Damaged { .. }) => {}
            Ok((log, _)) => assert_eq!(log.size(), 3, "cut to {length}"),
            Err(error) => panic!("{error}"),
        }
        let after = fs::metadata(place.last_segment()).unwrap().len();
        assert!(after <= length);
    }
}

#[test]
fn garbage_after_the_last_record_is_cut_and_garbage_before_a_checkpoint_is_damage() {
    let place = Place::new();
    let (mut log, _) = place.open().unwrap();
    add(&mut log, 2);
    log.sync().unwrap();
    let first = fs::metadata(place.last_segment()).unwrap().len();
    add(&mut log, 2);
    log.sync().unwrap();
    drop(log);
    let whole = fs::read(place.last_segment()).unwrap();
    for garbage in [&[0; 50][..], b"R\0\0\0\x05\0\0\0\0hello", b"CCCCCCCC"] {
        fs::write(place.last_segment(), [&whole, garbage].concat()).unwrap();
        let (log, found) = place.open().unwrap();
        assert_eq!((log.size(), found.bytes_cut), (4, garbage.len() as u64));
    }
    // Nothing in the file beside, so that only the checkpoint in the segment tells.
    assert!(!place.directory().join(CHECKPOINT_FILE).exists());
    let first = usize::try_from(first).unwrap();
    for at in (first..first + 60).step_by(7) {
        let mut altered = whole.clone();
        altered[at] ^= 0x40;
        fs::write(place.last_segment(), &altered).unwrap();
        assert!(matches!(place.open(), Err(LogError::Damaged { .. })), "byte {at}");
        assert_eq!(fs::read(place.last_segment()).unwrap(), altered, "damage is left as it is");
    }
}

#[test]
fn a_log_that_ends_before_its_newest_checkpoint_is_not_opened() {
    let place = Place::new();
    let (mut log, _) = place.open().unwrap();
    add(&mut log, 20);
    close(log);
    fs::remove_file(place.last_segment()).unwrap();
    assert!(matches!(place.open(), Err(LogError::Damaged { .. })));
    segment::list(&place.directory()).unwrap().into_iter().for_each(|first| {
        fs::remove_file(segment::path(&place.directory(), first)).unwrap();
    });
    assert!(matches!(place.open(), Err(LogError::Damaged { .. })));
}

#[test]
fn a_new_key_is_endorsed_by_the_old_one_and_a_lost_one_is_told() {
    let mut place = Place::new();
    let (mut log, _) = place.open().unwrap();
    add(&mut log, 2);
    close(log);
    let new = Keys::rotate(&place.folder.path().join("keys")).unwrap();
    place.keys = Keys::open(&place.folder.path().join("keys")).unwrap();
    close(place.open().unwrap().0);
    let report = verify(&place.directory(), &Against::default()).unwrap();
    assert_eq!((report.problems, report.key), (Vec::new(), new));

    place.keys = Keys::open(&place.folder.path().join("other keys")).unwrap();
    close(place.open().unwrap().0);
    let report = verify(&place.directory(), &Against::default()).unwrap();
    assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    assert!(report.problems[0].what.contains("does not endorse"));
    let known = Against {
        keys: vec![KnownKey::Fingerprint(place.keys.signing().public().fingerprint())],
        ..Against::default()
    };
    assert_eq!(verify(&place.directory(), &known).unwrap().problems, []);
    let unknown = Against { keys: vec![KnownKey::Whole(PublicKey([9; 32]))], ..Against::default() };
    assert_eq!(verify(&place.directory(), &unknown).unwrap().problems.len(), 2);
}

#[test]
fn a_log_of_another_instance_is_set_aside() {
    let place = Place::new();
    let (mut log, _) = place.open().unwrap();
    add(&mut log, 2);
    close(log);
    let other = Setup { origin: "stonetown/2/decisions".to_owned(), ..setup(&place.directory()) };
    let (log, _) = Log::open(other, &place.keys).unwrap();
    assert_eq!(log.size(), 0);
    let folders = fs::read_dir(place.folder.path()).unwrap().count();
    assert_eq!(folders, 3, "keys, the log, and the one set aside");
}

static FULL: AtomicBool = AtomicBool::new(false);
static STALE: AtomicBool = AtomicBool::new(false);

/// A disk that can be full, and can fail to sync.
struct Faulty(File);

impl Sink for Faulty {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if FULL.load(Ordering::SeqCst) {
            // Some of it fits.
            self.0.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.0.write_all_at(bytes, offset)
    }
    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        if STALE.load(Ordering::SeqCst) { Err(io::Error::other("no sync")) } else { self.0.sync_data() }
    }
}

#[test]
fn a_full_disk_takes_nothing_from_what_is_there_and_a_failed_sync_ends_writing() {
    let place = Place::new();
    let faulty = || Setup { sink: |file| Box::new(Faulty(file)), ..setup(&place.directory()) };
    let (mut log, _) = Log::open(faulty(), &place.keys).unwrap();
    add(&mut log, 3);
    log.sync().unwrap();
    FULL.store(true, Ordering::SeqCst);
    add(&mut log, 2);
    assert_eq!(log.unwritten(), 2);
    assert!(log.write().is_err());
    assert_eq!((log.size(), log.unwritten()), (3, 0));
    FULL.store(false, Ordering::SeqCst);
    add(&mut log, 1);
    log.sync().unwrap();
    STALE.store(true, Ordering::SeqCst);
    add(&mut log, 1);
    assert!(log.sync().is_err());
    STALE.store(false, Ordering::SeqCst);
    assert!(log.sync().is_err(), "what the disk has is unknown from then on");
    drop(log);
    let (log, _) = Log::open(faulty(), &place.keys).unwrap();
    assert_eq!(log.size(), 5);
    close(log);
    assert_eq!(verify(&place.directory(), &Against::default()).unwrap().problems, []);
}

#[test]
fn a_key_that_changes_at_the_end_of_a_full_segment_signs_nothing_before_the_record_of_that() {
    for is_lost in [false, true] {
        let mut place = Place::new();
        let (mut log, _) = place.open().unwrap();
        add(&mut log, 8);
        // Killed before the last segment, which is full, was signed for.
        log.write().unwrap();
        drop(log);
        let keys = place.folder.path().join("keys");
        if is_lost {
            fs::remove_dir_all(&keys).unwrap();
        } else {
            Keys::rotate(&keys).unwrap();
        }
        place.keys = Keys::open(&keys).unwrap();
        let (mut log, _) = place.open().unwrap();
        assert_eq!(segment::list(&place.directory()).unwrap(), [0, 8]);
        log.add(&Body::Pruned(Timestamp::UNIX_EPOCH, 8)).unwrap();
        close(log);
        let known = if is_lost { vec![KnownKey::Whole(place.keys.signing().public())] } else { Vec::new() };
        let against = Against { keys: known, checkpoints: Vec::new() };
        assert_eq!(verify(&place.directory(), &against).unwrap().problems, [], "lost: {is_lost}");
        fs::remove_file(segment::path(&place.directory(), 0)).unwrap();
        assert_eq!(verify(&place.directory(), &against).unwrap().problems, [], "lost: {is_lost}, oldest removed");
    }
}

#[test]
fn an_erasure_that_a_power_loss_tore_is_found_by_verify_and_does_not_keep_the_log_from_opening() {
    let place = Place::new();
    let (mut log, _) = place.open().unwrap();
    let why = "why ".repeat(1000);
    let erased = Erased { time: Timestamp::UNIX_EPOCH, decisions: 0, changes: 0, actor: "key-1", why: &why };
    log.add(&Body::Erased(erased)).unwrap();
    close(log);
    let path = place.last_segment();
    let whole = fs::read(&path).unwrap();
    let mut reader = SegmentReader::open(&path).unwrap().unwrap();
    let begin = reader.offset();
    let Next::Frame(Frame::Record { entry, beside, .. }) = reader.read().unwrap() else { panic!("no record") };
    let begin = usize::try_from(segment::beside_at(begin, entry.len())).unwrap();
    let mut after = beside.to_vec();
    assert_eq!(crate::sealed::erase(&mut after, &mut |_, _| true), 2);
    let mut altered = whole.clone();
    altered[begin + beside.len() / 2] ^= 1;
    fs::write(&path, &altered).unwrap();
    assert!(matches!(place.open(), Err(LogError::Damaged { .. })), "altered, and nothing erased");
    for half in [after.len() / 2, 12] {
        // The pages before, or those behind, are on the disk.
        let early = [&after[..half], &beside[half..]].concat();
        let late = [&beside[..half], &after[half..]].concat();
        for torn in [early, late] {
            let mut bytes = whole.clone();
            bytes[begin..begin + torn.len()].copy_from_slice(&torn);
            fs::write(&path, &bytes).unwrap();
            let (log, found) = place.open().unwrap();
            assert_eq!((log.size(), found.clean, found.bytes_cut), (2, true, 0));
            let problems = verify(&place.directory(), &Against::default()).unwrap().problems;
            assert!(problems.len() == 1 && problems[0].what.contains("personal fields"), "{problems:?}");
        }
    }
}
