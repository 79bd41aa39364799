//! The preload shim takes away what was not synced, and nothing else.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use stonetown_tests::crash::{compile, compile_shim, rollback, shim_environment};

#[test]
fn only_what_was_synced_survives() {
    let directory = tempfile::tempdir().unwrap();
    let (root, record) = (directory.path().join("root"), directory.path().join("record"));
    std::fs::create_dir(&root).unwrap();
    std::fs::create_dir(&record).unwrap();
    std::fs::write(root.join("from-before"), "untouched").unwrap();
    compile_shim(&directory.path().join("unsynced.so")).unwrap();
    let probe = directory.path().join("probe");
    compile(&["-D_GNU_SOURCE"], "probe.c", &probe).unwrap();

    let status = Command::new(&probe).arg(&root).envs(shim_environment(directory.path(), 0)).status().unwrap();
    assert_eq!(status.signal(), Some(9), "{status}");
    rollback::to_last_sync(&root, &record).unwrap();

    let expected = [
        ("appended", "kept"),
        ("directory", "<directory>"),
        ("from-before", "untouched"),
        ("old-name", "here"),
        ("overwritten", "0123456789"),
        ("overwritten-and-synced", "012XX56789"),
        ("replaced", "old"),
        ("replaced-and-synced", "new"),
        ("truncated", "whole"),
        ("unlinked", "back"),
        ("written-back-only", ""),
    ];
    let expected: BTreeMap<String, String> = expected.map(|(name, text)| (name.to_owned(), text.to_owned())).into();
    assert_eq!(contents(&root), expected);
    assert_eq!(std::fs::read_dir(&record).unwrap().count(), 0, "the record is used up");
}

fn contents(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let text = if path.is_dir() {
            let inside = contents(&path);
            assert!(inside.is_empty(), "{inside:?} in {}", path.display());
            "<directory>".to_owned()
        } else {
            std::fs::read_to_string(&path).unwrap()
        };
        found.insert(path.file_name().unwrap().to_string_lossy().into_owned(), text);
    }
    found
}
