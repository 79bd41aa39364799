//! Texts that are made to hurt: each is a schema or a clear error, soon and on a small stack.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use stonetown_schema::{
    ARROW_TYPES_MAX, CAVEAT_PARAMETERS_MAX, CAVEATS_MAX, CompileOptions, ERRORS_MAX, EXPRESSION_TERMS_MAX, Expression,
    MEMBERS_MAX, MESSAGE_CHARACTERS_MAX, NESTING_MAX, SCHEMA_BYTES_MAX, Schema, SchemaError, format, lint,
};

fn compile(source: &str) -> Result<Schema, Vec<SchemaError>> {
    // Debug builds need more stack than release builds; this is a quarter of what a thread gets.
    std::thread::scope(|scope| {
        let work = || Schema::compile(source, &CompileOptions::default());
        std::thread::Builder::new().stack_size(512 * 1024).spawn_scoped(scope, work).unwrap().join().unwrap()
    })
}

fn message(source: &str) -> String {
    compile(source).unwrap_err()[0].message.clone()
}

fn permission(expression: &str) -> String {
    format!("definition user {{}}\ndefinition doc {{\n relation rel: user\n permission perm = {expression}\n}}")
}

#[test]
fn nesting_at_the_limit_passes_and_one_past_it_does_not() {
    let parens = |depth: usize| permission(&format!("{}rel{}", "(".repeat(depth), ")".repeat(depth)));
    assert!(compile(&parens(NESTING_MAX)).is_ok());
    assert!(message(&parens(NESTING_MAX + 1)).contains("nested"));

    let exclusions = |depth: usize| permission(&vec!["rel"; depth].join(" - "));
    let schema = compile(&exclusions(NESTING_MAX)).unwrap();
    assert_eq!(compile(&schema.text()).unwrap(), schema);
    assert!(message(&exclusions(NESTING_MAX + 1)).contains("nested"));

    // To the right, so that each step needs a parenthesis in the canonical text as well.
    let alternating = |depth: usize| {
        let (mut text, mut close) = (String::new(), String::new());
        for step in 0..depth - 1 {
            text.push_str(["rel - (", "rel & (", "rel + ("][step % 3]);
            close.push(')');
        }
        permission(&format!("{text}rel{close}"))
    };
    let schema = compile(&alternating(NESTING_MAX)).unwrap();
    assert_eq!(compile(&schema.text()).unwrap(), schema);
    assert!(compile(&alternating(NESTING_MAX + 1)).is_err());

    let types = |depth: usize| {
        format!("caveat one(list {}int{}) {{ size(list) > 0 }}", "list<".repeat(depth - 1), ">".repeat(depth - 1))
    };
    assert!(message(&types(NESTING_MAX + 1)).contains("nested"));
}

#[test]
fn endless_openers_end() {
    for opener in
        ["(", "{", "[", "/*", "'", "\"", "<", "definition ", "caveat a(", "...", "relation ", "->", "a/", "use "]
    {
        let many = opener.repeat(SCHEMA_BYTES_MAX / 4 / opener.len());
        for source in [
            many.clone(),
            permission(&many),
            format!("caveat one(list list<{many}"),
            format!("caveat one(day string) {{ {many}"),
            format!("definition doc {{ relation {many}"),
        ] {
            let errors = compile(&source).unwrap_err();
            assert!(errors.len() <= ERRORS_MAX);
            assert!(format(&source).is_err() || opener == "/*");
        }
    }
}

#[test]
fn wide_expressions_are_flat() {
    let schema = compile(&permission(&vec!["rel"; 100_000].join("+"))).unwrap();
    let Expression::Union(operands) = &schema.definition("doc").unwrap().permission("perm").unwrap().expression else {
        panic!("not a union")
    };
    assert_eq!(operands.len(), 100_000);
    assert_eq!(compile(&schema.text()).unwrap(), schema);

    let source = permission(&vec!["rel"; EXPRESSION_TERMS_MAX + 1].join("&"));
    assert!(message(&source).contains(&EXPRESSION_TERMS_MAX.to_string()));
}

#[test]
fn arrows_over_relations_of_many_types_are_bounded() {
    let types = 1_000;
    let with_arrows = |arrows: usize| {
        let mut source: String = (0..types).map(|number| format!("definition one{number} {{}}\n")).collect();
        let allowed: Vec<String> = (0..types).map(|number| format!("one{number}")).collect();
        let arrows = vec!["rel->all"; arrows].join("+");
        source
            .push_str(&format!("definition doc {{ relation rel: {}; permission perm = {arrows} }}", allowed.join("|")));
        source
    };
    assert!(compile(&with_arrows(ARROW_TYPES_MAX / types)).is_ok());
    assert!(message(&with_arrows(ARROW_TYPES_MAX / types + 1)).contains(&ARROW_TYPES_MAX.to_string()));
}

