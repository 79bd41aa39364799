//! Commits of any size are followed in bounded memory: what is held while an import is followed is counted byte by byte.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stonetown_authorizer::materialize::{Certainty, Event, Progress, SetChild, Start};
use stonetown_authorizer::{Authorizer, BulkMode, Call, IndexOptions, Options};
use stonetown_storage::MemoryDatastore;
use stonetown_tuple::Revision;

/// Relationships of the import.
const IMPORTED: usize = 200_000;
/// Bytes that whoever follows may hold while it is being read: its changes as the log has them are several times that.
const BYTES_MAX: usize = 6 << 20;

const SCHEMA: &str = "
definition user {}
definition group { relation member: user }
definition document {
  relation viewer: user | group#member
  relation banned: user
  permission view = viewer
  permission read = viewer - banned
}";

/// Counts what is allocated, and how much it was at most.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[allow(unsafe_code)] // counting allocations needs an allocator, and that trait is unsafe
// SAFETY: every call is handed on unchanged to an allocator that keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(held, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes held at most while `work` runs, beyond those held before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let done = work();
    (done, PEAK.load(Ordering::Relaxed) - before)
}

#[test]
fn a_large_import_is_followed_in_bounded_memory_and_told_exactly() {
    let materialize = ["document#view@user", "document#read@user"].map(|text| text.parse().unwrap()).into();
    // Without a resident index, which would grow meanwhile.
    let index = IndexOptions { bytes_max: 0, ..IndexOptions::default() };
    let options = Options { materialize, index, ..Options::default() };
    let authorizer = Authorizer::open(Arc::new(MemoryDatastore::new()), options).unwrap();
    let call = Call::new("test");
    authorizer.write_schema(&call, SCHEMA).unwrap();
    let mut follower = authorizer.follow_sets(&call, Start::Now).unwrap();
    follower.step(&authorizer, &call, &mut |_| ControlFlow::Continue(())).unwrap();
    let begun = authorizer.datastore().head();

    let mut import = authorizer.import(&call, BulkMode::Create).unwrap();
    let texts = (0..IMPORTED).map(|number| match number % 4 {
        0 => format!("group:g{}#member@user:u{}", number / 4, number / 4 + 1),
        1 => format!("document:d{}#viewer@group:g{}#member", number / 4, number / 4),
        2 => format!("document:d{}#banned@user:u{}", number / 4, number / 4),
        _ => format!("document:d{}#viewer@user:u{}", number / 4, number / 4 + number % 8 / 4),
    });
    let relationships: Vec<_> = texts.map(|text| text.parse().unwrap()).collect();
    for batch in relationships.chunks(10_000) {
        import.push(batch.to_vec()).unwrap();
    }
    let (token, count) = import.finish().unwrap();
    drop(relationships);
    assert_eq!((token.revision, count), (begun.next(), IMPORTED as u64));

    // As one piece it is more than whoever follows may hold.
    let (entries, whole) = peak_of(|| authorizer.datastore().log(begun, 1).unwrap().len());
    assert!(entries == 1 && whole > 2 * BYTES_MAX, "{whole}");

    // One who follows by steps holds one at a time.
    let ((), peak) = peak_of(|| {
        let mut log = authorizer.follow(call.store, begun);
        let mut changes = 0;
        while let Some(step) = log.next_step().unwrap() {
            changes += step.changes.len();
        }
        assert_eq!((changes, log.position()), (IMPORTED, token.revision));
    });
    assert!(peak < BYTES_MAX, "a log was followed with {peak} bytes");

    // Sets, too: what is told is counted, not kept.
    let (mut told, mut completed) = (0, Revision::default());
    let (progress, peak) = peak_of(|| {
        follower.step(&authorizer, &call, &mut |event| {
            match event {
                Event::Changed { before: Certainty::No, after: Certainty::Yes, .. } => told += 1,
                Event::Completed(at) => completed = at.revision,
                other => panic!("{other:?}"),
            }
            ControlFlow::Continue(())
        })
    });
    assert_eq!((progress.unwrap(), completed), (Progress::Moved, token.revision));
    println!("{told} changes of sets told of {IMPORTED} relationships, with {peak} bytes");
    assert!(peak < BYTES_MAX, "sets were followed with {peak} bytes");

    // And it is what there is: the same as a listing, with nothing twice.
    let mut listed = BTreeSet::new();
    let visit = &mut |set: stonetown_authorizer::materialize::SetRef, child: SetChild, _| {
        assert!(listed.insert((set, child)));
        ControlFlow::Continue(())
    };
    authorizer.lookup_permission_sets(&call, &Default::default(), visit).unwrap();
    let mut again = BTreeSet::new();
    let mut follower =
        authorizer.follow_sets(&call, Start::After(stonetown_tuple::ZedToken { revision: begun, ..token }));
    let follower = follower.as_mut().unwrap();
    let collect = &mut |event| {
        if let Event::Changed { set, child, .. } = event {
            assert!(again.insert((set, child)), "told twice");
        }
        ControlFlow::Continue(())
    };
    while follower.step(&authorizer, &call, collect).unwrap() != Progress::CaughtUp {}
    assert_eq!(again.len(), told);
    assert!(again == listed, "{} told and {} listed", again.len(), listed.len());
}
