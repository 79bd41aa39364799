//! What a shell is offered where a command line goes on.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

use stonetown_tests::client::Client;
use stonetown_tests::home::{Home, out};
use stonetown_tests::server::{KEY, Server, Store, binary};

const SCHEMA: &str = "definition user {}
definition group { relation member: user | group#member }
definition document {
  relation viewer: user | group#member
  relation banned: user
  permission view = viewer - banned
}";

/// The words that `line` can go on with, as fish is told them: without what they mean, and without flags.
async fn offered(home: &Home, line: &str) -> Vec<String> {
    let words: Vec<_> = ["--"].into_iter().chain(line.split(' ')).collect();
    let answer = home.command(&words).env("STONETOWN_COMPLETE", "fish").output().await.unwrap();
    let words = out(&answer).lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>();
    words.into_iter().filter(|word| !word.starts_with('-')).collect()
}

async fn home_with_server() -> (Home, Server) {
    let home = Home::new();
    let server = Server::start(&binary().unwrap(), Store::Memory, &[], &[]).await.unwrap();
    let mut client = Client::connect(&server.address).await.unwrap();
    client.write_schema(SCHEMA).await.unwrap();
    let all = ["document:plan#viewer@user:ann", "document:play#viewer@group:eng#member", "group:eng#member@user:bob"];
    client.write_all(&all.map(|one| one.parse().unwrap())).await.unwrap();
    out(&home.run(&["context", "set", "dev", &server.address, KEY]).await);
    (home, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_come_from_the_server() {
    let (home, server) = home_with_server().await;
    for (line, expected) in [
        ("stonetown permission check d", vec!["document:"]),
        ("stonetown permission check document:pl", vec!["document:plan", "document:play"]),
        ("stonetown permission check document:plan ", vec!["banned", "view", "viewer"]),
        ("stonetown permission check document:plan v", vec!["view", "viewer"]),
        ("stonetown permission check document:plan view user:", vec!["user:ann", "user:bob"]),
        ("stonetown permission check document:plan view group:eng#", vec!["group:eng#member"]),
        ("stonetown permission lookup-resources do", vec!["document"]),
        ("stonetown permission lookup-resources document vie", vec!["view", "viewer"]),
        ("stonetown permission lookup-subjects document:plan view group#", vec!["group#member"]),
        ("stonetown permission bulk document:plan#vi", vec!["document:plan#view", "document:plan#viewer"]),
        ("stonetown permission bulk document:plan#view@us", vec!["document:plan#view@user:"]),
        ("stonetown relationship create document:plan v", vec!["viewer"]),
        ("stonetown relationship read group:", vec!["group:eng"]),
        ("stonetown relationship watch g", vec!["group"]),
        ("stonetown --context d", vec!["dev"]),
        ("stonetown schema copy dev d", vec!["dev"]),
        ("stonetown relationship bulk-d", vec!["bulk-delete"]),
    ] {
        assert_eq!(offered(&home, line).await, expected, "{line}");
    }
    // The server that the line names, not the one in use.
    let other = Server::start(&binary().unwrap(), Store::Memory, &[], &[]).await.unwrap();
    Client::connect(&other.address).await.unwrap().write_schema("definition robot {}").await.unwrap();
    let line = format!("stonetown --endpoint {} --token {KEY} permission lookup-resources ", other.address);
    assert_eq!(offered(&home, &line).await, ["robot"]);
    drop(server);
    assert_eq!(offered(&home, "stonetown permission check d").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bash_completes_words_with_colons() {
    let (home, _server) = home_with_server().await;
    for (line, expected) in [
        ("stonetown permission check document:pl", "plan play"),
        ("stonetown permission check document:plan vi", "view viewer"),
        ("stonetown permission check document:plan view us", "user:"),
        ("stonetown permission bulk document:plan#view@user:", "ann bob"),
        ("stonetown relationship bulk-d", "bulk-delete"),
    ] {
        let program = binary().unwrap();
        let script = format!(
            "PATH={}:$PATH; source <(stonetown completion bash); COMP_LINE='{line}' COMP_POINT={} COMP_CWORD=1; \
             _complete_stonetown; echo \"${{COMPREPLY[*]}}\"",
            program.parent().unwrap().display(),
            line.len(),
        );
        let mut bash = home.command(&[]);
        bash = {
            let mut shell = tokio::process::Command::new("bash");
            shell.args(["-c", &script]).envs(bash.as_std().get_envs().filter_map(|(name, value)| Some((name, value?))));
            shell
        };
        assert_eq!(out(&bash.output().await.unwrap()).trim(), expected, "{line}");
    }
}
