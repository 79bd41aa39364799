//! The stories beside the examples, told by the binary: each ends with an error where what happens is not what it tells.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::process::Command;

use stonetown_tests::server::binary;

fn tell(story: &str) -> Result<String, String> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(story);
    let told = Command::new("bash").arg(script).env("STONETOWN", binary().map_err(|error| error.to_string())?).output();
    let told = told.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    if told.status.success() { Ok(text) } else { Err(format!("{text}\n{}", String::from_utf8_lossy(&told.stderr))) }
}

#[test]
fn an_agent_has_the_access_of_its_task() {
    let told = tell("agent-task.sh").unwrap_or_else(|error| panic!("{error}"));
    assert!(told.contains("approved") && told.contains("records, "), "{told}");
}

#[test]
fn a_build_server_writes_staging_and_never_production() {
    let told = tell("build-server.sh").unwrap_or_else(|error| panic!("{error}"));
    assert!(told.contains("the credential has expired"), "{told}");
}

#[test]
fn an_emergency_is_reviewed() {
    let told = tell("on-call.sh").unwrap_or_else(|error| panic!("{error}"));
    assert!(told.contains("has not been reviewed"), "{told}");
}

#[test]
fn a_story_that_differs_from_what_happens_ends_with_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    std::fs::copy(examples.join("story.sh"), folder.path().join("story.sh")).unwrap();
    let told = std::fs::read_to_string(examples.join("build-server.sh")).unwrap();
    let turned = told.replace("denied database:shop write build:main", "allowed database:shop write build:main");
    assert_ne!(told, turned);
    let script = folder.path().join("turned.sh");
    std::fs::write(&script, turned).unwrap();
    let told = tell(script.to_str().unwrap());
    assert!(told.is_err_and(|told| told.contains("the story differs")));
}
