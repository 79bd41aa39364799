//! A session without a process around it.
#![allow(clippy::unwrap_used, clippy::panic)]

use serde_json::{Value, json};

use super::*;

const URI: &str = "file:///nowhere/schema.zed";
const SCHEMA: &str = "use partial

/** who */
definition user {}

// 😀 a group
definition group {
	relation member: user | group#member
}

partial shared {
	relation owner: user
}

definition document {
	...shared
	relation parent: document | group
	permission view = owner + parent->view + parent->member
}
";

struct Client {
    session: Session,
    next: i32,
}

impl Client {
    fn new() -> Client {
        let mut client = Client { session: Session::default(), next: 0 };
        let answer = client.ask("initialize", json!({ "capabilities": {} }));
        assert_eq!(answer["capabilities"]["textDocumentSync"], 2);
        client.tell("initialized", json!({}));
        client
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let request = Request { id: self.next.into(), method: method.to_owned(), params };
        serde_json::to_value(self.session.answer(request)).unwrap()
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        let answer = self.request(method, params);
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].clone()
    }

    /// The diagnostics that follow, by document.
    fn tell(&mut self, method: &str, params: Value) -> Vec<(String, Vec<Value>)> {
        let messages = self.session.notice(Notification { method: method.to_owned(), params });
        let published = messages.into_iter().map(|message| {
            let Message::Notification(Notification { params, .. }) = message else { panic!("{message:?}") };
            (params["uri"].as_str().unwrap().to_owned(), params["diagnostics"].as_array().unwrap().clone())
        });
        published.collect()
    }

    fn open(&mut self, uri: &str, text: &str) -> Vec<(String, Vec<Value>)> {
        let document = json!({ "uri": uri, "languageId": "zed", "version": 1, "text": text });
        self.tell("textDocument/didOpen", json!({ "textDocument": document }))
    }

    /// Asks about the `nth` place that begins with `marker`.
    fn at(&mut self, method: &str, text: &str, marker: &str, nth: usize) -> Value {
        let offset = text.match_indices(marker).nth(nth).unwrap_or_else(|| panic!("no {marker}")).0;
        let position = position::Lines::new(text).position(text, offset);
        self.ask(
            method,
            json!({ "textDocument": { "uri": URI }, "position": position, "context": { "includeDeclaration": true } }),
        )
    }
}

/// `line:character`, from 0, of the start of each range.
fn starts(locations: &Value) -> Vec<String> {
    let locations = locations.as_array().unwrap().iter();
    locations.map(|one| format!("{}:{}", one["range"]["start"]["line"], one["range"]["start"]["character"])).collect()
}

#[test]
fn errors_and_warnings_are_published() {
    let mut client = Client::new();
    assert_eq!(client.open(URI, "definition user {}"), [(URI.to_owned(), vec![])]);
    let published = client.open(URI, "// 😀\ndefinition doc { /* 😀 */ relation rel: usr }");
    let found = &published[0].1[0];
    assert_eq!(
        found["range"],
        json!({ "start": { "line": 1, "character": 40 }, "end": { "line": 1, "character": 43 } })
    );
    assert_eq!((&found["severity"], &found["source"]), (&json!(1), &json!("stonetown")));
    assert!(found["message"].as_str().unwrap().contains("`usr`, which is not defined"), "{found}");

    let published = client.open(URI, "definition doc {\n relation doc: doc }");
    let found = &published[0].1[0];
    assert_eq!((&found["severity"], &found["code"]), (&json!(2), &json!("relation-name-references-parent")));
    assert_eq!(found["range"]["start"], json!({ "line": 1, "character": 10 }));

    let change = json!({ "range": { "start": { "line": 1, "character": 10 }, "end": { "line": 1, "character": 13 } }, "text": "top" });
    let params = json!({ "textDocument": { "uri": URI, "version": 2 }, "contentChanges": [change] });
    assert_eq!(client.tell("textDocument/didChange", params), [(URI.to_owned(), vec![])]);
    let closed = client.tell("textDocument/didClose", json!({ "textDocument": { "uri": URI } }));
    assert_eq!(closed, [(URI.to_owned(), vec![])]);
    assert!(client.session.documents.0.is_empty());
}