#[test]
fn a_text_beyond_the_limit_is_refused_before_it_is_read() {
    let comment = |length: usize| format!("//{}", " ".repeat(length - 2));
    assert!(compile(&comment(SCHEMA_BYTES_MAX)).is_ok());
    assert!(message(&comment(SCHEMA_BYTES_MAX + 1)).contains(&SCHEMA_BYTES_MAX.to_string()));
    assert!(format(&comment(SCHEMA_BYTES_MAX + 1)).is_err());
}

#[test]
fn a_text_that_grows_beyond_the_limit_in_its_canonical_form_is_refused() {
    // Each line of the comment gains a tab and a space.
    let source =
        format!("definition doc {{\n/*\n{}*/\nrelation doc: doc\n}}", "*\n".repeat(SCHEMA_BYTES_MAX / 2 - 100));
    assert!(message(&source).contains("canonical"));
}

#[test]
fn partials_cannot_multiply_without_bound() {
    let mut source = String::from("use partial\ndefinition user {}\npartial part0 { relation rel: user }\n");
    for number in 1..60 {
        source.push_str(&format!("partial part{number} {{ ...part{0}; ...part{0} }}\n", number - 1));
    }
    assert!(message(&source).contains(&MEMBERS_MAX.to_string()));

    let doc = "*".repeat(1_000_000);
    let mut source = format!("use partial\ndefinition user {{}}\npartial part {{ /*{doc}*/ relation rel: user }}\n");
    for number in 0..1_000 {
        source.push_str(&format!("definition doc{number} {{ ...part }}\n"));
    }
    assert!(message(&source).contains("copied too often"));
}

#[test]
fn many_members_and_definitions_are_quick() {
    let mut source = String::from("definition user {}\n");
    for number in 0..MEMBERS_MAX / 2 {
        source.push_str(&format!("definition doc{number} {{ relation rel: user | user:*; permission perm = rel }}\n"));
    }
    let schema = compile(&source).unwrap();
    assert_eq!(schema.definitions().len(), MEMBERS_MAX / 2 + 1);
    assert!(lint(&source, &CompileOptions::default()).unwrap().is_empty());

    let mut source = String::from("definition user {}\ndefinition doc {\nrelation rel0: user\n");
    for number in 1..MEMBERS_MAX {
        source.push_str(&format!("permission rel{number} = rel{}\n", number - 1));
    }
    source.push('}');
    assert!(compile(&source).is_ok());
    let circle = source.replace("relation rel0: user", &format!("permission rel0 = rel{}", MEMBERS_MAX - 1));
    assert_eq!(message(&circle).chars().count(), MESSAGE_CHARACTERS_MAX);
    let more = source.replace("definition user {}", "definition user { relation one: user }");
    assert!(message(&more).contains(&MEMBERS_MAX.to_string()));
}

#[test]
fn caveats_have_one_to_twenty_parameters() {
    let caveat = |count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("par{number}")).collect();
        let parameters: Vec<String> = names.iter().map(|name| format!("{name} int")).collect();
        format!("caveat one({}) {{ {} > 0 }}", parameters.join(", "), names.join(" + "))
    };
    assert!(compile(&caveat(1)).is_ok());
    assert!(compile(&caveat(CAVEAT_PARAMETERS_MAX)).is_ok());
    assert!(message(&caveat(0)).contains("0 parameters"));
    assert!(message(&caveat(CAVEAT_PARAMETERS_MAX + 1)).contains("21 parameters"));
}

#[test]
fn annotations_are_checked_within_a_bound() {
    let mut source = String::from("use typechecking\ndefinition user {}\ndefinition doc {\nrelation rel0: user\n");
    for number in 1..10_000 {
        source.push_str(&format!("permission rel{number}: user = rel{}\n", number - 1));
    }
    source.push('}');
    assert!(message(&source).contains("annotations reach too far"));
}

#[test]
fn caveats_are_bounded_in_number() {
    let caveats =
        |count: usize| (0..count).map(|number| format!("caveat one{number}(a bool) {{ a }}\n")).collect::<String>();
    assert!(compile(&caveats(CAVEATS_MAX)).is_ok());
    assert!(message(&caveats(CAVEATS_MAX + 1)).contains(&CAVEATS_MAX.to_string()));
}

#[test]
fn long_names_are_cut_in_messages() {
    let name = "a".repeat(1_000_000);
    for source in [
        format!("definition {name} {{"),
        format!("use {name}"),
        format!("definition doc {{ permission {name} = nil }}"),
        format!("caveat one({name} int, {name} int) {{ true }}"),
        format!("use import\nimport '{name}'"),
    ] {
        for error in compile(&source).unwrap_err() {
            let texts =
                [Some(&error.message), Some(&error.source_code), error.definition.as_ref(), error.member.as_ref()];
            assert!(texts.into_iter().flatten().all(|text| text.chars().count() <= MESSAGE_CHARACTERS_MAX));
        }
    }
}
