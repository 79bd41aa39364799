#![allow(clippy::unwrap_used, clippy::panic)]
use crate::testing::{compile, compiled, errors, refused};
use crate::{NESTING_MAX, SchemaErrorKind};

#[test]
fn members_are_copied_to_where_the_partial_is_named() {
    let schema = compiled(
        "use partial
        definition user {}
        definition doc {
            relation first: user
            /* dropped */ ...ten/outer
            permission last = own
        }
        partial ten/outer { ...inner; permission own = owner }
        // whose
        partial inner {
            // the owner
            relation owner: user
        }
        definition other { ...inner }",
    );
    assert_eq!(
        schema.text(),
        "definition doc {\n\trelation first: user\n\n\t// the owner\n\trelation owner: user\n\tpermission own = owner\n\
         \tpermission last = own\n}\n\ndefinition other {\n\t// the owner\n\trelation owner: user\n}\n\n\
         definition user {}\n"
    );
}

#[test]
fn partials_that_do_not_fit_are_refused() {
    refused(
        SchemaErrorKind::Parse,
        &[
            ("use partial\ndefinition doc { ...none }", "2:21", "none", "there is no partial `none`"),
            ("use partial\npartial one { ...none }", "2:18", "none", "there is no partial `none`"),
            ("use partial\npartial one {}\npartial one {}", "3:9", "one", "already taken"),
            ("use partial\npartial doc {}\ndefinition doc {}", "2:9", "doc", "already taken"),
            ("use partial\npartial one {}\ncaveat one(a int) { a > 0 }", "2:9", "one", "already taken"),
            ("use partial\npartial one { ...one }", "2:18", "one", "includes itself: one -> one"),
            (
                "use partial\npartial one { ...two }\npartial two { ...one }",
                "3:18",
                "one",
                "partial `one` includes itself: one -> two -> one",
            ),
        ],
    );
}

#[test]
fn copied_members_are_checked_where_they_arrive() {
    let source = "use partial\npartial part {\n relation rel: robot\n}\ndefinition doc { ...part }";
    let found = compile(source).unwrap_err();
    assert!(found[0].to_string().starts_with("3:16: "), "{}", found[0]);
    assert_eq!(found[0].definition.as_deref(), Some("doc"));
    // A partial that nobody uses says nothing.
    compiled("use partial\npartial part { relation rel: robot }");
    let found = errors("use partial\npartial part { relation rel: doc }\ndefinition doc { ...part; ...part }");
    assert!(found[0].contains("more than one relation or permission `rel`"), "{found:?}");
}

#[test]
fn depth_is_bounded() {
    let chain = |length: usize| {
        let mut source = String::from("use partial\ndefinition doc { ...part0 }\n");
        for number in 0..length - 1 {
            source.push_str(&format!("partial part{number} {{ ...part{} }}\n", number + 1));
        }
        source.push_str(&format!("partial part{} {{ relation rel: doc }}", length - 1));
        source
    };
    assert!(compile(&chain(NESTING_MAX)).is_ok());
    assert!(errors(&chain(NESTING_MAX + 1))[0].contains("nested more than"));
}
