#![allow(clippy::unwrap_used)]
use crate::testing::{compiled, errors, refused};
use crate::{Guard, SchemaErrorKind};

/// A definition in which a comment stands above one of its members, in a line of its own.
fn above(comment: &str, member: &str) -> String {
    format!("definition user {{}}\ndefinition doc {{\n{comment}\n{member}\nrelation other: user\n}}")
}

const RELATION: &str = "relation viewer: user";
const PERMISSION: &str = "permission view = other";

#[test]
fn relations_and_permissions_say_what_is_audited_strictly() {
    for comment in ["// @stonetown audit(strict)", "/**\n * Read by few.\n * @stonetown audit( strict ) */"] {
        for (member, name) in [(RELATION, "viewer"), (PERMISSION, "view")] {
            let schema = compiled(&above(comment, member));
            assert!(schema.is_audited_strictly("doc", name), "{comment}");
            assert!(!schema.is_audited_strictly("doc", "other") && !schema.is_audited_strictly("user", name));
            assert!(!schema.is_audited_strictly("nothing", name) && !schema.is_audited_strictly("doc", "nothing"));
            // A question about several is about each of them.
            assert!(schema.is_audited_strictly("doc", "") && schema.is_audited_strictly("", ""));
            assert!(schema.is_audited_strictly("", name));
            assert!(!schema.is_audited_strictly("user", "") && !schema.is_audited_strictly("", "other"));
            let again = compiled(&schema.text());
            assert_eq!(again, schema, "the canonical text says the same");
        }
    }
    let plain = compiled(&above("// @strict audit(strict)", PERMISSION));
    assert!(!plain.is_audited_strictly("", "") && !plain.is_audited_strictly("doc", "view"));
    assert_eq!(Guard::StrictAudit.to_string(), "audit(strict)");
}

#[test]
fn relations_say_what_their_changes_have_to_tell() {
    let guards = |comment: &str| {
        let schema = compiled(&above(comment, RELATION));
        assert_eq!(compiled(&schema.text()), schema);
        let guards = &schema.definition("doc").unwrap().relation("viewer").unwrap().guards;
        guards.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(guards("// @stonetown requires(reason)"), ["requires(reason)"]);
    let all = ["audit(strict)", "requires(reason)", "requires(ticket)"];
    assert_eq!(guards("// @stonetown requires(ticket, reason) audit(strict)"), all);
    assert_eq!(guards("// nothing"), [""; 0]);
}

#[test]
fn guards_come_with_the_members_of_a_partial() {
    let text = "use partial\ndefinition user {}\npartial common {\n// @stonetown audit(strict)\nrelation viewer: user\n}\n\
                definition doc { ...common }\ndefinition folder { ...common }";
    let schema = compiled(text);
    assert!(schema.is_audited_strictly("doc", "viewer") && schema.is_audited_strictly("folder", "viewer"));
    // What is wrong with one is said once, also where nothing uses it.
    let wrong = text.replace("strict", "lax").replace("...common", "");
    assert_eq!(errors(&wrong), ["4:21: `audit` takes `strict`, not `lax`"]);
}

#[test]
fn what_cannot_be_read_is_an_error_at_its_place() {
    let cases = [
        ("// @stonetown audit", PERMISSION, "3:15", "audit", "`audit` takes `strict`"),
        ("// @stonetown audit(lax)", PERMISSION, "3:21", "lax", "`audit` takes `strict`, not `lax`"),
        ("// @stonetown audit(a: strict)", RELATION, "3:21", "a: strict", "`audit` takes `strict`"),
        ("// @stonetown audit(strict, strict)", RELATION, "3:29", "strict", "`audit(strict)` is said twice"),
        (
            "// @stonetown audit(strict)\n// @stonetown audit(strict)",
            PERMISSION,
            "4:21",
            "strict",
            "`audit(strict)` is said twice",
        ),
        (
            "// @stonetown adit(strict)",
            PERMISSION,
            "3:15",
            "adit",
            "unknown annotation `adit`; above a permission there are: audit, enumerate_as",
        ),
        (
            "// @stonetown server(now)",
            RELATION,
            "3:15",
            "server",
            "above a relation there are: audit, enumerate_as, requires",
        ),
        ("// @stonetown requires", RELATION, "3:15", "requires", "`requires` takes `reason` and `ticket`"),
        ("// @stonetown requires(reason, cause)", RELATION, "3:32", "cause", "and `ticket`, not `cause`"),
        (
            "/* @stonetown requires(ticket) audit(strict) requires(ticket) */",
            RELATION,
            "3:55",
            "ticket",
            "`requires(ticket)` is said twice",
        ),
        ("// @stonetown requires(reason)", PERMISSION, "3:15", "requires", "above a permission there are: audit"),
    ];
    for (comment, member, position, code, message) in cases {
        refused(SchemaErrorKind::Parse, &[(&above(comment, member), position, code, message)]);
    }
    for (text, position, message) in [
        ("// @stonetown audit(strict)\ncaveat one(a int) { a > 0 }", "1:15", "above a caveat there are: server"),
        ("// @stonetown audit(strict)\ndefinition user {}", "1:15", "above a definition there are: enumerate_as"),
    ] {
        refused(SchemaErrorKind::Parse, &[(text, position, "audit", message)]);
    }
}
