//! Secrets that were told to the server, by every way there is: none is in what it logs at any level, measures, shows or keeps.

use std::path::Path;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use stonetown_tests::home::{Home, err, out};
use stonetown_tests::http::{ask, post};
use stonetown_tests::operated::{Operated, fails_to_serve};

const CANARY: &str = "canary-7e41c9";

/// The files below a folder that contain one of these texts.
fn files_with(folder: &Path, texts: &[&str], found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_with(&path, texts, found);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let has = |text: &&&str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            found.extend(texts.iter().find(has).map(|text| format!("{}: {text}", path.display())));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged_measured_shown_or_kept() {
    let home = Home::new();
    for (level, format, names) in [("trace", "json", "STONETOWN"), ("error", "console", "SPICEDB")] {
        let keys = format!("{CANARY}-one,{CANARY}-two");
        let uri = format!("postgres://root:{CANARY}@nowhere.example/db");
        let (key_name, uri_name) = (format!("{names}_GRPC_PRESHARED_KEY"), "SPICEDB_DATASTORE_CONN_URI");
        // A flag goes before the environment: the test's own key is there for its own calls alone.
        let environment = [(key_name.as_str(), keys.as_str()), (uri_name, uri.as_str())];
        let flags = ["--log-level", level, "--log-format", format, "--log-calls", "all", "--datastore-conn-uri", &uri];
        let flagged = format!("{CANARY}-three");
        // The secret of webhooks, and a URL that is one.
        let signing = format!("whsec_{}", STANDARD.encode(format!("{CANARY}, as long as it has to be")));
        let signing_file = home.write("signing", &signing);
        let hook = format!("https://hooks.example.com/{CANARY}-hook");
        let webhook = ["--grant-webhook", &hook, "--grant-webhook-secret-file", &signing_file];
        let server =
            Operated::start_in(&environment, &[&flags[..], &webhook, &["--grpc-preshared-key", &flagged]].concat())
                .await
                .unwrap();
        let run = async |token: &str, args: &[&str]| {
            let mut command = home.command(args);
            command.env("STONETOWN_ENDPOINT", &server.grpc).env("STONETOWN_TOKEN", token).output().await.unwrap()
        };
        out(&run(&flagged, &["principal", "create", "agent-1", "--kind", "agent", "--owner", "key-1"]).await);
        let issued = out(&run(&flagged, &["credential", "issue", "agent-1"]).await);
        let issued = issued.trim();
        assert!(issued.len() > 20, "{issued}");
        out(&run(issued, &["whoami"]).await);
        out(&run(&flagged, &["credential", "list", "agent-1"]).await);
        let wrong = format!("{CANARY}-wrong");
        let refused = run(&wrong, &["whoami"]).await;
        assert!(!refused.status.success() && !format!("{}{}", out_of(&refused), err(&refused)).contains(CANARY));
        // In places that are not for it, too: what cannot be read is not told again.
        for header in ["authorization", "stonetown-store", "x-request-id"] {
            let value = format!("Bearer {CANARY}-{header}");
            let answer = post(&server.grpc, "/v1/schema/read", &[(header, &value)], "{}").await.unwrap();
            assert!(header == "x-request-id" || !format!("{answer:?}").contains(CANARY), "{header}: {answer:?}");
        }
        for path in ["/debug", "/debug/pprof", "/debug/pprof/cmdline", "/debug/vars", "/config", "/metrics", "/healthz"]
        {
            let answer = ask(&server.metrics, "GET", path, &[], "").await.unwrap();
            assert_eq!(answer.code == 200, ["/metrics", "/healthz"].contains(&path), "{path}");
            for secret in [CANARY, issued] {
                assert!(!format!("{answer:?}").contains(secret), "{path}");
            }
        }
        let folder = server.folder().to_owned();
        server.signal("TERM").unwrap();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        // The log, the data, the logs of decisions and changes, and the keys.
        let search = |texts: &[&str]| {
            let mut found = Vec::new();
            files_with(&folder, texts, &mut found);
            found
        };
        let found = search(&[
            &flagged,
            &wrong,
            &format!("{CANARY}-one"),
            &format!("{CANARY}-two"),
            &format!("{CANARY}-authorization"),
            issued,
            &uri,
            &signing,
            &hook,
        ]);
        assert!(found.is_empty(), "at level {level}: {found:#?}");
        // An id that a client chose is no secret: that it is found says that the others would be.
        let is_logged = level != "error";
        assert_eq!(search(&[&format!("{CANARY}-x-request-id")]).is_empty(), !is_logged, "at level {level}");
        drop(server);
    }
}

fn out_of(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Values that cannot be used are refused without being shown where there can be a secret in them.
#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_what_is_said_of_a_setting_that_is_wrong() {
    let home = Home::new();
    let uri = |rest: &str| format!("https://root:{CANARY}@{rest}");
    let engine = format!("postgres://root:{CANARY}@db/x");
    for flags in [
        vec!["--oidc-issuer".to_owned(), uri("idp.example.com=audience")],
        vec!["--oidc-issuer".to_owned(), uri("[broken=audience")],
        vec!["--oidc-keys".to_owned(), uri("idp.example.com=keys.json")],
        vec!["--otel-endpoint".to_owned(), uri("[broken")],
        vec!["--otel-endpoint".to_owned(), uri("127.0.0.1:4317")],
        vec!["--datastore-engine".to_owned(), engine.clone()],
        vec!["--datastore-engine".to_owned(), "postgres".to_owned(), "--datastore-conn-uri".to_owned(), engine.clone()],
        vec!["--grant-webhook".to_owned(), uri("[broken")],
        vec!["--grant-webhook".to_owned(), uri("hooks.example.com/")],
        vec!["--grpc-preshared-kee".to_owned(), CANARY.to_owned()],
        vec!["--grpc-preshared-key".to_owned(), format!("{CANARY}\n"), "--grpc-addr".to_owned(), "nowhere".to_owned()],
    ] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let ended = fails_to_serve(&flags).await.unwrap();
        assert_ne!(ended.code, Some(0), "{flags:?}");
        assert!(!format!("{}{}", ended.stdout, ended.stderr).contains(CANARY), "{flags:?}: {}", ended.stderr);
    }
    let file = home.write("config.yaml", &format!("datastore-engine: {engine}\n"));
    let ended = fails_to_serve(&["--config", &file]).await.unwrap();
    assert!(ended.code != Some(0) && !ended.stderr.contains(CANARY), "{}", ended.stderr);
    // What is in force is shown, the metrics are for this machine alone unless told otherwise, and no secret is among it.
    let uri = uri("sets.example.com");
    let shown = home.run(&["config", "--grpc-preshared-key", CANARY, "--materialize-download-url", &uri]).await;
    assert!(!format!("{}{}", out_of(&shown), err(&shown)).contains(CANARY), "{}{}", out_of(&shown), err(&shown));
    let shown = out(&home.run(&["config"]).await);
    assert!(shown.contains("127.0.0.1:9090"), "{shown}");
}
