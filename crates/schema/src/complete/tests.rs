#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;

/// What is offered at `‸`: the word that would be replaced, then the labels.
fn offered(marked: &str) -> (String, String) {
    let offset = marked.find('‸').unwrap_or_else(|| panic!("no cursor in {marked}"));
    let source = marked.replacen('‸', "", 1);
    let outline = Outline::read(&source, None);
    let found = complete(&outline, offset);
    let labels: Vec<_> = found.items.iter().map(|item| item.label.as_str()).collect();
    (source[found.replaces].to_owned(), labels.join(" "))
}

#[track_caller]
fn check(marked: &str, word: &str, labels: &str) {
    assert_eq!(offered(marked), (word.to_owned(), labels.to_owned()), "{marked}");
}

/// A document with that line in it, among others.
fn document(line: &str) -> String {
    format!(
        "use expiration
use self
use partial
caveat on_day(day string, days list<string>) {{ day in days }}
definition user {{}}
definition tenant/group {{ relation member: user; permission everyone = member }}
partial shared {{ relation owner: user }}
definition document {{
  ...shared
  relation parent: document | tenant/group
  {line}
  permission last = nil
}}"
    )
}

const TYPES: &str = "document tenant/group user";
const OPERANDS: &str = "last owner parent nil self";

#[test]
fn statements_begin_with_keywords() {
    check("‸", "", "definition caveat use");
    check("use partial\nuse import\n‸", "", "definition caveat use partial import");
    check("definition user {}\ndef‸", "def", "definition caveat use");
    check("definition user {} ‸\ndefinition other {}", "", "definition caveat use");
    check("use ‸", "", "expiration import partial self typechecking");
    check("use exp‸\n", "exp", "expiration import partial self typechecking");
    check("use expiration ‸", "", "");
    check(&document("‸"), "", "relation permission ...shared");
    check(&document("rel‸"), "rel", "relation permission ...shared");
    check(&document("...‸"), "", "shared");
    check("definition user {\n  ‸", "", "relation permission");
    check("definition user {\n  relation a: user;‸", "", "relation permission");
}

#[test]
fn nothing_is_offered_where_a_name_is_made_up() {
    for marked in ["definition ‸", "definition us‸", "caveat ‸", "caveat one(‸", "caveat one(a int, b‸", "import '‸'"]
    {
        assert_eq!(offered(marked).1, "", "{marked}");
    }
    check(&document("relation ‸"), "", "");
    check(&document("relation vie‸"), "vie", "");
    check(&document("permission vie‸"), "vie", "");
    check(&document("// a ‸ comment"), "", "");
    check(&document("// a comment‸"), "", "");
    check(&document("/* a ‸ */"), "", "");
}

#[test]
fn relations_have_types_usersets_and_traits() {
    check(&document("relation one: ‸"), "", TYPES);
    check(&document("relation one: us‸"), "us", TYPES);
    check(&document("relation one: tenant/gr‸"), "tenant/gr", TYPES);
    check(&document("relation one: tenant/‸"), "tenant/", TYPES);
    check(&document("relation one: user | ‸"), "", TYPES);
    check(&document("relation one: user |\n    ‸"), "", TYPES);
    check(&document("relation one: tenant/group#‸"), "", "everyone member");
    check(&document("relation one: user | tenant/group#mem‸"), "mem", "everyone member");
    check(&document("relation one: document#‸"), "", "last owner parent");
    check(&document("relation one: none#‸"), "", "");
    check(&document("relation one: user:‸"), "", "*");
    check(&document("relation one: user ‸"), "", "with");
    check(&document("relation one: user:* wi‸"), "wi", "with");
    check(&document("relation one: user with ‸"), "", "on_day expiration");
    check(&document("relation one: user with on_day ‸"), "", "and");
    check(&document("relation one: user with on_day and ‸"), "", "expiration");
    check(&document("relation one: user with expiration ‸"), "", "");
    check("definition user { relation one: user with ‸ }", "", "");
}

#[test]
fn permissions_have_members_arrows_and_annotations() {
    check(&document("permission one = ‸"), "", OPERANDS);
    check(&document("permission one = par‸"), "par", OPERANDS);
    check(&document("permission one = parent + ‸"), "", OPERANDS);
    check(&document("permission one = parent\n  & (‸"), "", OPERANDS);
    check(&document("permission one = (parent\n - ‸)"), "", OPERANDS);
    check(&document("permission one = parent ‸"), "", "");
    check(&document("permission one = parent->‸"), "", "everyone last member owner parent");
    check(&document("permission one = nil + parent->eve‸"), "eve", "everyone last member one owner parent");
    check(&document("permission one = owner->‸"), "", "");
    check(&document("permission one = none->‸"), "", "");
    check(&document("permission one = parent.‸"), "", "any all");
    check(&document("permission one = parent.al‸(last)"), "al", "any all");
    check(&document("permission one = parent.all(‸"), "", "everyone last member owner parent");
    check(&document("permission one: ‸"), "", TYPES);
    check(&document("permission one: user | ‸"), "", TYPES);
    check("definition user {\n permission one = ‸", "", "nil");
    check("definition user {\n relation two: user\n permission one = ‸\n relation three: user\n}", "", "three two nil");
}

#[test]
fn caveats_have_parameter_types_and_parameters() {
    let types = PARAMETER_TYPES.join(" ");
    check("caveat one(a ‸", "", &types);
    check("caveat one(a int, b str‸) { a == 1 }", "str", &types);
    check("caveat one(a list<‸", "", &types);
    check("caveat one(a map<list<‸>>, b int) {}", "", &types);
    check("caveat one(a int ‸", "", "");
    check("caveat one(a int) ‸", "", "");
    check("caveat one(a int, bee int) { a == ‸ }", "", "a bee");
    check("caveat one(a int, bee int) { a == be‸e && true }\ndefinition user {}", "bee", "a bee");
    check("caveat one(a map<int>) { a.‸ }", "", "");
    check("caveat one(a int) {‸}", "", "a");
    check("caveat one(a int) { a == 1 }‸", "", "definition caveat use");
}
