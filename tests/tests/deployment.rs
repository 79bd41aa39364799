//! The files under `deploy/` name settings, flags and variables that exist.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use stonetown_tests::operated::run;
use stonetown_tests::server::root;

/// The settings of a server, by name.
async fn settings() -> BTreeSet<String> {
    let ended = run(&["config", "--grpc-preshared-key", "x", "--json"]).await.unwrap();
    let printed: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let settings = printed["settings"].as_array().unwrap().iter();
    let mut settings: BTreeSet<_> = settings.map(|setting| setting["key"].as_str().unwrap().to_owned()).collect();
    settings.insert("config".to_owned());
    settings
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join("deploy").join(file)).unwrap()
}

/// The words of a text that begin with a prefix, without it.
fn words_with<'t>(text: &'t str, prefix: &'t str) -> impl Iterator<Item = &'t str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.split(move |c| !is_part(c)).filter_map(move |word| word.strip_prefix(prefix)).filter(|word| !word.is_empty())
}

#[tokio::test]
async fn variables_flags_and_keys_exist() {
    let settings = settings().await;
    // Those of the client, which health checks use.
    let of_the_client = ["KEY", "CERTIFICATE_PATH", "ENDPOINT"];
    let files = [
        "Containerfile",
        "compose/compose.yaml",
        "systemd/stonetown.service",
        "helm/stonetown/templates/statefulset.yaml",
    ];
    for file in files {
        let text = read(file);
        let variables = words_with(&text, "STONETOWN_").chain(words_with(&text, "SPICEDB_"));
        for variable in variables.filter(|variable| !of_the_client.contains(variable)) {
            let key = variable.to_lowercase().replace('_', "-");
            assert!(settings.contains(&key), "{file}: there is no setting for {variable}");
        }
    }
    let unit = read("systemd/stonetown.service");
    let start = unit.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
    for flag in words_with(start, "--") {
        assert!(settings.contains(flag), "systemd: there is no flag --{flag}");
    }
    for file in ["systemd/stonetown.yaml", "helm/stonetown/templates/configmap.yaml"] {
        let text = read(file);
        let inside = text.split_once("stonetown.yaml: |").map_or(text.as_str(), |(_, inside)| inside);
        let lines = inside.lines().map(|line| line.trim_start().trim_start_matches("# "));
        let keys: Vec<_> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(key, _)| key)
            .filter(|key| !key.contains(' '))
            .collect();
        assert!(keys.len() >= 3, "{file}: {keys:?}");
        for key in keys {
            assert!(settings.contains(key), "{file}: there is no setting {key}");
        }
    }
}

#[tokio::test]
async fn the_example_configuration_is_accepted() {
    let file = root().join("deploy/systemd/stonetown.yaml");
    let ended = run(&["config", "--grpc-preshared-key", "x", "--config", file.to_str().unwrap()]).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[tokio::test]
async fn the_page_of_settings_is_that_of_the_binary() {
    let printed = run(&["config", "--markdown"]).await.unwrap().stdout;
    let page = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    assert!(printed == page, "stonetown config --markdown > docs/configuration.md");
}
