#![allow(clippy::unwrap_used, clippy::panic)]
use std::cell::RefCell;

use crate::testing::errors;
use crate::{CompileOptions, FILES_MAX, NESTING_MAX, Schema, SchemaError, SchemaErrorKind};

/// Compiles `source` with those files beside it; also which files were asked for.
fn compile(source: &str, files: &[(&str, &str)]) -> (Result<Schema, Vec<SchemaError>>, Vec<String>) {
    let asked = RefCell::new(Vec::new());
    let resolve = |path: &str| {
        asked.borrow_mut().push(path.to_owned());
        let file = files.iter().find(|(name, _)| *name == path);
        file.map(|(_, text)| (*text).to_owned()).ok_or_else(|| "no such file".to_owned())
    };
    let result = Schema::compile(source, &CompileOptions { imports: Some(&resolve), ..CompileOptions::default() });
    (result, asked.into_inner())
}

#[test]
fn each_file_is_read_once_relative_to_the_one_that_imports_it() {
    let (schema, asked) = compile(
        "use import\nimport './left.zed'\nimport \"sub/right.zed\"\ndefinition doc { relation rel: user | team }",
        &[
            ("left.zed", "use import\nimport 'sub/deep/user.zed'\ndefinition team {}"),
            ("sub/right.zed", "use import import './deep//user.zed' caveat one(a int) { a > 0 }"),
            ("sub/deep/user.zed", "/** someone */ definition user {}"),
        ],
    );
    assert_eq!(asked, ["left.zed", "sub/deep/user.zed", "sub/right.zed"]);
    assert_eq!(
        schema.unwrap().text(),
        "caveat one(a int) {\n\ta > 0\n}\n\n\
         definition doc {\n\trelation rel: user | team\n}\n\ndefinition team {}\n\n/** someone */\ndefinition user {}\n"
    );
}

#[test]
fn flags_hold_for_their_file_and_the_text_has_those_it_needs() {
    let source = "use import\nimport 'a.zed'\ndefinition doc { relation rel: user }";
    let files = [("a.zed", "use expiration\ndefinition user { relation rel: user with expiration }")];
    let text = compile(source, &files).0.unwrap().text();
    assert!(text.starts_with("use expiration\n\ndefinition doc {"), "{text}");

    // A name in one file, a keyword in the other: the text could not say which is which.
    let source = "use import\nimport 'a.zed'\ndefinition doc { relation and: user }";
    let found = compile(source, &files).0.unwrap_err();
    assert_eq!(found[0].to_string(), "3:27: `and` is a name here, but a keyword elsewhere in the schema");
}

#[test]
fn an_error_in_an_imported_file_names_it() {
    let text = "definition user {\n relation rel user\n}";
    let found = compile("use import\nimport 'sub/a.zed'", &[("sub/a.zed", text)]).0.unwrap_err();
    assert_eq!(found[0].file.as_deref(), Some("sub/a.zed"));
    assert!(found[0].render(text).starts_with("sub/a.zed:2:15: expected `:`"));
    assert_eq!(found[0].source_code, "user");

    let found = compile("use import\nimport 'a.zed'", &[("a.zed", "definition doc { relation rel: robot }")]).0;
    assert!(found.unwrap_err()[0].to_string().starts_with("a.zed:1:32: relation `rel` allows"));
}

#[test]
fn imports_that_cannot_be_read_are_refused() {
    for (path, message) in [
        ("missing.zed", "cannot be imported: no such file"),
        ("../up.zed", "below the folder"),
        ("a/../b.zed", "below the folder"),
        ("/etc/passwd", "below the folder"),
        ("c:\\\\x", "below the folder"),
        ("", "below the folder"),
        ("./", "below the folder"),
    ] {
        let (result, asked) = compile(&format!("use import\nimport '{path}'"), &[]);
        let found = result.unwrap_err();
        assert_eq!(found[0].kind, SchemaErrorKind::Parse);
        assert!(found[0].to_string().starts_with("2:8: ") && found[0].message.contains(message), "{}", found[0]);
        assert_eq!(asked.len(), usize::from(path == "missing.zed"));
    }
    assert!(errors("use import\nimport 'a.zed'")[0].contains("cannot be imported here"));
}

#[test]
fn cycles_are_refused() {
    let files = [("a.zed", "use import\nimport 'b.zed'"), ("b.zed", "use import\nimport 'a.zed'")];
    let found = compile("use import\nimport 'a.zed'", &files).0.unwrap_err();
    assert_eq!(found[0].to_string(), "b.zed:2:8: `a.zed` imports itself: a.zed -> b.zed -> a.zed");
}

#[test]
fn definitions_of_two_files_cannot_share_a_name() {
    let source = "use import\nimport 'a.zed'\ndefinition user {}";
    let found = compile(source, &[("a.zed", "definition user {}")]).0.unwrap_err();
    assert!(found[0].message.contains("already taken"));
}

#[test]
fn the_number_of_files_and_their_depth_are_bounded() {
    let deeper = |path: &str| {
        let depth: usize = path.parse().unwrap_or(0);
        Ok(format!("use import\nimport '{}'", depth + 1))
    };
    let options = CompileOptions { imports: Some(&deeper), ..CompileOptions::default() };
    let found = Schema::compile("use import\nimport '0'", &options).unwrap_err();
    assert!(found[0].message.contains(&format!("nested more than {NESTING_MAX}")));

    let empty = |_: &str| Ok(String::new());
    let options = CompileOptions { imports: Some(&empty), ..CompileOptions::default() };
    let wide = |count: usize| {
        let imports: String = (0..count).map(|number| format!("import '{number}'\n")).collect();
        Schema::compile(&format!("use import\n{imports}"), &options)
    };
    assert!(wide(FILES_MAX).is_ok());
    assert!(wide(FILES_MAX + 1).unwrap_err()[0].message.contains(&format!("more than {FILES_MAX} files")));

    let large = |_: &str| Ok(" ".repeat(crate::SCHEMA_BYTES_MAX));
    let options = CompileOptions { imports: Some(&large), ..CompileOptions::default() };
    let found = Schema::compile("use import\nimport 'a'", &options).unwrap_err();
    assert!(found[0].message.contains("bytes"));
}
