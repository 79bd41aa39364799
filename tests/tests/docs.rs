//! What the documentation shows is run: commands, programs and policies. `stonetown_tests::pages` says how a page is written for it.
//! With `UPDATE_DOCS=1` what differs is written into the pages; look at what changed.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use stonetown_authorizer::validation::ValidationFile;
use stonetown_tests::pages::session::Difference;
use stonetown_tests::pages::{Page, region, session};
use stonetown_tests::server::{binary, root};

/// Pages that are run at the same time.
const SESSIONS: usize = 4;

#[test]
fn commands_do_what_their_pages_say() {
    let binary = binary().unwrap().canonicalize().unwrap();
    let python = python();
    let pages = pages();
    let run = |page: &Page| match session::run(page, &binary, python.as_deref()) {
        Ok(differences) => describe(page, differences),
        Err(error) => vec![format!("{}: {error:#}", page.path.display())],
    };
    let run = &run;
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let parts = pages.chunks(pages.len().div_ceil(SESSIONS));
        let running: Vec<_> =
            parts.map(|part| scope.spawn(move || part.iter().flat_map(run).collect::<Vec<_>>())).collect();
        running.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn programs_on_pages_are_those_that_are_run() {
    let mut wrong = Vec::new();
    for page in pages() {
        let mut changes = Vec::new();
        for block in &page.blocks {
            let Some(source) = block.attribute("file") else { continue };
            let (file, name) = source.split_once('#').unwrap_or((source, ""));
            let text = region(&root().join(file), name).unwrap();
            if text != page.text(block) {
                wrong.push(format!("{}:{}: not what is in {source}", page.path.display(), block.lines.start));
                changes.push((block.lines.clone(), text));
            }
        }
        update(&page, changes);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A call has a section with its name, in which it is made in each language, and by HTTP.
#[test]
fn every_call_has_its_example() {
    for (page, proto, routes) in [
        ("schema", "v1/schema_service", "/v1/schema/"),
        ("permissions", "v1/permission_service", "/v1/"),
        ("watch", "v1/watch_service", "/v1/watch"),
        ("experimental", "v1/experimental_service", "/v1/experimental/"),
        ("materialize", "materialize/v0/relationships", "/authzed.api.materialize.v0.RelationshipsService/"),
        ("materialize", "materialize/v0/watchpermissions", "/authzed.api.materialize.v0.WatchPermissionsService/"),
        (
            "materialize",
            "materialize/v0/watchpermissionsets",
            "/authzed.api.materialize.v0.WatchPermissionSetsService/",
        ),
    ] {
        let text = std::fs::read_to_string(root().join(format!("docs/api/{page}.md"))).unwrap();
        let proto = std::fs::read_to_string(root().join(format!("proto/authzed/api/{proto}.proto"))).unwrap();
        let calls: Vec<&str> =
            proto.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split('(').next()).collect();
        assert!(!calls.is_empty(), "{page}: no calls");
        for call in calls {
            let (_, section) =
                text.split_once(&format!("\n## {call}\n")).unwrap_or_else(|| panic!("{page}: no {call}"));
            let section = section.split("\n## ").next().unwrap();
            for language in ["python", "js", "go", "java"] {
                assert!(section.contains(&format!("```{language} file=")), "{page}: {call} in {language}");
            }
            assert!(section.contains(&format!("curl -s 127.0.0.1:50051{routes}")), "{page}: {call} over HTTP");
        }
    }
}

#[test]
fn policies_on_pages_hold() {
    let mut run = 0;
    for page in pages() {
        for block in page.blocks.iter().filter(|block| block.language == "yaml") {
            let text = page.text(block);
            if !text.lines().any(|line| line.starts_with("schema:")) {
                continue;
            }
            let place = format!("{}:{}", page.path.display(), block.lines.start);
            let nothing_else = |name: &str| Err(format!("{name} is not in the page"));
            let report = ValidationFile::parse(&text, &nothing_else).unwrap().run().unwrap();
            assert!(report.failures.is_empty(), "{place}: {:#?}", report.failures);
            assert!(report.passed > 0, "{place}: asserts nothing");
            run += 1;
        }
    }
    assert!(run > 0, "there are policies");
}

#[test]
fn no_command_escapes() {
    for page in pages() {
        for block in &page.blocks {
            let language = block.language.as_str();
            let place = format!("{}:{}", page.path.display(), block.lines.start);
            assert!(!["bash", "shell", "zsh"].contains(&language), "{place}: `sh` and `console` are what is run");
        }
        for (number, line) in page.lines.iter().enumerate() {
            let in_block = page.blocks.iter().any(|block| block.lines.contains(&number));
            let command = ["    stonetown ", "    curl ", "    zed "].iter().any(|start| line.starts_with(start));
            assert!(in_block || !command, "{}:{}: an indented command is not run", page.path.display(), number + 1);
        }
    }
}

fn describe(page: &Page, differences: Vec<Difference>) -> Vec<String> {
    let of = |difference: &Difference| {
        let command = &page.lines[difference.line];
        format!("{}:{}: `{command}` {}", page.path.display(), difference.line + 1, difference.text)
    };
    let described = differences.iter().map(of).collect();
    update(page, differences.into_iter().filter_map(|difference| difference.output).collect());
    described
}

fn update(page: &Page, changes: Vec<(std::ops::Range<usize>, String)>) {
    if std::env::var_os("UPDATE_DOCS").is_some() && !changes.is_empty() {
        page.replace(changes).unwrap();
    }
}

/// The README and all of `docs`, but for what is about the past.
fn pages() -> Vec<Page> {
    let mut paths = vec![root().join("README.md")];
    let mut folders = vec![root().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("decisions") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| Page::read(path).unwrap()).collect()
}

/// Where the programs of the environment with the Python client are; none, said aloud, where it cannot be made.
#[allow(clippy::explicit_write, reason = "the macros are captured when a test passes")]
fn python() -> Option<PathBuf> {
    let script = root().join("scripts/venv.sh").canonicalize().unwrap();
    let output = Command::new(script).arg(root().join("tests/clients/python/requirements.txt")).output().unwrap();
    if output.status.success() {
        return Some(Path::new(String::from_utf8_lossy(&output.stdout).trim()).to_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    writeln!(std::io::stderr(), "skipped: what pages show with the Python client: {why}").unwrap();
    None
}
