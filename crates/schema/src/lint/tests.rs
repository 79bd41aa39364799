#![allow(clippy::unwrap_used, clippy::panic)]
use crate::{CompileOptions, WARNINGS_MAX, lint};

/// `line:column id` of each warning about a schema of folders and documents with those members of `document`.
fn warnings(members: &str) -> Vec<String> {
    let source = format!(
        "definition user {{}}
definition folder {{ relation reader: user; permission read = reader }}
definition group {{ relation member: user; permission all = member }}
definition document {{
relation folder: folder
relation parent: document
relation member: group#member | user
relation reader: user
{members}
}}"
    );
    let found = lint(&source, &CompileOptions::default()).unwrap();
    found
        .iter()
        .map(|warning| format!("{}:{} {}", warning.span.start_line + 1, warning.span.start_column + 1, warning.id))
        .collect()
}

#[test]
fn each_warning_has_its_cause() {
    for (member, expected) in [
        ("permission view = folder->read + parent->view + reader", None),
        ("permission view_document = reader", Some("9:12 relation-name-references-parent")),
        ("relation to_document: user", Some("9:10 relation-name-references-parent")),
        ("permission view = reader + view", Some("9:28 permission-references-itself")),
        ("permission view = reader & (folder->none)", Some("9:28 arrow-references-unreachable-relation")),
        ("permission view = folder.all(none)", Some("9:19 arrow-references-unreachable-relation")),
        ("permission view = member->all", Some("9:19 arrow-walks-subject-relation")),
        ("permission view = reader - folder->reader", Some("9:28 arrow-references-relation")),
        ("permission view = folder.any(reader)", Some("9:19 arrow-references-relation")),
        ("permission view = parent->reader", None),
    ] {
        assert_eq!(warnings(member), expected.into_iter().collect::<Vec<_>>(), "{member}");
    }
}

#[test]
fn a_comment_silences_one_warning_for_one_member() {
    let silenced = "permission view_document = folder->reader";
    assert_eq!(warnings(silenced).len(), 2);
    let comment = "// spicedb-ignore-warning: arrow-references-relation\n";
    assert_eq!(warnings(&format!("{comment}{silenced}")), ["10:12 relation-name-references-parent"]);
    let both = format!("// spicedb-ignore-warning: relation-name-references-parent\n{comment}{silenced}");
    assert!(warnings(&both).is_empty());
    assert_eq!(warnings(&format!("{comment}permission one = nil\n{silenced}")).len(), 2);
    assert_eq!(warnings(&format!("// @stonetown-ignore-warning: arrow-references-relation\n{silenced}")).len(), 2);
}

#[test]
fn a_schema_with_errors_has_no_warnings() {
    assert!(lint("definition doc { relation doc: none }", &CompileOptions::default()).is_err());
}

#[test]
fn a_warning_about_an_imported_file_names_it() {
    let resolve = |_: &str| Ok("definition doc { relation rel_doc: doc }".to_owned());
    let options = CompileOptions { imports: Some(&resolve), ..CompileOptions::default() };
    let found = lint("use import\nimport 'a.zed'", &options).unwrap();
    assert_eq!(found[0].file.as_deref(), Some("a.zed"));
    assert_eq!(found[0].span.start_column, 26);
}

#[test]
fn warnings_have_a_limit() {
    for count in [WARNINGS_MAX, WARNINGS_MAX + 1] {
        let relations: String = (0..count).map(|number| format!("relation rel{number}_doc: doc\n")).collect();
        let found = lint(&format!("definition doc {{\n{relations}}}"), &CompileOptions::default()).unwrap();
        assert_eq!(found.len(), WARNINGS_MAX);
    }
}
