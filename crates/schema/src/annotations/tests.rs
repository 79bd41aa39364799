#![allow(clippy::unwrap_used, clippy::panic)]
use crate::testing::{compile, compiled, errors, refused};
use crate::{ParameterSource, SchemaErrorKind};

const BODY: &str = "caveat rule(now timestamp, peer_ip ipaddress, env string) {\n\
                    now > timestamp(\"2020-01-01T00:00:00Z\") && env != \"\" && peer_ip.in_cidr(\"10.0.0.0/8\")\n}";

/// The sources of `rule` under a comment, as `parameter=source`.
fn sources(comment: &str) -> Vec<String> {
    let schema = compiled(&format!("{comment}\n{BODY}"));
    let again = compiled(&schema.text());
    assert_eq!(again, schema, "the canonical text says the same");
    schema.caveats()[0].given().map(|(name, source)| format!("{name}={source}")).collect()
}

#[test]
fn a_caveat_says_who_gives_its_parameters() {
    let all = ["now=server(now)", "peer_ip=server(peer_ip)", "env=trusted(resource.env)"];
    assert_eq!(sources("/** @stonetown server(now, peer_ip) trusted(resource.env) */"), all);
    assert_eq!(
        sources(
            "// In the office.\n/**\n * Only there.\n * @stonetown server(now)\n * @stonetown server(peer_ip) trusted(resource.env)\n */"
        ),
        all
    );
    assert_eq!(sources("// @stonetown server( now ,peer_ip )trusted( env : resource . env )"), all);
    assert_eq!(sources("/* @stonetown trusted(env: subject.home_2) */"), ["env=trusted(subject.home_2)"]);
    assert_eq!(sources("/* @stonetown stored(env) */"), ["env=stored"]);
    assert_eq!(sources("/* @stonetown server(now) */ /* @stonetown server(peer_ip) */"), all[..2]);
    let schema = compiled(&format!("// @stonetown server(now)\n{BODY}"));
    assert_eq!(schema.caveats()[0].source("now"), Some(&ParameterSource::Now));
    assert_eq!(schema.caveats()[0].source("env"), None);
    assert_eq!(schema.caveats()[0].source("other"), None);
}

#[test]
fn other_words_are_somebodys_comment() {
    for comment in
        ["/** @deprecated server(now) */", "// mail@stonetown.example", "// @stonetown-ignore: this", "// stonetown"]
    {
        assert!(sources(comment).is_empty(), "{comment}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error_at_its_place() {
    let cases = [
        ("// @stonetown", "1:14", "", "the name of an annotation"),
        (
            "// @stonetown serve(now)",
            "1:15",
            "serve",
            "unknown annotation `serve`; above a caveat there are: server, stored, trusted",
        ),
        ("/** @stonetown server */", "1:16", "server", "names at least one parameter"),
        ("/** @stonetown server() */", "1:23", ")", "an argument"),
        ("/** @stonetown server(now */", "1:27", "", "`,` or `)`"),
        ("/** @stonetown server(now); */", "1:27", ";", "the name of an annotation"),
        ("/** @stonetown: server(now) */", "1:15", ":", "the name of an annotation"),
        ("/** @stonetown server(time) */", "1:23", "time", "gives `now` and `peer_ip`"),
        ("/** @stonetown server(at: now) */", "1:23", "at: now", "has no parameter `at`"),
        (
            "/** @stonetown server(env: now) */",
            "1:23",
            "env: now",
            "`now` is a timestamp, but parameter `env` a string",
        ),
        ("/** @stonetown server(now, now) */", "1:28", "now", "a source twice"),
        ("/** @stonetown stored(other) */", "1:23", "other", "has no parameter `other`"),
        ("/** @stonetown stored(env: now) */", "1:23", "env: now", "`stored` takes the names of parameters"),
        ("/** @stonetown trusted(env) */", "1:24", "env", "takes `resource.ATTRIBUTE` and `subject.ATTRIBUTE`"),
        ("/** @stonetown trusted(caller.env) */", "1:24", "caller.env", "takes `resource.ATTRIBUTE`"),
        ("/** @stonetown trusted(env: resource.Env) */", "1:24", "env: resource.Env", "invalid attribute"),
        ("/** @stonetown trusted(env: resource.a.b) */", "1:24", "env: resource.a.b", "invalid attribute"),
    ];
    for (comment, position, code, message) in cases {
        refused(SchemaErrorKind::Parse, &[(&format!("{comment}\n{BODY}"), position, code, message)]);
    }
}

#[test]
fn an_annotation_that_guards_nothing_is_an_error() {
    let stands = "an annotation stands in the comments right before a declaration";
    for (text, place) in [
        ("definition user {} // @stonetown server(now)", "1:23"),
        ("definition user {\n // @stonetown server(now)\n}", "2:5"),
        ("use expiration // @stonetown server(now)\ndefinition user {}", "1:19"),
        ("caveat one(a /* @stonetown server(a) */ int) { a > 0 }", "1:17"),
    ] {
        assert_eq!(errors(text), [format!("{place}: {stands}")], "{text}");
    }
    for (text, above) in [
        ("// @stonetown server(now)\ndefinition user {}", "a definition there are: enumerate_as"),
        (
            "definition user {\n// @stonetown server(now)\nrelation other: user }",
            "a relation there are: audit, enumerate_as, requires",
        ),
        (
            "definition user {\n/* @stonetown server(now) */ permission none = nil }",
            "a permission there are: audit, enumerate_as",
        ),
    ] {
        let found = errors(text);
        assert!(found.len() == 1 && found[0].contains(&format!("above {above}")), "{found:?}");
    }
}

#[test]
fn a_name_is_the_requests_or_it_is_not() {
    let other = "caveat zone(env string) { env == \"\" }";
    let text = format!("// @stonetown trusted(resource.env)\n{BODY}\n{other}");
    let message = "parameter `env` of caveat `zone` is given by requests, but has a source in caveat `rule`";
    refused(SchemaErrorKind::Type, &[(&text, "5:13", "env", message)]);
    compiled(&text.replace("zone(env string)", "zone(own string)").replace("{ env ==", "{ own =="));
    compiled(&text.replace("caveat zone", "// @stonetown trusted(subject.env)\ncaveat zone"));
}

#[test]
fn reserved_names_cannot_be_defined() {
    for text in ["definition stonetown/attribute {}", "caveat stonetown/value(a int) { a > 0 }"] {
        let errors = compile(text).unwrap_err();
        assert!(errors[0].message.contains("names that begin with `stonetown/` are reserved"), "{errors:?}");
    }
}
