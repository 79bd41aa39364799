#![allow(clippy::unwrap_used, clippy::panic)]
use crate::testing::{compile, compiled, doc, errors, refused};
use crate::{CompileOptions, Schema, SchemaErrorKind};

#[test]
fn a_schema_is_found_by_name_and_sorted() {
    let schema = compiled(
        "definition zebra {} caveat two(b int) { b > 0 } /* first */ definition ant { relation zoo: zebra
        // counted
        permission all = zoo } caveat one(a int) { a > 0 }",
    );
    let names: Vec<&str> = schema.definitions().iter().map(|definition| definition.name.as_str()).collect();
    assert_eq!(names, ["ant", "zebra"]);
    let names: Vec<&str> = schema.caveats().iter().map(|caveat| caveat.name.as_str()).collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(schema.caveat("two").unwrap().caveat.expression(), "b > 0");
    assert!(schema.caveat("three").is_none() && schema.definition("lion").is_none());
    let ant = schema.definition("ant").unwrap();
    assert_eq!(ant.doc, "/* first */");
    assert_eq!(ant.permission("all").unwrap().doc, "// counted");
    assert!(ant.relation("all").is_none() && ant.permission("zoo").is_none());
    let members: Vec<&str> = ant.members().map(|member| member.name().as_str()).collect();
    assert_eq!(members, ["zoo", "all"]);
    assert_eq!(ant.member("all").unwrap().name().as_str(), "all");
    assert!(ant.member("none").is_none());
}

#[test]
fn an_empty_text_is_an_empty_schema() {
    for source in ["", "\n\n", "// nothing", "use self", ";"] {
        let schema = compiled(source);
        assert!(schema.definitions().is_empty() && schema.text().is_empty());
    }
}

#[test]
fn names_have_their_patterns() {
    refused(
        SchemaErrorKind::Parse,
        &[
            ("definition do {}", "1:12", "do", "invalid object type `do`"),
            ("definition Doc {}", "1:12", "Doc", "invalid object type"),
            ("definition 1doc {}", "1:12", "1doc", "invalid object type"),
            ("definition döc {}", "1:12", "döc", "invalid object type"),
            ("definition a/document {}", "1:12", "a/document", "invalid object type"),
            ("definition doc {\nrelation re: doc\n}", "2:10", "re", "invalid relation `re`"),
            ("definition doc {\nrelation rel_: doc\n}", "2:10", "rel_", "invalid relation"),
            ("definition doc {\nrelation rel: Doc\n}", "2:15", "Doc", "invalid object type"),
            ("definition doc {\nrelation rel: doc#Rel\n}", "2:19", "Rel", "invalid relation"),
            ("definition doc {\nrelation rel: doc with ünd\n}", "2:24", "ünd", "invalid caveat name"),
            ("definition doc {\npermission P = nil\n}", "2:12", "P", "invalid relation"),
            ("definition doc {\npermission per = Foo\n}", "2:18", "Foo", "invalid relation"),
            ("definition doc {\npermission per = Foo->bar\n}", "2:18", "Foo", "invalid relation"),
            ("definition doc {\npermission per = foo->Bar\n}", "2:23", "Bar", "invalid relation"),
            ("caveat ünd(a int) { a > 0 }", "1:8", "ünd", "invalid caveat name"),
        ],
    );
}

#[test]
fn definitions_and_caveats_are_unique() {
    refused(
        SchemaErrorKind::Parse,
        &[
            ("definition doc {}\ndefinition doc {}", "2:12", "doc", "already taken"),
            ("caveat one(a int) { a > 0 }\ncaveat one(a int) { a > 1 }", "2:8", "one", "already taken"),
        ],
    );
    compiled("definition one {}\ncaveat one(a int) { a > 0 }");
}

#[test]
fn caveats_are_compiled_and_errors_in_them_have_a_place() {
    let source = "definition doc {}\ncaveat one(a int) {\n  a > 0 &&\n  missing > 1\n}";
    let error = &compile(source).unwrap_err()[0];
    assert_eq!(error.kind, SchemaErrorKind::Parse);
    assert_eq!(error.definition.as_deref(), Some("one"));
    assert_eq!((error.span.start_line, error.span.start_column), (3, 2), "{error}");

    for (source, position, message) in [
        ("caveat one(a int, a int) { a > 0 }", "1:19", "parameter `a` is there twice"),
        ("caveat one(a number) { a > 0 }", "1:14", "number"),
        ("caveat one(a list) { a > 0 }", "1:14", "list"),
        ("caveat one(a map<int, int>) { a > 0 }", "1:14", "map"),
        ("caveat one(a int<int>) { a > 0 }", "1:14", "int"),
        ("caveat one(a int) { a }", "1:", ""),
        ("caveat one(a int) { }", "1:", ""),
        ("caveat one(a int) { a > }", "1:", ""),
    ] {
        let found = errors(source);
        assert!(found[0].starts_with(position) && found[0].contains(message), "{source}: {found:?}");
        assert_eq!(compile(source).unwrap_err()[0].kind, SchemaErrorKind::Parse);
    }
}

#[test]
fn every_type_of_parameter_is_known() {
    let types = [
        "any",
        "bool",
        "string",
        "int",
        "uint",
        "double",
        "bytes",
        "duration",
        "timestamp",
        "ipaddress",
        "list<string>",
        "map<list<any>>",
    ];
    let parameters: Vec<String> = types.iter().enumerate().map(|(n, one)| format!("par{n} {one}")).collect();
    let used: Vec<String> = (0..types.len()).map(|n| format!("par{n} == par{n}")).collect();
    let schema = compiled(&format!("caveat all({}) {{ {} }}", parameters.join(", "), used.join(" && ")));
    assert!(schema.text().starts_with(&format!("caveat all({}) {{\n\t", parameters.join(", "))));
}

#[test]
fn prefixes_can_be_required() {
    let options = CompileOptions { prefixes_required: true, ..CompileOptions::default() };
    let source = "definition ten/user {}\ncaveat ten/one(a int) { a > 0 }\n\
                  definition ten/doc { relation rel: ten/user with ten/one }";
    assert!(Schema::compile(source, &options).is_ok());
    let found = Schema::compile(&source.replace("ten/", ""), &options).unwrap_err();
    let named: Vec<&str> = found.iter().map(|error| error.source_code.as_str()).collect();
    assert_eq!(named, ["user", "one", "doc", "user", "one"]);
    assert!(found[0].message.contains("needs a prefix"));
    assert!(compile(&source.replace("ten/", "")).is_ok());
}

#[test]
fn types_are_checked_only_once_all_can_be_read() {
    let found = compile(&doc("relation bad: nobody\nrelation Bad: user")).unwrap_err();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, SchemaErrorKind::Parse);
}
