//! What the tests of several modules need.
#![allow(clippy::unwrap_used, clippy::panic)]

use crate::{CompileOptions, Schema, SchemaError, SchemaErrorKind};

pub(crate) fn compile(source: &str) -> Result<Schema, Vec<SchemaError>> {
    Schema::compile(source, &CompileOptions::default())
}

/// The schema, or a panic with the errors.
pub(crate) fn compiled(source: &str) -> Schema {
    compile(source).unwrap_or_else(|errors| panic!("{}", errors.iter().map(|e| e.render(source)).collect::<String>()))
}

/// Each error as `line:column: message`, counted from 1.
pub(crate) fn errors(source: &str) -> Vec<String> {
    match compile(source) {
        Ok(schema) => panic!("this compiled:\n{source}\n{}", schema.text()),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// Checks, for each source, that it is refused for the one reason that is given: kind, `line:column` counted from 1,
/// offending text, and a part of the message.
pub(crate) fn refused(kind: SchemaErrorKind, cases: &[(&str, &str, &str, &str)]) {
    for (source, position, source_code, message) in cases {
        let errors = compile(source).err().unwrap_or_else(|| panic!("this compiled:\n{source}"));
        let rendered: String = errors.iter().map(|error| error.render(source)).collect();
        let [error] = &*errors else { panic!("not one error in\n{source}\n{rendered}") };
        assert_eq!(error.kind, kind, "{source}\n{rendered}");
        assert!(error.to_string().starts_with(&format!("{position}: ")), "{source}\n{rendered}");
        assert_eq!(error.source_code, *source_code, "{source}\n{rendered}");
        assert!(error.message.contains(message), "{source}\n{rendered}");
    }
}

/// A definition `doc` with these members, of which `first` and `other` are relations to users.
pub(crate) fn doc(members: &str) -> String {
    format!("definition user {{}}\ndefinition doc {{\nrelation first: user\nrelation other: user\n{members}\n}}")
}
