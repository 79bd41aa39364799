//! Contexts: what JSON each type takes, and which of two contexts counts.

use super::{answer, caveat, context, parameters};
use crate::{Arguments, CaveatContext, ContextError, Outcome};

#[track_caller]
fn takes(parameter_type: &str, json: &str, expression: &str) {
    let declaration = format!("p {parameter_type}");
    assert_eq!(answer(&declaration, expression, &format!(r#"{{"p": {json}}}"#)), "true", "{json}");
}

#[track_caller]
fn refuses(parameter_type: &str, json: &str) -> ContextError {
    let caveat = caveat(&format!("p {parameter_type}"), "dyn(p) == dyn(p)");
    let found = context(&format!(r#"{{"p": {json}}}"#));
    assert_eq!(caveat.bind_request(&found).unwrap_err(), caveat.bind(&found).unwrap_err());
    caveat.bind(&found).unwrap_err()
}

#[test]
fn whole_numbers_are_numbers_or_decimal_strings() {
    for json in ["42", "42.0", "4.2e1", r#""42""#, r#""42.0""#] {
        takes("int", json, "p == 42 && type(p) == int");
        takes("uint", json, "p == 42 && p + 1 == 43");
    }
    takes("int", "-9223372036854775808", "p + 1 == -9223372036854775807");
    takes("int", r#""9223372036854775807""#, "p == 9223372036854775807");
    takes("uint", "18446744073709551615", "p > 9223372036854775807");
    takes("uint", r#""18446744073709551615""#, "p == 18446744073709551615u");
    for json in
        ["1.5", r#""1.5""#, r#""x""#, r#""""#, "true", "null", "[]", "1e19", r#""inf""#, r#""9223372036854775808""#]
    {
        refuses("int", json);
    }
    for json in ["-1", r#""-1""#, "1.5", "1e20"] {
        refuses("uint", json);
    }
}

#[test]
fn other_scalars() {
    takes("bool", "true", "p");
    takes("string", r#""x""#, "p == 'x'");
    takes("double", "1", "p == 1.0 && type(p) == double");
    takes("double", r#""1.5""#, "p == 1.5");
    takes("bytes", r#""AQL/""#, r"p == b'\x01\x02\xff'");
    takes("duration", r#""1h30m""#, "p == duration('90m')");
    takes("timestamp", r#""2024-01-01T01:00:00.5+01:00""#, "p == timestamp('2024-01-01T00:00:00.500Z')");
    takes("ipaddress", r#""::ffff:1.2.3.4""#, "p.in_cidr('1.2.3.4/32')");
    for (parameter_type, json) in [
        ("bool", r#""true""#),
        ("bool", "1"),
        ("string", "1"),
        ("double", r#""NaN""#),
        ("double", r#""x""#),
        ("bytes", r#""*""#),
        ("duration", "5"),
        ("duration", r#""5""#),
        ("timestamp", "5"),
        ("timestamp", r#""2024-01-01""#),
        ("timestamp", r#""2024-01-01 00:00:00Z""#),
        ("timestamp", r#""2024-01-01T00:00:60Z""#),
        ("timestamp", r#""2024-02-30T00:00:00Z""#),
        ("timestamp", r#""2024-01-01T00:00:00""#),
        ("timestamp", r#""2024-01-01T00:00:00Z[Europe/Berlin]""#),
        ("timestamp", r#""0000-01-01T00:00:00Z""#),
        ("timestamp", r#""ä024-01-01T00:00:0Z""#),
        ("ipaddress", r#""1.2.3""#),
        ("ipaddress", r#""1.2.3.4/32""#),
        ("ipaddress", "1"),
    ] {
        refuses(parameter_type, json);
    }
}

#[test]
fn durations_are_written_as_in_go() {
    let nanoseconds = |text: &str| crate::time::parse_duration(text);
    assert_eq!(nanoseconds("0"), Some(0));
    assert_eq!(nanoseconds("-0"), Some(0));
    assert_eq!(nanoseconds("0s"), Some(0));
    assert_eq!(nanoseconds("1h30m"), Some(5_400_000_000_000));
    assert_eq!(nanoseconds("-1.5h"), Some(-5_400_000_000_000));
    assert_eq!(nanoseconds("+100ms"), Some(100_000_000));
    assert_eq!(nanoseconds("1us1µs1μs1ns"), Some(3_001));
    assert_eq!(nanoseconds(".5s"), Some(500_000_000));
    assert_eq!(nanoseconds("5.s"), Some(5_000_000_000));
    assert_eq!(nanoseconds("0.000000001s"), Some(1));
    assert_eq!(nanoseconds("9223372036854775807ns"), Some(i64::MAX));
    assert_eq!(nanoseconds("-9223372036854775808ns"), None);
    assert_eq!(nanoseconds("-9223372036854775807ns"), Some(-i64::MAX));
    for text in
        ["", "-", "+", "1", "s", ".s", "1 s", "1h-1m", "1d", "1H", "1e3s", "9223372036854775808ns", "3000000h", "--1s"]
    {
        assert_eq!(nanoseconds(text), None, "{text}");
    }
}

#[test]
fn nested_types() {
    takes("list<string>", r#"["a", "b"]"#, "p == ['a', 'b']");
    takes("map<int>", r#"{"a": "1"}"#, "p.a + 1 == 2");
    takes("list<map<list<timestamp>>>", r#"[{"a": ["1970-01-01T00:00:01Z"]}]"#, "p[0].a[0] == timestamp(1)");
    takes("any", r#"{"a": [1, "x", null, true]}"#, "p.a == [1.0, 'x', null, true]");
    takes("any", "1", "p == 1 && type(p) == double");
    takes("any", "null", "p == null");
    takes("map<any>", r#"{"foo": 42, "bar": 10}"#, "p.foo == 42 && p.bar < 56");
    assert_eq!(
        refuses("list<map<int>>", r#"[{"a": 1}, {"a": "x"}]"#).to_string(),
        "parameter `p` takes list<map<int>>, found the string `x`"
    );
    assert_eq!(refuses("list<int>", "{}").to_string(), "parameter `p` takes list<int>, found an object");
    assert_eq!(refuses("map<int>", "[]").to_string(), "parameter `p` takes map<int>, found a list");
    assert_eq!(refuses("map<int>", "null").to_string(), "parameter `p` takes map<int>, found null");
}

#[test]
fn a_long_refused_string_is_shortened() {
    let error = refuses("int", &format!("\"{}\"", "ä".repeat(1000)));
    assert_eq!(error.parameter(), "p");
    assert!(error.to_string().len() < 250, "{error}");
}

#[test]
fn deep_values_of_any_are_refused() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    takes("any", &nested(crate::limits::VALUE_NESTING_MAX), "dyn(p) == dyn(p)");
    refuses("any", &nested(crate::limits::VALUE_NESTING_MAX + 1));
}

#[test]
fn only_stored_contexts_refuse_other_keys() {
    let caveat = caveat("a int", "a == 1");
    let other = context(r#"{"a": 1, "b": 2}"#);
    assert_eq!(caveat.bind(&other).unwrap_err(), ContextError::UnknownParameter { parameter: "b".to_owned() });
    let request = caveat.bind_request(&other).unwrap();
    assert_eq!(caveat.evaluate(&Arguments::default(), &request), Ok(Outcome::True));
}

#[test]
fn stored_values_win_over_those_of_a_request() {
    let caveat = caveat("a int, b int", "a == 1 && b == 2");
    let stored = caveat.bind(&context(r#"{"a": 1}"#)).unwrap();
    let request = caveat.bind_request(&context(r#"{"a": 7, "b": 2}"#)).unwrap();
    assert_eq!(caveat.evaluate(&stored, &request), Ok(Outcome::True));
    assert_eq!(caveat.evaluate(&request, &stored), Ok(Outcome::False));
    assert!(caveat.bind(&CaveatContext::new()).unwrap().is_empty());
    assert!(!stored.is_empty());
}

#[test]
fn unused_parameters_are_named() {
    assert_eq!(caveat("a int, b int, c any", "b == 1").unused_parameters(), ["a", "c"]);
    assert_eq!(caveat("a int, b list<int>", "b.exists(a, a == 1)").unused_parameters(), ["a"]);
    assert_eq!(caveat("a int, b list<int>", "b.exists(a, .a == 1)").unused_parameters(), Vec::<&str>::new());
    assert_eq!(caveat("a int", "a == 1").parameters(), parameters("a int"));
}
