//! Validation files that are made to take long.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use stonetown_authorizer::validation::ValidationFile;

/// Brackets that may be open at a time.
const NESTING_MAX: usize = 1_000;

fn refused(text: &str) -> String {
    let begun = Instant::now();
    let refused = ValidationFile::parse(text, &|name| Err(format!("no {name}"))).unwrap_err().to_string();
    assert!(begun.elapsed() < Duration::from_secs(5), "{refused} took {:?}", begun.elapsed());
    refused
}

#[test]
fn files_that_become_more_than_they_are_end_soon() {
    for opener in ["[", "{a: ", "[{a: "] {
        let nested = format!("schema: {}", opener.repeat(200_000));
        assert!(refused(&nested).contains("brackets are open"), "{opener}");
    }
    let at_limit = format!("schema: {}{}", "[".repeat(NESTING_MAX), "]".repeat(NESTING_MAX));
    assert!(!refused(&at_limit).contains("brackets"));
    let mut doubling = "schema: definition user {}\nassertions:\n  assertTrue: &a0 [x]\nvalidation:\n".to_owned();
    for number in 1..40 {
        doubling += &format!("  a{number}: &a{number} [*a{before}, *a{before}]\n", before = number - 1);
    }
    refused(&doubling);
    // Many brackets that are closed again are no nesting.
    let line = "  doc:d#viewer@user:u[open:{\"day\":[[1],[2]]}]\n";
    let many = format!("schema: definition user {{}}\nrelationships: |\n{}", line.repeat(2_000));
    assert_eq!(ValidationFile::parse(&many, &|_| Err(String::new())).unwrap().relationships.len(), 2_000);
}
