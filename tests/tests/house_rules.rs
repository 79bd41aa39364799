//! The rules of the house that a compiler does not hold: who may depend on whom, no file left out, no dead link, a page
//! for each error.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use stonetown_api::proto::authzed::api::v1::ErrorReason;
use stonetown_tests::server::root;

/// The table in ARCHITECTURE.md: crate, then the crates it may use and the foreign ones it must never see.
#[test]
fn crates_depend_only_on_what_the_architecture_allows() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")).map(|row| row.split('|').collect::<Vec<_>>());
    let allowed: BTreeMap<String, BTreeSet<String>> =
        rows.map(|cells| (cells[0].trim().trim_matches('`').to_owned(), names_in(cells[2]))).collect();
    assert!(allowed.len() >= 10, "the table of crates was not found");

    for package in packages() {
        let name = package["name"].as_str().unwrap();
        if ["stonetown-tests", "stonetown-benches", "stonetown-examples"].contains(&name) {
            continue;
        }
        let name = name.strip_prefix("stonetown-").unwrap();
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for `{name}`"));
        for used in dependencies(&package).filter_map(|used| used.strip_prefix("stonetown-").map(str::to_owned)) {
            assert!(allowed.contains(&used), "`{name}` uses `{used}`, which ARCHITECTURE.md does not allow");
        }
    }
}

#[test]
fn deciding_crates_know_no_transport_and_no_store() {
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        let forbidden: &[&str] = match name.strip_prefix("stonetown-").unwrap() {
            "tuple" | "caveat" | "schema" => &["tokio", "tonic", "prost", "axum", "rocksdb", "parking_lot"],
            "storage" | "graph" | "audit" | "authorizer" => &["tokio", "tonic", "prost", "axum", "rocksdb"],
            "storage-rocksdb" => &["tokio", "tonic", "prost", "axum"],
            "api" => &["rocksdb"],
            _ => continue,
        };
        for used in dependencies(&package) {
            assert!(!forbidden.contains(&used.as_str()), "`{name}` uses `{used}`");
        }
    }
}

#[test]
fn every_source_file_is_a_module() {
    let mut left_out = Vec::new();
    for file in files(&root(), "rs") {
        let Some((source, inside)) = split_at_src(&file) else { continue };
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_root = inside.components().count() == 1 && ["lib", "main"].contains(&name.as_str());
        if is_root || inside.starts_with("bin") {
            continue;
        }
        let folder = inside.parent().unwrap();
        let parents = if folder.as_os_str().is_empty() {
            vec![source.join("lib.rs"), source.join("main.rs")]
        } else {
            vec![source.join(folder).with_extension("rs"), source.join(folder).join("mod.rs")]
        };
        let declaration = format!("mod {name};");
        let is_named = parents.iter().any(|parent| {
            std::fs::read_to_string(parent)
                .is_ok_and(|text| text.lines().any(|line| line.trim().ends_with(&declaration)))
        });
        if !is_named {
            left_out.push(file);
        }
    }
    assert!(left_out.is_empty(), "no module names {left_out:?}");
}

