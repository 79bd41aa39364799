//! Runs every example.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use stonetown_authorizer::validation::ValidationFile;

#[test]
fn every_policy_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    run_all(folder);
    let library = folder.join("library");
    let tested = run_all(&library);
    let files = std::fs::read_dir(&library).unwrap().map(|entry| entry.unwrap().path());
    let caveats = files.filter(|path| path.extension().is_some_and(|extension| extension == "zed")).count();
    assert_eq!(tested, caveats, "each file of the library has its validation file");
}

/// Runs the validation files of a folder and says how many there are.
fn run_all(folder: &Path) -> usize {
    let mut run = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).map_err(|error| error.to_string());
        let report = ValidationFile::parse(&text, &read).unwrap().run().unwrap();
        assert!(report.failures.is_empty(), "{}: {:#?}", path.display(), report.failures);
        assert!(report.passed > 0, "{} asserts nothing", path.display());
        run += 1;
    }
    assert!(run > 0, "there are examples");
    run
}

#[test]
fn the_embedded_program_tells_its_story() {
    let output = Command::new(env!("CARGO_BIN_EXE_embedded")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert_eq!(text, "may agent:7 restart container:web-1? Member\nmay agent:8 restart container:web-1? NotMember\n");
}
