//! The examples of the language's reference.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use stonetown_schema::{CompileOptions, Schema, format, lint};

#[test]
fn the_example_of_the_reference_compiles_and_is_well_formatted() {
    let page = include_str!("../../../docs/schema-language.md");
    let example = page.split("```zed save=policy.zed\n").nth(1).unwrap().split("```\n").next().unwrap();
    let options = CompileOptions::default();
    Schema::compile(example, &options).unwrap_or_else(|errors| panic!("{}", errors[0].render(example)));
    assert_eq!(format(example).unwrap(), example);
    assert_eq!(lint(example, &options).unwrap(), []);
}
