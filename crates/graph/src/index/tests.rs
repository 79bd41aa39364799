#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use stonetown_storage::BulkMode;
use stonetown_tuple::{Operation, Relationship, Source, StoreId};

use super::IndexOptions;
use crate::testing::World;
use crate::{Index, Membership};

const SCHEMA: &str = "
    use expiration
    caveat office(place string) { place == \"office\" }
    definition user {}
    definition document { relation viewer: user | user with office | user with expiration }";

fn world(options: IndexOptions) -> World {
    World::with_options(SCHEMA, &[], options)
}

/// What is resident and what is stored, edge by edge, as texts.
fn compare(world: &World) {
    let head = world.datastore.head();
    let view = world.index.view(StoreId::DEFAULT, head).unwrap();
    let snapshot = world.snapshot(head);
    for table in snapshot.tables().iter() {
        for direction in [stonetown_storage::Direction::Forward, stonetown_storage::Direction::Reverse] {
            let mut edges = 0;
            let mut last = None;
            snapshot
                .scan_table(table.id, direction, None, &mut |edge| {
                    let found = view.find(table.id, edge.resource, edge.subject).unwrap();
                    let terms = found.terms.map_or(1, |terms| terms.0.len());
                    let (row, other) = match direction {
                        stonetown_storage::Direction::Forward => (edge.resource, edge.subject),
                        stonetown_storage::Direction::Reverse => (edge.subject, edge.resource),
                    };
                    assert!(view.row(table.id, direction, row).find(other.0).is_some());
                    assert!(terms >= 1);
                    if last != Some((row, other)) {
                        edges += 1;
                    }
                    last = Some((row, other));
                    std::ops::ControlFlow::Continue(())
                })
                .unwrap();
            assert_eq!(view.edges(table.id), edges);
        }
    }
}

#[test]
fn writes_over_wide_rows_of_every_size_are_seen() {
    let options = IndexOptions { written_edges_min: usize::MAX, ..IndexOptions::default() };
    let world = world(options);
    let text = |n: usize| format!("document:wide#viewer@user:u{n}");
    let some = |range: &mut dyn Iterator<Item = usize>| range.map(text).collect::<Vec<_>>();
    fn borrowed(texts: &[String]) -> Vec<&str> {
        texts.iter().map(String::as_str).collect()
    }
    world.write(&borrowed(&some(&mut (0..900).step_by(2))));
    compare(&world);
    world.write(&borrowed(&some(&mut (0..900))));
    compare(&world);
    for start in (0..3000).step_by(250) {
        world.write(&borrowed(&some(&mut (start..start + 250))));
    }
    compare(&world);
    world.delete(&borrowed(&some(&mut (100..2000).step_by(3))));
    compare(&world);
    world.delete(&borrowed(&some(&mut (0..1500))));
    compare(&world);
    world.delete(&borrowed(&some(&mut (0..3000))));
    compare(&world);
    assert_eq!(world.index.stats().edges, 0);
    world.write(&[&text(7)]);
    compare(&world);
}

#[test]
fn recent_revisions_stay_and_older_ones_are_not_guessed() {
    let world = world(IndexOptions { revisions_kept: 3, ..IndexOptions::default() });
    let question = "document:a#viewer@user:u";
    let written: Vec<_> =
        (0..6).map(|n| if n % 2 == 0 { world.write(&[question]) } else { world.delete(&[question]) }).collect();
    for (n, revision) in written.iter().enumerate().skip(3) {
        let expected = if n % 2 == 0 { "yes" } else { "no" };
        assert_eq!(world.check_at(*revision, question), expected, "{n}");
    }
    assert!(world.index.view(StoreId::DEFAULT, written[2]).is_none());
}

#[test]
fn rebuilt_tables_are_the_same_tables() {
    for inline in [0, 1_000_000] {
        let world =
            world(IndexOptions { written_edges_min: 20, rebuild_inline_edges_max: inline, ..IndexOptions::default() });
        for round in 0..40 {
            let texts: Vec<String> =
                (0..30).map(|n| format!("document:d{}#viewer@user:u{}", n * 7 % 11, round * n % 50)).collect();
            let mut texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            texts.sort_unstable();
            texts.dedup();
            world.write(&texts);
            world.delete(&texts[..texts.len() / 3]);
            compare(&world);
        }
        std::thread::sleep(Duration::from_millis(20));
        compare(&world);
    }
}

#[test]
fn sources_are_kept_apart() {
    let world = world(IndexOptions::default());
    let plain = "document:a#viewer@user:u";
    world.update(Operation::Touch, Source(5), &[&format!("{plain}[expiration:2029-01-01T00:00:00Z]")]);
    assert_eq!(world.check(plain), "no");
    world.update(Operation::Touch, Source(6), &[&format!("{plain}[office]")]);
    assert_eq!(world.check(plain), "place");
    world.update(Operation::Touch, Source::STANDING, &[plain]);
    assert_eq!(world.check(plain), "yes");
    compare(&world);
    // Loaded anew, the index is the same.
    let again = Index::load(&world.datastore, IndexOptions::default()).unwrap();
    let world = World { index: again, ..world };
    compare(&world);
    assert_eq!(world.check(plain), "yes");
}

fn bulk(world: &World, count: usize) {
    let mut bulk = world.datastore.bulk(StoreId::DEFAULT, BulkMode::Touch, world.now).unwrap();
    for start in (0..count).step_by(5000) {
        let part = start..(start + 5000).min(count);
        let part = part.map(|n| format!("document:d{}#viewer@user:u{n}", n % 1000).parse::<Relationship>().unwrap());
        bulk.push(part.collect()).unwrap();
    }
    bulk.publish(None, None, None).unwrap();
}

#[test]
fn a_bulk_is_followed_in_its_parts() {
    let world = world(IndexOptions::default());
    bulk(&world, 20_000);
    assert_eq!(world.index.stats().edges, 20_000);
    compare(&world);
    bulk(&world, 30_000);
    compare(&world);
}

#[test]
fn a_commit_too_large_to_follow_is_read_instead() {
    let world = world(IndexOptions { changes_max: 1000, ..IndexOptions::default() });
    bulk(&world, 5000);
    for _ in 0..1000 {
        if world.index.stats().resident == 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(world.index.stats().edges, 5000);
    compare(&world);
    world.write(&["document:new#viewer@user:new"]);
    assert_eq!(world.check("document:new#viewer@user:new"), "yes");
}

#[test]
fn a_store_beyond_its_budget_is_not_resident() {
    let world = world(IndexOptions { bytes_max: 20_000, ..IndexOptions::default() });
    world.write(&["document:a#viewer@user:u"]);
    assert_eq!(world.check("document:a#viewer@user:u"), "yes");
    bulk(&world, 10_000);
    assert!(world.index.view(StoreId::DEFAULT, world.datastore.head()).is_none());
    assert_eq!(world.index.stats().outgrown, 1);
    let again = Index::load(&world.datastore, IndexOptions { bytes_max: 20_000, ..IndexOptions::default() }).unwrap();
    assert_eq!(again.stats().outgrown, 1);
    assert!(Index::load(&world.datastore, IndexOptions::default()).unwrap().stats().resident == 1);
}

#[test]
fn stores_do_not_mix_and_can_be_added() {
    let world = world(IndexOptions { stores: vec![StoreId::DEFAULT], ..IndexOptions::default() });
    world.write(&["document:a#viewer@user:u"]);
    let other = StoreId(7);
    assert!(world.index.view(other, world.datastore.head()).is_none());
    world.index.add(other).unwrap();
    world.index.add(other).unwrap();
    assert_eq!(world.index.stats().resident, 2);
    assert_eq!(world.index.stats().edges, 1);
    let answer = world.answer("document:a#viewer@user:u").unwrap();
    assert_eq!(answer.membership, Membership::Member);
}

#[test]
fn a_rebuild_that_began_before_the_table_had_a_new_base_brings_nothing_back() {
    use super::table::{EdgeChange, NewTerm, TableState};
    use stonetown_storage::Direction;

    let edge = |term| EdgeChange { resource: 1, subject: 2, source: Source::STANDING, term };
    let old = TableState::default().changed(&mut [edge(NewTerm::Plain)]).unwrap();
    let rebuilt_aside = old.rebuilt().unwrap();
    let newest = old.changed(&mut [edge(NewTerm::Ended)]).unwrap().rebuilt().unwrap();
    let table = newest.rebased(&old, &rebuilt_aside);
    assert!(table.row(Direction::Forward, 1).find(2).is_none());
    assert!(table.row(Direction::Reverse, 2).find(1).is_none());
}
