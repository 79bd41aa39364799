//! `stonetown lsp` as an editor runs it.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

struct Editor {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    next: u64,
}

impl Editor {
    fn start() -> Editor {
        let mut process = Command::new(env!("CARGO_BIN_EXE_stonetown"))
            .arg("lsp")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        Editor { process, input, output, next: 0 }
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        write!(self.input.as_mut().unwrap(), "Content-Length: {}\r\n\r\n{text}", text.len()).unwrap();
    }

    fn tell(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let id = self.next;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        let answer = self.receive();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    fn receive(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the server closed its output");
            match line.trim_end().split_once(": ") {
                Some(("Content-Length", value)) => length = value.parse().unwrap(),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        self.output.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// Its exit code and what it said on standard error.
    fn end(mut self) -> (i32, String) {
        drop(self.input.take());
        let mut said = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.process.wait().unwrap().code().unwrap(), said)
    }
}

#[test]
fn a_session_from_initialize_to_exit() {
    let mut editor = Editor::start();
    let answer = editor.ask("initialize", json!({ "processId": null, "rootUri": null, "capabilities": {} }));
    let capabilities = &answer["result"]["capabilities"];
    for provider in ["hoverProvider", "definitionProvider", "documentFormattingProvider", "documentSymbolProvider"] {
        assert_eq!(capabilities[provider], true, "{provider}");
    }
    assert_eq!(answer["result"]["serverInfo"]["name"], "stonetown");
    editor.tell("initialized", json!({}));

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("user.zed"), "/** who */\ndefinition user {}").unwrap();
    let uri = format!("file://{}/main.zed", folder.path().display());
    let text = "use import\nimport 'user.zed'\n// 😀\ndefinition doc { /* 😀 */ relation rel: usr }";
    let document = json!({ "uri": uri, "languageId": "authzed", "version": 1, "text": text });
    editor.tell("textDocument/didOpen", json!({ "textDocument": document }));
    let published = editor.receive();
    assert_eq!(published["method"], "textDocument/publishDiagnostics");
    let found = &published["params"]["diagnostics"];
    assert_eq!(found[0]["range"]["start"], json!({ "line": 3, "character": 40 }));

    let range = json!({ "start": { "line": 3, "character": 40 }, "end": { "line": 3, "character": 43 } });
    let changes = json!([{ "range": range, "text": "user" }]);
    editor.tell(
        "textDocument/didChange",
        json!({ "textDocument": { "uri": uri, "version": 2 }, "contentChanges": changes }),
    );
    assert_eq!(editor.receive()["params"]["diagnostics"], json!([]));

    let place = json!({ "textDocument": { "uri": uri }, "position": { "line": 3, "character": 42 } });
    let hover = editor.ask("textDocument/hover", place.clone());
    assert!(hover["result"]["contents"]["value"].as_str().unwrap().ends_with("who"), "{hover}");
    let definition = editor.ask("textDocument/definition", place.clone());
    assert_eq!(definition["result"][0]["uri"], format!("file://{}/user.zed", folder.path().display()));
    let completion = editor.ask("textDocument/completion", place);
    assert_eq!(completion["result"]["items"][1]["label"], "user");
    let refused = editor.ask("textDocument/none", json!({}));
    assert_eq!(refused["error"]["code"], -32601);

    assert_eq!(editor.ask("shutdown", Value::Null)["result"], Value::Null);
    editor.tell("exit", Value::Null);
    assert_eq!(editor.end(), (0, String::new()));
}

#[test]
fn a_session_that_breaks_off_says_why() {
    let mut editor = Editor::start();
    editor.ask("initialize", json!({ "capabilities": {} }));
    editor.tell("exit", Value::Null);
    let (code, said) = editor.end();
    assert!(code == 1 && said.contains("shutdown"), "{said}");

    let mut editor = Editor::start();
    editor.input.as_mut().unwrap().write_all(b"Content-Length: 9\r\n\r\nnot JSON!").unwrap();
    let (code, said) = editor.end();
    assert!(code == 1 && said.contains("cannot be read"), "{said}");

    // An editor that is gone needs no words.
    assert_eq!(Editor::start().end(), (0, String::new()));
}
