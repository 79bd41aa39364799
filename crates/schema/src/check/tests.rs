#![allow(clippy::unwrap_used, clippy::panic)]
use crate::SchemaErrorKind;
use crate::testing::{compile, compiled, doc, errors, refused};

fn type_errors(cases: &[(&str, &str, &str, &str)]) {
    refused(SchemaErrorKind::Type, cases);
}

#[test]
fn what_a_relation_allows_is_defined() {
    type_errors(&[
        ("definition doc {\nrelation writer: robot\n}", "2:18", "robot", "relation `writer` allows the type `robot`"),
        ("definition doc {\nrelation writer: robot:*\n}", "2:18", "robot", "not defined"),
        (
            "definition doc {\nrelation writer: doc#none\n}",
            "2:22",
            "none",
            "`doc` has no relation or permission `none`",
        ),
        ("definition doc {\nrelation writer: doc with none\n}", "2:27", "none", "the caveat `none`"),
        ("definition doc {\nrelation writer: doc with expiration\n}", "2:27", "expiration", "use expiration"),
        ("definition doc {\nrelation rel: doc | doc\n}", "2:21", "doc", "allows `doc` twice"),
        ("definition doc {\nrelation rel: doc | doc#...\n}", "2:21", "doc#...", "allows `doc` twice"),
        ("definition doc {\nrelation rel: doc:* | doc:*\n}", "2:23", "doc:*", "twice"),
    ]);
    compiled(
        "use expiration\ncaveat one(a int) { a > 0 }\ncaveat two(a int) { a > 0 }\n\
         definition doc { relation rel: doc | doc with one | doc with two | doc with expiration \
         | doc with one and expiration | doc:* | doc#own\npermission own = rel }",
    );
}

#[test]
fn members_are_unique_among_relations_and_permissions() {
    type_errors(&[
        ("definition doc {\nrelation one: doc\nrelation one: doc\n}", "3:10", "one", "more than one"),
        ("definition doc {\npermission one = nil\npermission one = nil\n}", "3:12", "one", "more than one"),
        ("definition doc {\nrelation one: doc\npermission one = nil\n}", "3:12", "one", "more than one"),
    ]);
}

#[test]
fn what_a_permission_refers_to_is_defined() {
    for (expression, place, text, message) in [
        ("boss", "5:19", "boss", "permission `view` refers to `boss`, but definition `doc` has no"),
        ("first + (other & boss)", "5:36", "boss", "boss"),
        ("first - boss->own", "5:27", "boss", "boss"),
        ("boss.all(own)", "5:19", "boss", "boss"),
        ("edit->own\npermission edit = first", "5:19", "edit", "`edit` is a permission"),
        ("edit.all(own)\npermission edit = first", "5:19", "edit", "`edit` is a permission"),
    ] {
        type_errors(&[(&doc(&format!("permission view = {expression}")), place, text, message)]);
    }
    // The target of an arrow need not be there: types without it have nobody.
    compiled(&doc("permission view = first->nowhere + other.all(nowhere)"));
}

