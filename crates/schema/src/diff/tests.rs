#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;
use crate::testing::compiled;

/// Each change in one line, in the words of the interface.
fn lines(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (compiled(old), compiled(new));
    diff(&old, &new).iter().map(line).collect()
}

fn line(difference: &Difference<'_>) -> String {
    match difference {
        Difference::DefinitionAdded(one) => format!("definition_added {}", one.name),
        Difference::DefinitionRemoved(one) => format!("definition_removed {}", one.name),
        Difference::DefinitionDocChanged(one) => format!("definition_doc_comment_changed {} {}", one.name, one.doc),
        Difference::Relation(definition, relation, change) => {
            let place = format!("{}#{}", definition.name, relation.name);
            match change {
                RelationChange::Added => format!("relation_added {place}"),
                RelationChange::Removed => format!("relation_removed {place}"),
                RelationChange::DocChanged => format!("relation_doc_comment_changed {place} {}", relation.doc),
                RelationChange::TypeAdded(allowed) => format!("relation_subject_type_added {place} {allowed}"),
                RelationChange::TypeRemoved(allowed) => format!("relation_subject_type_removed {place} {allowed}"),
                RelationChange::GuardAdded(guard) => format!("guard_added {place} {guard}"),
                RelationChange::GuardRemoved(guard) => format!("guard_removed {place} {guard}"),
            }
        }
        Difference::Permission(definition, permission, change) => {
            let place = format!("{}#{}", definition.name, permission.name);
            match change {
                PermissionChange::Added => format!("permission_added {place}"),
                PermissionChange::Removed => format!("permission_removed {place}"),
                PermissionChange::DocChanged => format!("permission_doc_comment_changed {place} {}", permission.doc),
                PermissionChange::GuardAdded(guard) => format!("guard_added {place} {guard}"),
                PermissionChange::GuardRemoved(guard) => format!("guard_removed {place} {guard}"),
                PermissionChange::ExpressionChanged(old) => {
                    format!("permission_expr_changed {place} {} => {}", old.expression, permission.expression)
                }
            }
        }
        Difference::Caveat(caveat, change) => {
            let name = &caveat.name;
            match change {
                CaveatChange::Added => format!("caveat_added {name}"),
                CaveatChange::Removed => format!("caveat_removed {name}"),
                CaveatChange::DocChanged => format!("caveat_doc_comment_changed {name} {}", caveat.doc),
                CaveatChange::ExpressionChanged(old) => {
                    format!("caveat_expr_changed {name} {} => {}", old.caveat.expression(), caveat.caveat.expression())
                }
                CaveatChange::ParameterAdded(one) => format!("caveat_parameter_added {name} {}", one.name),
                CaveatChange::ParameterRemoved(one) => format!("caveat_parameter_removed {name} {}", one.name),
                CaveatChange::ParameterTypeChanged(one, before) => {
                    format!("caveat_parameter_type_changed {name} {} {before} => {}", one.name, one.parameter_type)
                }
                CaveatChange::SourceAdded(one, source) => format!("source_added {name} {} {source}", one.name),
                CaveatChange::SourceRemoved(one, source) => format!("source_removed {name} {} {source}", one.name),
                CaveatChange::SourceChanged(one, old, new) => {
                    format!("source_changed {name} {} {old} => {new}", one.name)
                }
            }
        }
    }
}

/// Checks `old` to `new`, and that the way back has the opposite of each.
#[track_caller]
fn check(old: &str, new: &str, there: &[&str], back: &[&str]) {
    assert_eq!(lines(old, new), there, "{old}\n=>\n{new}");
    assert_eq!(lines(new, old), back, "{new}\n=>\n{old}");
    assert!(lines(old, old).is_empty() && lines(new, new).is_empty());
}

#[test]
fn definitions_come_and_go_whole() {
    check(
        "definition user {}",
        "definition user {} definition doc { relation first: user; permission view = first }",
        &["definition_added doc"],
        &["definition_removed doc"],
    );
    check(
        "/** a */\ndefinition user {}",
        "/** b */\ndefinition user {}",
        &["definition_doc_comment_changed user /** b */"],
        &["definition_doc_comment_changed user /** a */"],
    );
}

fn doc(members: &str) -> String {
    format!(
        "use expiration\ncaveat on_day(day string) {{ day == '' }}\ndefinition user {{}}\n\
         definition group {{ relation member: user }}\ndefinition doc {{\nrelation first: user\nrelation last: user\n{members}\n}}"
    )
}

#[test]
fn relations_change_in_their_types_and_comments() {
    check(&doc(""), &doc("relation more: user"), &["relation_added doc#more"], &["relation_removed doc#more"]);
    check(
        &doc("relation more: user"),
        &doc("// why\nrelation more: user"),
        &["relation_doc_comment_changed doc#more // why"],
        &["relation_doc_comment_changed doc#more "],
    );
    check(
        &doc("relation more: user | group#member"),
        &doc("relation more: user:* | group#member | user with on_day | user with expiration"),
        &[
            "relation_subject_type_removed doc#more user",
            "relation_subject_type_added doc#more user with expiration",
            "relation_subject_type_added doc#more user with on_day",
            "relation_subject_type_added doc#more user:*",
        ],
        &[
            "relation_subject_type_added doc#more user",
            "relation_subject_type_removed doc#more user with expiration",
            "relation_subject_type_removed doc#more user with on_day",
            "relation_subject_type_removed doc#more user:*",
        ],
    );
}

