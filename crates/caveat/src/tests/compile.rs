//! What is refused when a schema is written, and where the error points.

use super::{caveat, parameter_type_of, parameters};
use crate::{Caveat, ParameterType, ParameterTypeError};

const DECLARED: &str = "i int, u uint, d double, s string, b bool, y bytes, t timestamp, w duration, ip ipaddress, \
                        l list<int>, m map<string>, x any";

#[track_caller]
fn refused(expression: &str) -> (usize, String) {
    let error = Caveat::compile(parameters(DECLARED), expression).unwrap_err();
    (error.offset, error.message)
}

#[test]
fn well_typed() {
    for expression in [
        "i == u && i < d && u >= d && i == 1.0",
        "x == 1 && x == 'a' && x.a.b[0] == x",
        "x",
        "b ? x : i == 1",
        "(b ? x : i) == 1",
        "t - w < t && t - t > w",
        "s in m && 'a' in m && i in l && x in l && l[0] == i && m['a'] == s && m.a == s",
        "l + [1] == l && (l + x).size() == 1",
        "[1, 'a'][0] == 1 && {'a': 1, 'b': 'c'}.a == 1",
        "t == null || w != null || null == ip",
        "l.exists(e, e == i) && m.all(k, k.startsWith(s)) && l.map(e, string(e)) == ['1']",
        "m.?a.orValue(s) == s && m[?s].hasValue()",
        "[] == l && {} == m && l.filter(e, e > 1).size() == 0",
        "string == type(s) && list == type(l)",
        "-i == 1 && -d == 1.0 && !b",
        "dyn(i) == s && dyn(i) + 'a' == x",
        "m.`a-b` == s",
        "s.matches(s) && s.matches(x) && x.matches('a')",
        "// a comment\n b // another",
        "i == 1 /* no comment */ || true".split(" /*").next().unwrap(),
    ] {
        caveat(DECLARED, expression);
    }
}

#[test]
fn ill_typed() {
    for (expression, offset, message) in [
        ("i + s == 1", 2, "`+` does not take int and string"),
        ("i + d == 1.0", 2, "`+` does not take int and double"),
        ("b && i", 5, "a condition must be bool, not int"),
        ("s", 0, "the expression must result in bool, not string"),
        ("i == s", 2, "`==` does not take int and string"),
        ("s < i", 2, "`<` does not take string and int"),
        ("l < l", 2, "`<` does not take list<int> and list<int>"),
        ("s.foo == 1", 1, "`.foo`: string has no fields"),
        ("has(s.foo)", 3, "`.foo`: string has no fields"),
        ("nothing == 1", 0, "`nothing` is neither a parameter nor a variable"),
        ("b && unknown(i)", 12, "there is no function `unknown`"),
        ("s.unknown()", 9, "there is no method `unknown`"),
        ("now() > t", 3, "there is no function `now`"),
        ("s.contains(i)", 10, "`contains` of string does not take int"),
        ("i.contains(s)", 10, "`contains` of int does not take string"),
        ("size(i) == 1", 4, "`size` does not take int"),
        ("s.in_cidr('10.0.0.0/8')", 9, "`in_cidr` of string does not take string"),
        ("ip.in_cidr('10.0.0.0')", 10, "`10.0.0.0` is not a network such as `10.0.0.0/8`"),
        ("s.matches('(')", 9, "`(` is not a regular expression"),
        ("s in l", 2, "`in` does not take string and list<int>"),
        ("l[s] == 1", 1, "`[…]` does not take list<int> and string"),
        ("m[i] == s", 1, "`[…]` does not take map<string> and int"),
        ("(b ? i : s) == 1", 9, "the two results must have one type, found int and string"),
        ("i ? b : b", 0, "a condition must be bool, not int"),
        ("i.exists(e, true)", 0, "int has no elements to walk over"),
        ("l.all(e, e)", 9, "a condition must be bool, not int"),
        ("l.exists(e, e == s)", 14, "`==` does not take int and string"),
        ("l.all(e, true) && e == 1", 18, "`e` is neither a parameter nor a variable"),
        ("[1, 2].all(l, l == [1])", 16, "`==` does not take int and list<int>"),
        ("{1.5: 2}.size() == 1", 1, "double cannot be the key of a map"),
        ("google.protobuf.Duration{} == w", 24, "there is no message type `google.protobuf.Duration`"),
        ("optional.of(i).orValue(s) == i", 22, "the alternative must be int, not string"),
        ("[?i] == l", 2, "an element after `?` must be optional, not int"),
        ("-s == 'a'", 0, "`-` does not take string"),
        ("t + t == t", 2, "`+` does not take timestamp and timestamp"),
        ("w.getFullYear() == 1", 13, "`getFullYear` of duration does not exist or takes arguments"),
    ] {
        assert_eq!(refused(expression), (offset, message.to_owned()), "{expression}");
    }
}

