//! Scans, and reading by filter.

use stonetown_tuple::{SubjectId, SubjectRelationFilter};

use super::*;
use crate::TableId;
use crate::read::edges;

const DATA: [&str; 14] = [
    "document:a#viewer@user:eve",
    "document:a#viewer@user:bob",
    "document:a#viewer@user:*",
    "document:a#viewer@group:eng#member",
    "document:ab#viewer@user:eve",
    "document:ab#editor@user:eve",
    "document:b#viewer@group:eng#member",
    "document:b#viewer@group:eve#member",
    "folder:a#viewer@user:eve",
    "folder:ab#viewer@user:*",
    "group:eng#member@user:eve",
    "group:eng#member@user:bob",
    "group:eng#member@group:eve#member",
    "group:a#member@user:eve",
];

fn filled(make: Make<'_>) -> Stage {
    let stage = Stage::new(make);
    // What is gone, has expired or has not begun lies between, and some comes from several sources.
    stage.touch(&["document:a#viewer@user:gone", "folder:b#viewer@user:eve"]);
    stage.write(vec![touch(until("document:a#viewer@user:past", -1)), touch(from("document:a#viewer@user:future", 9))]);
    stage.touch(&DATA);
    stage.write(DATA.iter().step_by(3).map(|text| granted(8, touch(rel(text)))).collect());
    stage.write(DATA.iter().step_by(4).map(|text| granted(3, touch(until(text, -1)))).collect());
    stage.write(vec![delete(rel("document:a#viewer@user:gone")), delete(rel("folder:b#viewer@user:eve"))]);
    stage
}

/// A few filters by hand.
pub fn filters_select_what_they_name(make: Make<'_>) {
    let stage = filled(make);
    let head = stage.head();
    let count = |resource, subject| matching(&*head, &filter(resource, subject)).len();
    assert_eq!(count("", None), DATA.len());
    assert_eq!(count("document", None), 8);
    assert_eq!(count("document:a", None), 4);
    assert_eq!(count("document:a%", None), 6);
    assert_eq!(count(":a", None), 6);
    assert_eq!(count("document:a#viewer", Some("user:eve")), 1);
    assert_eq!(count("", Some("user:*")), 2);
    assert_eq!(count("", Some("user:eve")), 6);
    assert_eq!(count("", Some("group:eng")), 2);
    assert_eq!(count("document:nothing", None), 0);
    assert_eq!(count("document:gone", None), 0);
    assert_eq!(count("planet", None), 0);
}

fn every_filter() -> Vec<RelationshipFilter> {
    let types = [None, Some("document"), Some("group"), Some("planet")];
    let ids = [None, Some("a"), Some("a%"), Some("b"), Some("none")];
    let relations = [None, Some("viewer"), Some("member")];
    let subject_types = [None, Some("user"), Some("group")];
    let subject_ids = [None, Some("eve"), Some("*"), Some("none")];
    let subject_relations = [
        SubjectRelationFilter::Any,
        SubjectRelationFilter::Ellipsis,
        SubjectRelationFilter::Relation("member".parse().unwrap()),
    ];
    let mut filters = Vec::new();
    for object_type in types {
        for id in ids {
            for relation in relations {
                let resource = format!(
                    "{}{}{}",
                    object_type.unwrap_or_default(),
                    id.map(|id| format!(":{id}")).unwrap_or_default(),
                    relation.map(|relation| format!("#{relation}")).unwrap_or_default()
                );
                filters.push(filter(&resource, None));
                for subject_type in subject_types.into_iter().flatten() {
                    for subject_id in subject_ids {
                        for subject_relation in &subject_relations {
                            let mut filter = filter(&resource, Some(subject_type));
                            let subject = filter.subject.as_mut().unwrap();
                            subject.subject_id = subject_id.map(|id| SubjectId::new(id).unwrap());
                            subject.relation = subject_relation.clone();
                            filters.push(filter);
                        }
                    }
                }
            }
        }
    }
    filters
}

/// Reading by filter finds what the filter's definition selects from everything.
pub fn every_filter_agrees_with_its_definition(make: Make<'_>) {
    let stage = filled(make);
    let head = stage.head();
    for filter in every_filter() {
        let mut found: Vec<_> = matching(&*head, &filter).into_iter().map(|(_, text)| text).collect();
        found.sort();
        let selected = |text: &&&str| filter.matches(&rel(text));
        let mut expected: Vec<_> = DATA.iter().filter(selected).map(|text| (*text).to_owned()).collect();
        expected.sort();
        assert_eq!(found, expected, "{filter:?}");
    }
}

