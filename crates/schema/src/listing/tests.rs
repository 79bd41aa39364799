#![allow(clippy::unwrap_used, clippy::panic)]
use crate::SchemaErrorKind;
use crate::testing::{compiled, doc, refused};

/// What each member of `doc` is listed as.
fn listers(source: &str) -> Vec<String> {
    let schema = compiled(source);
    assert_eq!(compiled(&schema.text()), schema, "the canonical text says the same");
    let document = schema.definition("doc").unwrap();
    let listed = document.members().map(|member| {
        let lister = document.lister(member.name().as_str());
        format!("{}={}", member.name(), lister.map_or("", |lister| lister.as_str()))
    });
    listed.collect()
}

#[test]
fn a_member_names_what_lists_it() {
    let source = doc("/** @stonetown enumerate_as(list) */\npermission view = first\npermission list = view & other");
    assert_eq!(listers(&source), ["first=", "other=", "view=list", "list="]);
    let schema = compiled(&source);
    let document = schema.definition("doc").unwrap();
    assert!(document.is_guarded());
    assert!(document.is_listable("view") && document.is_listable("list") && !document.is_listable("first"));
    let open = schema.definition("user").unwrap();
    assert!(!open.is_guarded() && open.is_listable("anything"));
}

#[test]
fn a_definition_names_it_for_all_its_members() {
    let source = "definition user {}\n// @stonetown enumerate_as(list)\ndefinition doc {\n  relation list: user\n  \
                  // @stonetown enumerate_as(other)\n  relation seen: user\n  permission view = seen\n  relation other: user\n}";
    // `other` is listed as `list`, so it cannot list anything itself.
    refused(SchemaErrorKind::Type, &[(source, "5:30", "other", "`other` is listed as `list` itself")]);
    let source = source.replace("enumerate_as(other)", "enumerate_as(list)");
    assert_eq!(listers(&source), ["list=", "seen=list", "view=list", "other=list"]);
}

#[test]
fn members_of_partials_bring_it_along() {
    let source = "use partial\ndefinition user {}\npartial common {\n  // @stonetown enumerate_as(list)\n  permission view = list\n}\n\
                  definition doc {\n  relation list: user\n  ...common\n}";
    assert_eq!(listers(source), ["list=", "view=list"]);
    let above = source.replace("partial common", "// @stonetown enumerate_as(list)\npartial common");
    refused(SchemaErrorKind::Parse, &[(&above, "3:15", "enumerate_as", "above a partial there are: none")]);
}

#[test]
fn a_lister_that_says_nothing_is_an_error_at_its_place() {
    let parse = [
        ("enumerate_as", "5:15", "enumerate_as", "takes one relation or permission"),
        ("enumerate_as(first, other)", "5:15", "enumerate_as", "takes one relation or permission"),
        ("enumerate_as(of: first)", "5:15", "enumerate_as", "takes one relation or permission"),
        ("enumerate_as(first.other)", "5:15", "enumerate_as", "takes one relation or permission"),
        ("enumerate_as(first) enumerate_as(other)", "5:35", "enumerate_as", "is said twice"),
        ("enumerate_as(F)", "5:28", "F", "invalid relation"),
        ("list_as(first)", "5:15", "list_as", "above a permission there are: audit, enumerate_as"),
    ];
    for (annotation, position, code, message) in parse {
        let source = doc(&format!("// @stonetown {annotation}\npermission view = first"));
        refused(SchemaErrorKind::Parse, &[(&source, position, code, message)]);
    }
    let types = [
        ("enumerate_as(list)", "list", "has no relation or permission `list`"),
        ("enumerate_as(view)", "view", "cannot be what lists it"),
    ];
    for (annotation, code, message) in types {
        let source = doc(&format!("// @stonetown {annotation}\npermission view = first"));
        refused(SchemaErrorKind::Type, &[(&source, "5:28", code, message)]);
    }
}