#[test]
fn not_cel() {
    for (expression, offset) in [
        ("", 0),
        ("i ==", 4),
        ("i == 1 2", 7),
        ("'ä' == s $", 10),
        ("b &&\n  ) ", 7),
        ("i = 1", 2),
        ("'unclosed", 0),
        ("b || 'a\nb' == s", 5),
        ("s == '\\q'", 6),
        ("s == rb'x'", 7),
        ("s == 1'x'", 6),
        ("if == 1", 0),
        ("b && m.`ä` == s", 7),
        ("99999999999999999999 == i", 0),
    ] {
        let (found, message) = refused(expression);
        assert_eq!(found, offset, "{expression}: {message}");
        assert!(!message.is_empty());
    }
}

#[test]
fn syntax_errors_say_what_was_found() {
    assert_eq!(refused("i == 1 2").1, "unexpected `2`");
    assert_eq!(refused("i ==").1, "unexpected end of the expression");
    assert_eq!(refused("i == $").1, "unexpected `$`");
    assert_eq!(refused("s == 'a' 'b'").1, "unexpected `'b'`");
    assert_eq!(refused("(i == 1").1, "expected `)` before end of the expression");
}

#[test]
fn parameters_are_limited_and_distinct() {
    let many = |count: usize| parameters(&(0..count).map(|i| format!("p{i} bool")).collect::<Vec<_>>().join(","));
    assert!(Caveat::compile(many(20), "p0 && p19").is_ok());
    let error = Caveat::compile(many(21), "p0").unwrap_err();
    assert_eq!(error.message, "a caveat has at most 20 parameters, found 21");
    let error = Caveat::compile(parameters("a int, a string"), "true").unwrap_err();
    assert_eq!(error.to_string(), "parameter `a` is declared twice");
}

#[test]
fn parameter_types_by_name() {
    for text in ["any", "bool", "string", "int", "uint", "double", "bytes", "duration", "timestamp", "ipaddress"] {
        assert_eq!(parameter_type_of(text).to_string(), text);
    }
    for text in ["list<string>", "map<any>", "list<map<list<int>>>"] {
        assert_eq!(parameter_type_of(text).to_string(), text);
    }
    let named = ParameterType::named;
    assert_eq!(named("set", vec![]), Err(ParameterTypeError::Unknown("set".to_owned())));
    assert_eq!(
        named("list", vec![]).unwrap_err().to_string(),
        "type `list` takes 1 type(s) in angle brackets, found 0"
    );
    assert!(named("map", vec![ParameterType::Int, ParameterType::Int]).is_err());
    assert!(named("int", vec![ParameterType::Int]).is_err());
    let mut nested = ParameterType::Int;
    for _ in 1..crate::limits::TYPE_NESTING_MAX {
        nested = named("list", vec![nested]).unwrap();
    }
    assert_eq!(named("list", vec![nested]), Err(ParameterTypeError::Nesting));
}
