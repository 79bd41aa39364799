#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;

const SOURCE: &str = "use partial
use import
import 'other.zed'
/** who */
definition user {}
caveat on_day(day string) { day == '' }
partial shared { relation owner: user; permission own = (owner) }
definition document {
  ...shared
  relation parent: document | folder#view with on_day
  /* may see */
  permission view: user = own + parent->view - nil
}";

fn outline() -> Outline {
    let other = "definition folder { relation viewer: user; permission view = viewer }";
    Outline::read(SOURCE, Some(&|path| if path == "other.zed" { Ok(other.to_owned()) } else { Err("no".to_owned()) }))
}

fn described(outline: &Outline, symbol: usize) -> String {
    let one = &outline.symbols()[symbol];
    let parent = one.parent.map(|parent| format!("{}#", outline.symbols()[parent].name)).unwrap_or_default();
    let file =
        outline.files()[outline.name_at(one).file].path.clone().map(|path| format!("{path}: ")).unwrap_or_default();
    format!("{file}{:?} {parent}{}", one.kind, one.name)
}

/// The name around the `nth` occurrence of `text`, and what it means.
fn meaning(text: &str, nth: usize) -> (String, Vec<String>) {
    let outline = outline();
    let offset = SOURCE.match_indices(text).nth(nth).unwrap().0;
    let (bytes, symbols) = outline.meaning(offset).unwrap();
    let mut found: Vec<_> = symbols.into_iter().map(|symbol| described(&outline, symbol)).collect();
    found.sort();
    (SOURCE[bytes].to_owned(), found)
}

#[test]
fn names_mean_what_they_name() {
    for (text, nth, word, expected) in [
        ("user", 0, "user", vec!["Definition user"]),
        ("user", 1, "user", vec!["Definition user"]),
        ("user =", 0, "user", vec!["Definition user"]),
        ("owner)", 0, "owner", vec!["Relation shared#owner"]),
        ("shared\n", 0, "shared", vec!["Partial shared"]),
        ("folder", 0, "folder", vec!["other.zed: Definition folder"]),
        ("view with", 0, "view", vec!["other.zed: Permission folder#view"]),
        ("on_day\n", 0, "on_day", vec!["Caveat on_day"]),
        ("view:", 0, "view", vec!["Permission document#view"]),
        ("own +", 0, "own", vec!["Permission shared#own"]),
        ("parent->", 0, "parent", vec!["Relation document#parent"]),
        ("view -", 0, "view", vec!["Permission document#view", "other.zed: Permission folder#view"]),
    ] {
        let expected = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(meaning(text, nth), (word.to_owned(), expected), "{text}");
    }
    assert!(outline().meaning(SOURCE.find("nil").unwrap()).is_none());
    assert!(outline().meaning(SOURCE.len() + 9).is_none());
}

#[test]
fn symbols_have_their_text_and_comment() {
    let outline = outline();
    let found = |name: &str| outline.symbols().iter().find(|symbol| symbol.name == name).unwrap();
    assert_eq!(outline.text(found("user")), "definition user {}");
    assert_eq!(found("user").doc, "/** who */");
    assert_eq!(outline.text(found("view")), "permission view: user = own + parent->view - nil");
    assert_eq!(found("view").doc, "/* may see */");
    assert_eq!(outline.text(found("own")), "permission own = (owner)");
    assert!(outline.text(found("document")).ends_with("- nil\n}"));
    assert_eq!(outline.text(found("on_day")), "caveat on_day(day string) { day == '' }");
}

#[test]
fn references_say_whether_they_mean_one_thing_alone() {
    let outline = outline();
    let references = |described_as: &str| {
        let index = (0..outline.symbols().len()).find(|index| described(&outline, *index) == described_as).unwrap();
        let found = outline.references(index).into_iter();
        found
            .map(|(at, alone)| format!("{}:{}{}", at.file, at.bytes.start, if alone { "" } else { "?" }))
            .collect::<Vec<_>>()
    };
    let at = |text: &str| SOURCE.find(text).unwrap();
    assert_eq!(references("Relation shared#owner"), [format!("0:{}", at("owner)"))]);
    assert_eq!(references("Permission document#view"), [format!("0:{}?", at("view -"))]);
    assert_eq!(references("Definition user").len(), 3);
    assert_eq!(references("Partial shared"), [format!("0:{}", at("shared\n"))]);
}

#[test]
fn imports_lead_to_their_files() {
    let outline = outline();
    let file = outline.import_at(SOURCE.find("other").unwrap()).unwrap();
    assert_eq!(outline.files()[file].path.as_deref(), Some("other.zed"));
    assert_eq!(&SOURCE[outline.import_of("other.zed").unwrap()], "'other.zed'");
    assert_eq!(outline.import_at(0), None);
    assert_eq!(outline.import_of("none.zed"), None);
}

#[test]
fn what_can_be_read_of_a_broken_text_is_there() {
    let source =
        "definition user {}\ndefinition doc {\n relation one: user\n permission two = one +\n permission three = one";
    let outline = Outline::read(source, None);
    let names: Vec<_> = outline.symbols().iter().map(|symbol| symbol.name.as_str()).collect();
    assert_eq!(names, ["user", "doc", "one", "three"]);
    assert!(Outline::read(&"x".repeat(SCHEMA_BYTES_MAX + 1), None).symbols().is_empty());
}
