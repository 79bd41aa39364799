//! Real schemas: those of the conformance suite, where it is at hand.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};

use serde_norway::Value;
use stonetown_schema::{CompileOptions, Schema, SchemaErrorKind, format, lint};

/// The suite named by `STONETOWN_CONFORMANCE`, or the one beside the checkout.
fn suite() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let folder = std::env::var_os("STONETOWN_CONFORMANCE").map_or_else(beside, PathBuf::from);
    folder.is_dir().then_some(folder)
}

/// A schema, and the gRPC code that writing it must end in, where the suite gives one.
struct Case {
    schema: String,
    code: Option<String>,
}

/// Every text under a key `schema`, at any depth; `code` is that of the mapping around it.
fn cases(value: &Value, code: Option<&str>, found: &mut Vec<Case>) {
    match value {
        Value::Mapping(mapping) => {
            let own = ["code", "expected"].iter().find_map(|key| mapping.get(*key)?.as_str());
            for (key, value) in mapping {
                match (key.as_str(), value.as_str()) {
                    (Some("schema"), Some(schema)) => {
                        found.push(Case { schema: schema.to_owned(), code: own.or(code).map(str::to_owned) });
                    }
                    _ => cases(value, own.or(code), found),
                }
            }
        }
        Value::Sequence(values) => values.iter().for_each(|value| cases(value, None, found)),
        _ => {}
    }
}

#[test]
fn schemas_of_the_conformance_suite_compile_and_their_text_is_a_fixpoint() {
    let Some(suite) = suite() else {
        println!("no conformance suite here: nothing was tested");
        return;
    };
    let mut tested = 0;
    for folder in ["spicedb/consistency", "spicedb/steelthread", "authzen", "api"] {
        for entry in std::fs::read_dir(suite.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.contains("golden") || name.contains("openfga") {
                continue;
            }
            // JSON is YAML.
            let value = serde_norway::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let mut found = Vec::new();
            cases(&value, None, &mut found);
            for case in found {
                match case.code.as_deref() {
                    None => compiles(&name, &case.schema),
                    Some("FAILED_PRECONDITION") => fails(&name, &case.schema, SchemaErrorKind::Type),
                    // The relationships at hand may be what is wrong, of which a schema knows nothing.
                    Some("INVALID_ARGUMENT") if Schema::compile(&case.schema, &CompileOptions::default()).is_ok() => {}
                    Some("INVALID_ARGUMENT") => fails(&name, &case.schema, SchemaErrorKind::Parse),
                    Some(code) => panic!("{name}: unexpected code {code}"),
                }
                tested += 1;
            }
        }
    }
    assert!(tested >= 60, "only {tested} schemas were found");
}

fn fails(name: &str, source: &str, kind: SchemaErrorKind) {
    let errors = Schema::compile(source, &CompileOptions::default()).unwrap_err();
    assert_eq!(errors[0].kind, kind, "{name}: {}", errors[0]);
}

fn compiles(name: &str, source: &str) {
    let options = CompileOptions::default();
    let schema = Schema::compile(source, &options)
        .unwrap_or_else(|errors| panic!("{name}:\n{}", errors.iter().map(|e| e.render(source)).collect::<String>()));
    let text = schema.text();
    let again = Schema::compile(&text, &options).unwrap_or_else(|errors| panic!("{name}: {}\n{text}", errors[0]));
    assert_eq!(schema, again, "{name}");
    assert_eq!(text, again.text(), "{name}");

    let formatted = format(source).unwrap();
    assert_eq!(format(&formatted).unwrap(), formatted, "{name}");
    assert_eq!(Schema::compile(&formatted, &options).unwrap(), schema, "{name}:\n{formatted}");
    assert_eq!(format(&text).unwrap(), text, "{name}: the canonical text is laid out as the formatter does");
    assert!(lint(source, &options).is_ok(), "{name}");
}