#[test]
fn hover_shows_text_and_comment() {
    let mut client = Client::new();
    client.open(URI, SCHEMA);
    let mut hover = |marker, nth| {
        let answer = client.at("textDocument/hover", SCHEMA, marker, nth);
        answer["contents"]["value"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(hover("user | group", 0), "```zed\ndefinition user {}\n```\n\nwho");
    assert_eq!(
        hover("group\n", 1),
        "```zed\ndefinition group {\n\trelation member: user | group#member\n}\n```\n\n😀 a group"
    );
    assert_eq!(hover("member\n}", 0), "```zed\nrelation member: user | group#member\n```\n\nof `group`");
    assert_eq!(hover("owner +", 0), "```zed\nrelation owner: user\n```\n\nof `shared`");
    assert!(hover("view + ", 0).contains("permission view = owner"));
    assert_eq!(hover("definition user", 0), "");
}

#[test]
fn names_lead_to_their_declarations_and_back() {
    let mut client = Client::new();
    client.open(URI, SCHEMA);
    let mut definition = |marker, nth| starts(&client.at("textDocument/definition", SCHEMA, marker, nth));
    assert_eq!(definition("user | group", 0), ["3:11"]);
    assert_eq!(definition("member\n}", 0), ["7:10"]);
    assert_eq!(definition("shared\n", 0), ["10:8"]);
    assert_eq!(definition("member\n}\n", 1), ["7:10"]);
    assert_eq!(definition("view +", 0), ["17:12"]);
    assert_eq!(client.at("textDocument/definition", SCHEMA, "use partial", 0), Value::Null);
    let references = client.at("textDocument/references", SCHEMA, "member:", 0);
    assert_eq!(starts(&references), ["7:10", "7:31", "17:50"]);
    let references = client.at("textDocument/references", SCHEMA, "owner +", 0);
    assert_eq!(starts(&references), ["11:10", "17:19"]);
}

#[test]
fn renaming_changes_every_use_or_nothing() {
    let mut client = Client::new();
    client.open(URI, SCHEMA);
    let mut rename = |marker: &str, name: &str| {
        let offset = SCHEMA.find(marker).unwrap();
        let position = position::Lines::new(SCHEMA).position(SCHEMA, offset);
        let params = json!({ "textDocument": { "uri": URI }, "position": position, "newName": name });
        let answer = client.request("textDocument/rename", params);
        match answer["error"]["message"].as_str() {
            Some(refusal) => vec![refusal.to_owned()],
            None => starts(&answer["result"]["changes"][URI]),
        }
    };
    assert_eq!(rename("member:", "insider"), ["7:10", "7:31", "17:50"]);
    assert_eq!(rename("group#", "team"), ["6:11", "7:25", "16:29"]);
    assert_eq!(rename("shared {", "common"), ["10:8", "15:4"]);
    for (marker, name, reason) in [
        ("member:", "no name", "invalid relation"),
        ("member:", "nil", "then "),
        ("owner:", "parent", "then "),
        ("member:", "view", "something else has this name"),
        ("user {}", "group", "then "),
    ] {
        let refusal = rename(marker, name);
        assert!(refusal[0].contains(reason), "{marker} to {name}: {refusal:?}");
    }
    assert!(client.at("textDocument/prepareRename", SCHEMA, "member:", 0)["start"].is_object());
    assert_eq!(client.at("textDocument/prepareRename", SCHEMA, "definition user", 0), Value::Null);
}

#[test]
fn completion_replaces_the_word_that_was_begun() {
    let mut client = Client::new();
    let text = SCHEMA.replace("+ parent->member", "+ parent->mem");
    client.open(URI, &text);
    let answer = client.at("textDocument/completion", &text, "\n}\n", 2);
    let items = answer["items"].as_array().unwrap();
    let labels: Vec<_> = items.iter().map(|item| item["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["member", "owner", "parent", "view"]);
    let range = &items[0]["textEdit"]["range"];
    assert_eq!((&range["start"]["character"], &range["end"]["character"]), (&json!(50), &json!(53)));
    assert!(items[0]["documentation"]["value"].as_str().unwrap().contains("relation member: user"));
}

#[test]
fn the_document_is_laid_out_and_outlined() {
    let mut client = Client::new();
    let untidy = "definition user{}\ndefinition doc{relation rel:user}";
    client.open(URI, untidy);
    let params = json!({ "textDocument": { "uri": URI }, "options": { "tabSize": 4, "insertSpaces": true } });
    let edits = client.ask("textDocument/formatting", params.clone());
    assert_eq!(edits[0]["newText"], "definition user {}\n\ndefinition doc {\n\trelation rel: user\n}\n");
    assert_eq!(
        edits[0]["range"],
        json!({ "start": { "line": 0, "character": 0 }, "end": { "line": 1, "character": 33 } })
    );
    client.open(URI, SCHEMA);
    assert_eq!(client.ask("textDocument/formatting", params.clone()), json!([]));
    client.open(URI, "definition {");
    assert_eq!(client.ask("textDocument/formatting", params), Value::Null);

    client.open(URI, SCHEMA);
    let symbols = client.ask("textDocument/documentSymbol", json!({ "textDocument": { "uri": URI } }));
    let names = |symbols: &Value| -> Vec<String> {
        symbols.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&symbols), ["user", "group", "document", "shared"]);
    assert_eq!(names(&symbols[2]["children"]), ["parent", "view"]);
}

#[test]
fn the_schema_in_a_validation_file_is_served_too() {
    let mut client = Client::new();
    let uri = "file:///nowhere/test.yaml";
    let text = "schema: |-\n  definition user {}\n  definition doc{\n    relation rel:usr\n  }\n\nrelationships: |-\n  doc:1#rel@user:1\n";
    let published = client.open(uri, text);
    assert_eq!(published[0].1[0]["range"]["start"], json!({ "line": 3, "character": 17 }));
    let params = json!({ "textDocument": { "uri": uri }, "options": { "tabSize": 4, "insertSpaces": true } });
    let edits = client.ask("textDocument/formatting", params);
    assert_eq!(edits[0]["newText"], "  definition user {}\n\n  definition doc {\n  \trelation rel: usr\n  }\n");
    assert_eq!(
        edits[0]["range"],
        json!({ "start": { "line": 1, "character": 0 }, "end": { "line": 5, "character": 0 } })
    );
    let question = json!({ "textDocument": { "uri": uri }, "position": { "line": 7, "character": 3 } });
    assert_eq!(client.ask("textDocument/hover", question), Value::Null);
    assert_eq!(client.open("file:///nowhere/other.yaml", "a: b")[0].1, Vec::<Value>::new());
}

#[test]
fn imports_are_read_from_open_documents_and_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("user.zed"), "definition user {}").unwrap();
    let mut client = Client::new();
    let (main, user) = (folder.path().join("main.zed"), folder.path().join("user.zed"));
    let (main, user) = (address::from_path(&main).unwrap(), address::from_path(&user).unwrap());
    let text = "use import\nimport 'user.zed'\ndefinition doc { relation rel: user }";
    assert_eq!(client.open(&main, text), [(main.clone(), vec![])]);
    // What changes in an import, saved or not, shows where it is imported.
    let published = client.open(&user, "definition nobody {}");
    let of_main = &published.iter().find(|(uri, _)| *uri == main).unwrap().1;
    assert!(of_main[0]["message"].as_str().unwrap().contains("`user`, which is not defined"), "{published:?}");
    let published = client.open(&user, "definition user {");
    let of_main = &published.iter().find(|(uri, _)| *uri == main).unwrap().1;
    assert_eq!(of_main[0]["range"]["start"], json!({ "line": 1, "character": 7 }));
    assert!(of_main[0]["message"].as_str().unwrap().starts_with("user.zed:1:18: "), "{published:?}");
    let closed = client.tell("textDocument/didClose", json!({ "textDocument": { "uri": user } }));
    assert_eq!(closed, [(main.clone(), vec![]), (user.clone(), vec![])]);

    let place = |line: u32, character: u32| json!({ "textDocument": { "uri": main }, "position": { "line": line, "character": character } });
    let found = client.ask("textDocument/definition", place(2, 31));
    assert_eq!((found[0]["uri"].as_str().unwrap(), starts(&found)), (&*user, vec!["0:11".to_owned()]));
    let found = client.ask("textDocument/definition", place(1, 9));
    assert_eq!((found[0]["uri"].as_str().unwrap(), starts(&found)), (&*user, vec!["0:0".to_owned()]));
    let refused = client.request(
        "textDocument/rename",
        json!({ "textDocument": { "uri": main }, "position": { "line": 2, "character": 31 }, "newName": "person" }),
    );
    assert!(refused["error"]["message"].as_str().unwrap().contains("another file"), "{refused}");
    // A document that is no file imports nothing.
    let published = client.open("untitled:1", text);
    assert!(published.iter().any(|(uri, found)| uri == "untitled:1" && found.len() == 1), "{published:?}");
}

#[test]
fn the_session_has_its_order() {
    let mut client = Client { session: Session::default(), next: 0 };
    let code = |answer: Value| answer["error"]["code"].as_i64();
    assert_eq!(code(client.request("textDocument/hover", json!({}))), Some(-32002));
    assert!(client.open(URI, "definition").is_empty());
    client.ask("initialize", json!({ "capabilities": {} }));
    assert_eq!(code(client.request("textDocument/unknown", json!({}))), Some(-32601));
    assert_eq!(code(client.request("textDocument/hover", json!({ "position": 1 }))), Some(-32602));
    let nowhere = json!({ "textDocument": { "uri": "file:///none.zed" }, "position": { "line": 0, "character": 0 } });
    assert_eq!(client.ask("textDocument/hover", nowhere), Value::Null);
    assert!(client.tell("textDocument/didOpen", json!({ "broken": true })).is_empty());
    assert_eq!(client.ask("shutdown", Value::Null), Value::Null);
    assert_eq!(code(client.request("textDocument/hover", json!({}))), Some(-32600));
}

#[test]
fn one_document_beyond_the_limit_is_not_looked_at() {
    let mut client = Client::new();
    for number in 0..DOCUMENTS_MAX {
        client.open(&format!("untitled:{number}"), "");
    }
    assert!(client.open("untitled:more", "definition").is_empty());
    assert_eq!(client.session.documents.0.len(), DOCUMENTS_MAX);
    assert_eq!(client.open("untitled:0", "definition")[0].1.len(), 1);
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

#[test]
fn no_text_and_no_place_brings_it_down() {
    let seed = std::env::var("STONETOWN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
    });
    println!("no_text_and_no_place_brings_it_down: STONETOWN_SEED={seed}");
    let mut random = Random(seed);
    let pieces = [
        "definition ",
        "caveat ",
        "one(a int, b list<string>) {",
        " a == 1 ",
        "}",
        "{",
        "relation ",
        "permission ",
        "view",
        ": ",
        " = ",
        "user",
        "group#member",
        "->",
        ".any(",
        ".all(",
        ")",
        " + ",
        " & ",
        " - ",
        " with ",
        "and expiration",
        "use partial\n",
        "use import\n",
        "import 'a.zed'\n",
        "...",
        "partial ",
        "\n",
        "\r\n",
        "\r",
        "\t",
        "// 😀\n",
        "/* ",
        "*/",
        "ü",
        "😀",
        "\u{0}",
        "tenant/",
        "user:*",
        " | ",
        "'",
        "\"",
        "`",
        "schema: |\n",
        "  ",
        "nil",
        "self",
        ";",
        "\u{feff}",
        "\u{2028}",
    ];
    let methods = ["hover", "definition", "references", "prepareRename", "completion", "rename"];
    for round in 0..1_500 {
        let mut client = Client::new();
        let mut text = if random.below(2) == 0 { SCHEMA.to_owned() } else { String::new() };
        for _ in 0..random.below(40) {
            let at = text.floor_char_boundary(random.below(text.len() + 1));
            match random.below(5) {
                0 => text.truncate(at),
                1 if at < text.len() => _ = text.remove(at),
                _ => text.insert_str(at, pieces[random.below(pieces.len())]),
            }
        }
        let uri = ["file:///nowhere/schema.zed", "file:///nowhere/test.yaml"][round % 2];
        client.open(uri, &text);
        let mut place = || json!({ "line": random.below(25), "character": random.below(60) });
        for method in methods {
            let params = json!({ "textDocument": { "uri": uri }, "position": place(), "newName": "other", "context": { "includeDeclaration": true } });
            client.request(&format!("textDocument/{method}"), params);
        }
        client.request("textDocument/documentSymbol", json!({ "textDocument": { "uri": uri } }));
        client.request(
            "textDocument/formatting",
            json!({ "textDocument": { "uri": uri }, "options": { "tabSize": 4, "insertSpaces": true } }),
        );
        let changes = [json!({ "range": { "start": place(), "end": place() }, "text": "😀\n" })];
        client.tell(
            "textDocument/didChange",
            json!({ "textDocument": { "uri": uri, "version": 2 }, "contentChanges": changes }),
        );
    }
}
