//! `stonetown schema` on files, and against a server.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

const SCHEMA: &str =
    "definition user {}\n\ndefinition document {\n\trelation viewer: user\n\tpermission view = viewer\n}\n";

struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(self.out.lines().next().unwrap()).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

/// Runs `stonetown` in `folder`.
fn run(folder: &Path, arguments: &[&str], input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stonetown"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("STONETOWN_TOKEN")
        .env_remove("STONETOWN_ENDPOINT")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input may have ended by now.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn imports_and_partials_are_folded_into_one_schema() {
    let folder = folder(&[
        (
            "main.zed",
            "use import\nuse partial\nimport 'parts/user.zed'\npartial shared { relation viewer: user }\ndefinition document { ...shared; permission view = viewer }",
        ),
        ("parts/user.zed", "use import\nimport 'name.zed'"),
        ("parts/name.zed", "definition user {}"),
    ]);
    let expected =
        "definition document {\n\trelation viewer: user\n\tpermission view = viewer\n}\n\ndefinition user {}\n";
    let ran = run(folder.path(), &["schema", "compile", "main.zed"], "");
    assert_eq!((ran.code, &*ran.out), (0, expected), "{}", ran.err);
    let ran = run(folder.path(), &["schema", "compile", "main.zed", "--json"], "");
    assert_eq!(ran.json(), json!({ "schemaText": expected }));

    let ran = run(folder.path(), &["schema", "compile", "main.zed", "--out", "out.zed"], "");
    assert_eq!((ran.code, &*ran.out), (0, "wrote out.zed\n"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(folder.path().join("out.zed")).unwrap(), expected);
    let ran = run(folder.path(), &["schema", "compile", "main.zed", "--out", "none/out.zed"], "");
    assert!(ran.code == 1 && ran.err.contains("none/out.zed"), "{}", ran.err);
}

#[test]
fn errors_show_file_line_and_carets_also_of_what_is_imported() {
    let folder = folder(&[
        ("main.zed", "use import\nimport 'parts/doc.zed'\ndefinition user {}"),
        ("parts/doc.zed", "definition document {\n\trelation viewer: usr\n}"),
        ("broken.zed", "definition user {}\ndefinition document {\n  relation viewer\n}"),
        ("missing.zed", "use import\nimport 'nothing.zed'"),
        ("odd.zed", "use import\nimport 'parts'"),
    ]);
    let ran = run(folder.path(), &["schema", "compile", "main.zed"], "");
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("parts/doc.zed:2:19: relation `viewer` allows the type `usr`"), "{}", ran.err);
    assert!(ran.err.contains("2 | \trelation viewer: usr\n  | \t                 ^^^"), "{}", ran.err);
    let parent = folder.path().parent().unwrap();
    let name = folder.path().file_name().unwrap().to_str().unwrap();
    let ran = run(parent, &["schema", "compile", &format!("{name}/main.zed")], "");
    assert!(ran.err.contains(&format!("\n{name}/parts/doc.zed:2:19: ")), "{}", ran.err);
    let ran = run(folder.path(), &["schema", "compile", "broken.zed"], "");
    assert!(ran.err.contains("broken.zed:3:18: expected `:`"), "{}", ran.err);
    let ran = run(folder.path(), &["schema", "compile", "broken.zed", "--json"], "");
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    let problem = &error["error"]["problems"][0];
    assert_eq!((&problem["file"], &problem["line"], &problem["column"]), (&json!("broken.zed"), &json!(3), &json!(18)));
    assert_eq!((&problem["definition"], &problem["member"]), (&json!("document"), &json!("viewer")));
    let ran = run(folder.path(), &["schema", "compile", "missing.zed"], "");
    assert!(ran.code == 1 && ran.err.contains("missing.zed:2:8: `nothing.zed` cannot be imported"), "{}", ran.err);
    let ran = run(folder.path(), &["schema", "compile", "odd.zed"], "");
    assert!(
        ran.code == 1 && ran.err.contains("odd.zed:2:8: `parts` cannot be imported: it is no regular file"),
        "{}",
        ran.err
    );
    let large = "x".repeat(4 * 1024 * 1024 + 1);
    std::fs::write(folder.path().join("nothing.zed"), &large).unwrap();
    let ran = run(folder.path(), &["schema", "compile", "missing.zed"], "");
    assert!(ran.err.contains("cannot be imported: it has more than 4194304 bytes"), "{}", ran.err);
    let ran = run(folder.path(), &["schema", "compile", "-"], "definition");
    assert!(ran.code == 1 && ran.err.contains("standard input:1:11: "), "{}", ran.err);
    let ran = run(folder.path(), &["schema", "compile", "none.zed"], "");
    assert!(ran.code == 1 && ran.err.contains("`none.zed`"), "{}", ran.err);
}

#[test]
fn files_are_formatted_in_place_or_only_looked_at() {
    let untidy = "definition user{}\ndefinition document{\nrelation viewer:user\npermission view=viewer}";
    let folder = folder(&[("untidy.zed", untidy), ("tidy.zed", SCHEMA), ("broken.zed", "definition {")]);
    let ran = run(folder.path(), &["schema", "format", "--check", "untidy.zed", "tidy.zed"], "");
    assert_eq!((ran.code, &*ran.out), (1, "untidy.zed is not formatted\n"));
    assert_eq!(std::fs::read_to_string(folder.path().join("untidy.zed")).unwrap(), untidy);
    let ran = run(folder.path(), &["schema", "format", "--check", "--json", "tidy.zed"], "");
    assert_eq!((ran.code, ran.json()), (0, json!({ "file": "tidy.zed", "changed": false })));

    let ran = run(folder.path(), &["schema", "format", "untidy.zed", "tidy.zed"], "");
    assert_eq!((ran.code, &*ran.out), (0, "untidy.zed: formatted\ntidy.zed: unchanged\n"), "{}", ran.err);
    assert_eq!(std::fs::read_to_string(folder.path().join("untidy.zed")).unwrap(), SCHEMA);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");

    let ran = run(folder.path(), &["schema", "format", "-"], untidy);
    assert_eq!((ran.code, &*ran.out), (0, SCHEMA));
    let ran = run(folder.path(), &["schema", "format", "broken.zed"], "");
    assert!(ran.code == 1 && ran.err.contains("broken.zed:1:12: "), "{}", ran.err);
}

#[test]
fn lint_warns_and_can_fail_upon_warnings() {
    let odd = "definition user {}\ndefinition document {\n\trelation document: user\n}";
    let folder = folder(&[("odd.zed", odd), ("fine.zed", SCHEMA), ("broken.zed", "definition {")]);
    let ran = run(folder.path(), &["schema", "lint", "fine.zed"], "");
    assert_eq!((ran.code, &*ran.out), (0, "fine.zed: no warnings\n"));
    let ran = run(folder.path(), &["schema", "lint", "odd.zed"], "");
    assert_eq!(ran.code, 0);
    assert!(ran.out.starts_with("odd.zed:3:11: relation `document` repeats"), "{}", ran.out);
    assert!(ran.out.contains("[relation-name-references-parent]\n  |\n3 | \trelation document: user\n"), "{}", ran.out);
    assert!(ran.out.ends_with("odd.zed: 1 warning\n"), "{}", ran.out);
    assert_eq!(run(folder.path(), &["schema", "lint", "--fail-on-warn", "odd.zed", "fine.zed"], "").code, 1);
    assert_eq!(run(folder.path(), &["schema", "lint", "--fail-on-warn", "fine.zed"], "").code, 0);
    let ran = run(folder.path(), &["schema", "lint", "--json", "odd.zed"], "");
    let warning = &ran.json()["warnings"][0];
    assert_eq!((&warning["id"], &warning["line"]), (&json!("relation-name-references-parent"), &json!(3)));
    let ran = run(folder.path(), &["schema", "lint", "broken.zed", "fine.zed"], "");
    assert!(ran.code == 1 && ran.out.contains("broken.zed:1:12: ") && ran.out.contains("fine.zed: no"), "{}", ran.out);
}

#[test]
fn two_files_are_compared() {
    let new = SCHEMA
        .replace("= viewer", "= viewer + editor")
        .replace("viewer: user", "viewer: user:*\n\trelation editor: user");
    let folder = folder(&[("old.zed", SCHEMA), ("new.zed", &new)]);
    let ran = run(folder.path(), &["schema", "diff", "old.zed", "new.zed"], "");
    let expected = "+ relation document#editor: user
- relation document#viewer: type user
+ relation document#viewer: type user:*
~ permission document#view = viewer + editor, was viewer
";
    assert_eq!((ran.code, &*ran.out), (0, expected), "{}", ran.err);
    let ran = run(folder.path(), &["schema", "diff", "old.zed", "new.zed", "--json", "--exit-code"], "");
    assert_eq!(ran.code, 1);
    let differences = ran.json()["differences"].clone();
    assert_eq!(
        differences[3],
        json!({ "kind": "permissionExprChanged", "definition": "document", "permission": "view", "before": "viewer", "after": "viewer + editor" })
    );
    let ran = run(folder.path(), &["schema", "diff", "old.zed", "-", "--exit-code"], SCHEMA);
    assert_eq!((ran.code, &*ran.out), (0, "no differences\n"));
}

struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start() -> Server {
        let arguments =
            ["serve", "--grpc-addr", "127.0.0.1:0", "--metrics-addr", "off", "--datastore-engine", "memory"];
        let mut process = Command::new(env!("CARGO_BIN_EXE_stonetown"))
            .args(arguments)
            .args(["--grpc-preshared-key", "key"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address =
            lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("serving grpc on ")?.trim().to_owned()));
        Server { process, address: address.expect("the server did not start") }
    }

    fn run(&self, folder: &Path, arguments: &[&str], input: &str) -> Ran {
        run(folder, &[&["--endpoint", &self.address, "--token", "key"], arguments].concat(), input)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_servers_schema_is_written_compared_and_linted() {
    let server = Server::start();
    let folder = folder(&[
        ("main.zed", "use import\nimport 'user.zed'\ndefinition document { relation document: user }"),
        ("user.zed", "definition user {}"),
        ("next.zed", SCHEMA),
    ]);
    let written = server.run(folder.path(), &["schema", "write", "main.zed"], "");
    assert_eq!(written.code, 0, "{}", written.err);
    let read = server.run(folder.path(), &["schema", "read"], "");
    assert_eq!(read.out, "definition document {\n\trelation document: user\n}\n\ndefinition user {}\n");

    let ran = server.run(folder.path(), &["schema", "diff", "main.zed", "--exit-code"], "");
    assert_eq!((ran.code, &*ran.out), (0, "no differences\n"), "{}", ran.err);
    let ran = server.run(folder.path(), &["schema", "diff", "next.zed", "--exit-code"], "");
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.out,
        "- relation document#document: user\n+ relation document#viewer: user\n+ permission document#view = viewer\n"
    );
    let ran = server.run(folder.path(), &["schema", "lint", "--fail-on-warn"], "");
    assert!(ran.code == 1 && ran.out.contains("the server's schema: 1 warning"), "{}{}", ran.out, ran.err);

    let ran = server.run(folder.path(), &["schema", "write"], "definition user {}\ndefinition doc { relation }");
    assert!(ran.code == 1 && ran.err.contains("standard input:2:27: "), "{}", ran.err);
    assert_eq!(server.run(folder.path(), &["schema", "read"], "").out, read.out);
    let ran = server.run(folder.path(), &["schema", "write", "-"], SCHEMA);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(server.run(folder.path(), &["schema", "diff", "next.zed"], "").out, "no differences\n");
}