#[test]
fn permissions_change_in_their_expressions_and_comments() {
    check(&doc(""), &doc("permission view = first"), &["permission_added doc#view"], &["permission_removed doc#view"]);
    check(
        &doc("permission view = first"),
        &doc("/* so */ permission view = first + last"),
        &["permission_doc_comment_changed doc#view /* so */", "permission_expr_changed doc#view first => first + last"],
        &["permission_doc_comment_changed doc#view ", "permission_expr_changed doc#view first + last => first"],
    );
}

#[test]
fn a_relation_that_becomes_a_permission_goes_and_comes() {
    check(
        &doc("relation view: user"),
        &doc("permission view = first"),
        &["relation_removed doc#view", "permission_added doc#view"],
        &["relation_added doc#view", "permission_removed doc#view"],
    );
}

#[test]
fn expressions_are_compared_by_their_structure() {
    let changed = |old: &str, new: &str| {
        let members = |expression: &str| doc(&format!("relation top: doc\npermission view = {expression}"));
        !lines(&members(old), &members(new)).is_empty()
    };
    for (old, new) in [
        ("first + last", "(first)+(last)"),
        ("first + (last + nil)", "first + last + nil"),
        ("first - last + nil", "first - (last + nil)"),
        ("first & last + nil", "first & (last + nil)"),
        ("first // one\n + last", "first\n +\n last /* two */"),
        ("top->first", "top.any(first)"),
    ] {
        assert!(!changed(old, new), "{old} / {new}");
    }
    for (old, new) in [
        ("first + last", "last + first"),
        ("first", "first + first"),
        ("first + last", "first & last"),
        ("first - last - nil", "first - (last - nil)"),
        ("first + last & nil", "first + (last & nil)"),
        ("top->first", "top.all(first)"),
        ("top->first", "top->last"),
        ("nil", "first"),
    ] {
        assert!(changed(old, new), "{old} / {new}");
    }
}

#[test]
fn caveats_change_in_parameters_expressions_and_comments() {
    check("", "caveat one(a int) { a == 1 }", &["caveat_added one"], &["caveat_removed one"]);
    check(
        "// a\ncaveat one(a int, b int) { a == 1 && b == 1 }",
        "// b\ncaveat one(a list<int>, c int) { a == [1] && c == 1 }",
        &[
            "caveat_doc_comment_changed one // b",
            "caveat_parameter_type_changed one a int => list<int>",
            "caveat_parameter_removed one b",
            "caveat_parameter_added one c",
            "caveat_expr_changed one a == 1 && b == 1 => a == [1] && c == 1",
        ],
        &[
            "caveat_doc_comment_changed one // a",
            "caveat_parameter_type_changed one a list<int> => int",
            "caveat_parameter_added one b",
            "caveat_parameter_removed one c",
            "caveat_expr_changed one a == [1] && c == 1 => a == 1 && b == 1",
        ],
    );
}

#[test]
fn order_layout_and_annotations_are_no_change() {
    check(
        "use typechecking\ncaveat one(a int, b string) { a == 1 && b == 'x' }\ndefinition user {}
         definition doc { relation bee: user:* | user; relation sea: doc; permission view: user = bee }",
        "definition doc {\n\tpermission view = bee\n\trelation sea: doc\n\trelation bee: user | user:*\n}\ndefinition user {}
         caveat one(b string, a int) {\n (a == 1)\n && b == \"x\" // so\n}",
        &[],
        &[],
    );
}

#[test]
fn a_guard_that_is_gone_comes_first() {
    let text = |annotation: &str, definition: &str| {
        format!("{definition}{annotation}\ncaveat rule(now timestamp, env string) {{ env == string(now) }}")
    };
    let guarded = text("// @stonetown server(now) trusted(resource.env)", "definition user {}\n");
    let found = lines(&guarded, &text("// @stonetown trusted(subject.env)", ""));
    assert_eq!(
        found,
        [
            "source_removed rule now server(now)",
            "definition_removed user",
            "caveat_doc_comment_changed rule // @stonetown trusted(subject.env)",
            "source_changed rule env trusted(resource.env) => trusted(subject.env)",
        ]
    );
    assert_eq!(lines(&text("", ""), &text("// @stonetown server(now)", ""))[1], "source_added rule now server(now)");

    let strict = "// @stonetown audit(strict)\n";
    let text = |guard: &str, definition: &str| {
        format!(
            "{definition}definition doc {{ relation self: doc\n{guard}relation parent: doc\n{guard}permission all = parent }}"
        )
    };
    let found = lines(&text(strict, "definition audience {}\n"), &text("", ""));
    assert_eq!(
        found,
        [
            "guard_removed doc#parent audit(strict)",
            "guard_removed doc#all audit(strict)",
            "definition_removed audience",
            "relation_doc_comment_changed doc#parent ",
            "permission_doc_comment_changed doc#all ",
        ]
    );
    let found = lines(&text("", ""), &text(strict, ""));
    assert_eq!((&*found[1], &*found[3]), ("guard_added doc#parent audit(strict)", "guard_added doc#all audit(strict)"));
    let listed = text("", "").replace("definition doc", "// @stonetown enumerate_as(self)\ndefinition doc");
    let removed = ["guard_removed doc#parent enumerate_as(self)", "guard_removed doc#all enumerate_as(self)"];
    assert_eq!(lines(&listed, &text("", ""))[..2], removed);
}