#[test]
fn links_in_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for file in files(&root(), "md") {
        let text = std::fs::read_to_string(&file).unwrap();
        for target in link_targets(&text) {
            let path = target.split('#').next().unwrap();
            if target.contains("://") || target.starts_with("mailto:") || path.is_empty() {
                continue;
            }
            if !file.parent().unwrap().join(path).exists() {
                broken.push(format!("{}: {target}", file.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_error_reason_has_a_page_with_cause_and_remedy() {
    let folder = root().join("docs/reference/errors");
    let index = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let mut pages = BTreeSet::from(["README.md".to_owned()]);
    for reason in (0..).map_while(|number| ErrorReason::try_from(number).ok()) {
        let name = reason.as_str_name();
        let page = format!("{}.md", name.strip_prefix("ERROR_REASON_").unwrap().to_lowercase().replace('_', "-"));
        let text = std::fs::read_to_string(folder.join(&page)).unwrap_or_else(|_| panic!("no page {page}"));
        assert!(text.starts_with(&format!("# {name}\n")), "{page}: another title");
        assert!(
            text.contains("\n## Cause\n\n") && text.contains("\n## Remedy\n\n"),
            "{page}: cause or remedy is missing"
        );
        assert!(index.contains(&format!("({page})")), "README.md does not list {page}");
        pages.insert(page);
    }
    assert!(pages.len() > 30);
    for file in files(&folder, "md") {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(pages.contains(&name), "{name} is about no reason");
    }
}

/// The tables of docs/security.md: the last cell names files, each followed by functions in it that are tests.
#[test]
fn every_test_that_the_page_about_security_names_exists() {
    let text = std::fs::read_to_string(root().join("docs/security.md")).unwrap();
    let (mut named, mut wrong) = (0, Vec::new());
    for row in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---")) {
        let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
        let cell = cells[cells.len() - 1];
        if cell == "test" {
            continue;
        }
        let mut source = None;
        for name in cell.split('`').skip(1).step_by(2) {
            named += 1;
            if name.contains('/') {
                source = std::fs::read_to_string(root().join(name)).ok();
                if source.is_none() {
                    wrong.push(format!("no file {name}"));
                }
            } else if !source.as_deref().is_some_and(|source| has_test(source, name)) {
                wrong.push(format!("no test {name}: {}", cells[0]));
            }
        }
        if source.is_none() && !cells.iter().any(|cell| cell.contains("not there yet")) {
            wrong.push(format!("neither a test nor the word that there is none: {row}"));
        }
    }
    assert!(named > 100, "the tables were not found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Whether a function is a test, or one of the suite that every data store passes.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let declared = lines.iter().position(|line| line.contains(&format!("fn {name}(")));
    declared.is_some_and(|at| {
        let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
        lines[at].contains("(make: Make<") || attributes.into_iter().any(|line| line.contains("test"))
    })
}

/// What is tested is what is released: arithmetic that overflows is found in tests, and would go on with another number elsewhere.
#[test]
fn arithmetic_is_checked_in_releases() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, release) = manifest.split_once("\n[profile.release]\n").unwrap();
    let own = release.split("\n[").next().unwrap();
    assert!(own.lines().any(|line| line == "overflow-checks = true"), "{own}");
}

#[test]
fn lockfiles_name_no_registry() {
    for file in files(&root(), "json").into_iter().filter(|file| file.ends_with("package-lock.json")) {
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("\"resolved\""), "{}: npm install with omit-lockfile-registry-resolved", file.display());
    }
}

/// A second's look; `clients/generate.sh --check` compares the code itself.
#[test]
fn clients_are_generated_from_the_protos_as_they_are() {
    let protos = root().join("proto");
    let mut sources = files(&protos.join("stonetown"), "proto");
    sources.push(protos.join("authzed/api/v1/error_reason.proto"));
    let line = |file: &PathBuf| {
        let digest = ring::digest::digest(&ring::digest::SHA256, &std::fs::read(file).unwrap());
        let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{digest}  {}", file.strip_prefix(&protos).unwrap().display())
    };
    let there: BTreeSet<_> = sources.iter().map(line).collect();
    let recorded = std::fs::read_to_string(root().join("clients/protos.sha256")).unwrap();
    let recorded: BTreeSet<_> = recorded.lines().map(str::to_owned).collect();
    let differing: Vec<_> = there.symmetric_difference(&recorded).collect();
    assert!(
        differing.is_empty(),
        "the protos have changed: run clients/generate.sh and commit what it writes: {differing:#?}"
    );
}

fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// What a package is built from; what only its tests use does not count.
fn dependencies(package: &Value) -> impl Iterator<Item = String> {
    let all = package["dependencies"].as_array().unwrap().iter();
    all.filter(|used| used["kind"].is_null()).map(|used| used["name"].as_str().unwrap().to_owned())
}

fn names_in(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// All files of an extension, but for what is built or installed.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                if !name.starts_with('.') && !["target", "node_modules", "data"].contains(&name.as_str()) {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// `crates/x/src/a/b.rs` as `crates/x/src` and `a/b.rs`.
fn split_at_src(file: &Path) -> Option<(PathBuf, PathBuf)> {
    let source = file.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "src"))?;
    Some((source.to_owned(), file.strip_prefix(source).ok()?.to_owned()))
}

/// What stands in `](…)`, outside of code blocks.
fn link_targets(text: &str) -> Vec<String> {
    let mut in_code = false;
    let mut targets = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if !in_code {
            targets.extend(line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned));
        }
    }
    targets
}