/// A read that goes on after any of its positions gives the rest.
pub fn a_read_goes_on_after_any_position(make: Make<'_>) {
    let stage = filled(make);
    let head = stage.head();
    for filter in every_filter() {
        let whole = matching(&*head, &filter);
        for (number, (position, _)) in whole.iter().enumerate() {
            let mut rest = Vec::new();
            read(&*head, &filter, now(), Some(*position), &mut |position, relationship, _| {
                rest.push((position, relationship.to_string()));
                ControlFlow::Continue(())
            })
            .unwrap();
            assert_eq!(rest, whole[number + 1..], "{filter:?} after {position:?}");
        }
    }
}

/// A visitor that breaks is not called again, in scans and in reads.
pub fn scans_stop_when_told(make: Make<'_>) {
    let stage = filled(make);
    let head = stage.head();
    let (mut reads, mut all) = (0, 0);
    read(&*head, &RelationshipFilter::default(), now(), None, &mut |_, _, _| {
        reads += 1;
        ControlFlow::Break(())
    })
    .unwrap();
    edges(&*head, &RelationshipFilter::default(), None, &mut |_, _, _| {
        all += 1;
        if all == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!((reads, all), (1, 3));
    let table = head.tables()[0].id;
    for direction in [Direction::Forward, Direction::Reverse] {
        let (mut rows, mut tables) = (0, 0);
        head.scan_table(table, direction, None, &mut |edge| {
            tables += 1;
            head.scan_row(table, direction, edge.position(direction).row, Ordinal(0), &mut |_| {
                rows += 1;
                ControlFlow::Break(())
            })
            .unwrap();
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!((rows, tables), (1, 1));
    }
}

/// A scan of a row begins at the other end that it is given, that one included.
pub fn a_scan_of_a_row_begins_where_asked(make: Make<'_>) {
    let stage = filled(make);
    let head = stage.head();
    for table in head.tables().iter() {
        for direction in [Direction::Forward, Direction::Reverse] {
            for first in scan(&*head, table.id, direction) {
                let first = first.position(direction);
                let row = scan_row(&*head, table.id, direction, first.row);
                let mut found = Vec::new();
                head.scan_row(table.id, direction, first.row, first.other, &mut |edge| {
                    found.push(edge.clone());
                    ControlFlow::Continue(())
                })
                .unwrap();
                let expected: Vec<_> =
                    row.into_iter().filter(|edge| edge.position(direction).other >= first.other).collect();
                assert_eq!(found, expected);
            }
        }
    }
}

/// A scan of a table goes on after any position, those that no edge has included.
pub fn a_scan_of_a_table_goes_on_after_a_position(make: Make<'_>) {
    let stage = filled(make);
    let head = stage.head();
    for table in head.tables().iter() {
        for direction in [Direction::Forward, Direction::Reverse] {
            let whole = scan(&*head, table.id, direction);
            let around = whole.iter().flat_map(|edge| {
                let position = edge.position(direction);
                let far = Ordinal(position.other.0 + 1_000);
                [
                    position,
                    crate::EdgePosition { source: Source(u64::MAX), ..position },
                    crate::EdgePosition { other: far, ..position },
                ]
            });
            for after in around {
                let mut found = Vec::new();
                head.scan_table(table.id, direction, Some(after), &mut |edge| {
                    found.push(edge.clone());
                    ControlFlow::Continue(())
                })
                .unwrap();
                let expected: Vec<_> = whole.iter().filter(|edge| edge.position(direction) > after).cloned().collect();
                assert_eq!(found, expected, "after {after:?}");
            }
        }
    }
}

/// What was never stored is not found, and an ordinal that was never given out is damage.
pub fn unknown_things_are_not_found(make: Make<'_>) {
    let stage = filled(make);
    let head = stage.head();
    let user = head.type_id("user").unwrap();
    assert_eq!(head.type_id("planet"), None);
    assert_eq!(head.ordinal(user, "nobody").unwrap(), None);
    assert_eq!(head.ordinal(crate::TypeId(99), "eve").unwrap(), None);
    assert!(matches!(head.object_id(user, Ordinal(99_999)), Err(crate::StorageError::Damaged(_))));
    assert!(scan(&*head, TableId(99), Direction::Forward).is_empty());
    assert!(scan_row(&*head, head.tables()[0].id, Direction::Reverse, Ordinal(99_999)).is_empty());
    let idle = head.type_id("idle").unwrap();
    assert_eq!(head.ordinal(idle, "eve").unwrap(), None);
}