#[test]
fn all_type_errors_are_found_in_the_order_of_the_text() {
    let source = "definition doc {\n relation one: robot | doc with none\n permission two = six->own - seven\n}
        definition doc2 {\n relation one: doc#eight\n}\ncaveat idle(used int, unused int) { used > 0 }";
    let found = compile(source).unwrap_err();
    let texts: Vec<&str> = found.iter().map(|error| error.source_code.as_str()).collect();
    assert_eq!(texts, ["robot", "none", "six", "seven", "eight", "unused"]);
    assert_eq!(found[0].definition.as_deref(), Some("doc"));
    assert_eq!(found[0].member.as_deref(), Some("one"));
    assert_eq!(found[5].definition.as_deref(), Some("idle"));
}

#[test]
fn a_wildcard_cannot_be_left_of_an_arrow() {
    type_errors(&[
        (
            "definition doc {\nrelation all: doc:*\npermission per = all->per2\npermission per2 = nil\n}",
            "3:18",
            "all",
            "permission `per` walks relation `all`, which includes a wildcard by relation `doc#all`",
        ),
        (
            "definition doc {\nrelation all: doc:*\nrelation via: doc#all\npermission per = via.all(all)\n}",
            "4:18",
            "via",
            "by relation `doc#all`",
        ),
    ]);
    // A permission between them hides the wildcard.
    compiled(
        "definition doc {\nrelation all: doc:*\npermission any = all\nrelation via: doc#any\npermission per = via->any\n}",
    );
}

#[test]
fn a_wildcard_cannot_be_included_from_another_definition() {
    let groups = "definition user {}\ndefinition group {\nrelation member: user:* | group#member\n\
                  relation leader: group#member\npermission all = member\n}\n";
    // Among relations of one definition it can, and behind a permission.
    compiled(groups);
    compiled(&format!("{groups}definition doc {{\nrelation viewer: group#all\n}}"));
    for relation in ["member", "leader"] {
        let source = format!("{groups}definition doc {{\nrelation viewer: group#{relation}\n}}");
        let message = format!("allows `group#{relation}`, which includes a wildcard by relation `group#member`");
        type_errors(&[(&source, "8:24", relation, &message)]);
    }
}

#[test]
fn relations_of_one_name_in_different_definitions_do_not_share_wildcards() {
    compiled(
        "definition user {}\ndefinition open { relation member: user:* }\ndefinition shut { relation member: user }
        definition doc { relation viewer: shut#member; permission view = viewer->member }",
    );
}

#[test]
fn permissions_that_only_refer_to_each_other_are_refused() {
    type_errors(&[
        (
            &doc("permission one = two\npermission two = three\npermission three = one\npermission four = one"),
            "5:12",
            "one",
            "one -> two -> three -> one",
        ),
        (&doc("permission one = one"), "5:12", "one", "one -> one"),
        (&doc("permission four = one\npermission one = two\npermission two = one"), "6:12", "one", "one -> two -> one"),
    ]);
    assert_eq!(
        errors(&doc("permission one = one\npermission two = three\npermission three = two")).len(),
        2,
        "each circle once"
    );
    // Where something is added, the least fixpoint is the answer.
    compiled(&doc("permission one = two + first\npermission two = one"));
    compiled(&doc("permission one = one + first\npermission two = first->two\nrelation self_link: doc#one"));
}

#[test]
fn a_parameter_that_is_not_used_is_refused() {
    type_errors(&[("caveat one(a int,\n b int) { a > 0 }", "2:2", "b", "parameter `b` is never used by caveat `one`")]);
}

#[test]
fn annotations_name_every_type_of_subject() {
    let schema = |annotation: &str, expression: &str| {
        format!(
            "use typechecking\nuse self\ndefinition user {{}}\ndefinition robot {{}}\n\
             definition group {{ relation member: user | group#member; relation bot: robot:* }}\n\
             definition doc {{\nrelation viewer: user | group#member; relation group: group; relation parent: doc\n\
             permission view: {annotation} = {expression}\n}}"
        )
    };
    for (annotation, expression) in [
        ("user", "viewer"),
        ("user | robot", "viewer"),
        ("user", "group->member"),
        ("robot", "group.all(bot)"),
        ("robot | user", "group->member + group->bot"),
        ("doc", "self"),
        ("user | doc", "viewer + (self - viewer)"),
        ("user", "viewer + parent->view + parent->nowhere"),
        ("user", "nil"),
    ] {
        let schema = compiled(&schema(annotation, expression));
        let view = schema.definition("doc").unwrap().permission("view").unwrap();
        let types: Vec<&str> = view.annotation.as_ref().unwrap().iter().map(|one| one.as_str()).collect();
        assert_eq!(types.join(" | "), annotation);
        assert_eq!(compiled(&schema.text()), schema);
    }
    for (annotation, expression, missing) in [
        ("robot", "viewer", "can also be `user`"),
        ("robot", "group->member", "can also be `user`"),
        ("group", "viewer - group->bot", "can also be `robot`, `user`"),
        ("user", "self", "can also be `doc`"),
        ("robot", "parent->view + viewer", "can also be `user`"),
    ] {
        type_errors(&[(&schema(annotation, expression), "8:12", "view", missing)]);
    }
    type_errors(&[(&schema("user | nobody", "viewer"), "8:25", "nobody", "names the type `nobody`")]);
}

#[test]
fn annotations_mean_nothing_without_the_flag() {
    let schema = compiled(&doc("permission view: nobody = first"));
    assert!(schema.definition("doc").unwrap().permission("view").unwrap().annotation.is_none());
    assert_eq!(schema, compiled(&doc("permission view = first")));
}
