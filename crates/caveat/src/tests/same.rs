//! When two expressions are the same.

use super::caveat;
use crate::NESTING_MAX;

const DECLARED: &str = "i int, s string, b bool, l list<int>, m map<string>";

#[track_caller]
fn same(one: &str, other: &str) -> bool {
    let (one, other) = (caveat(DECLARED, one), caveat(DECLARED, other));
    let same = one.has_same_expression(&other);
    assert_eq!(other.has_same_expression(&one), same);
    same
}

#[test]
fn layout_comments_and_needless_parentheses_do_not_count() {
    for (one, other) in [
        ("i == 1", "i==1"),
        ("i == 1 && b", "// why\n(i == 1)\n  && (b) // so"),
        ("s == 'a'", "s == \"a\""),
        ("l.all(e, e > i)", "l.all( e , (e > i) )"),
        ("[1, 2] == l && {'a': s} == m", "([1,2]==l)&&({\"a\":s}==m)"),
        ("m.?a.orValue(s) == s", "m.?a . orValue( s )==s"),
    ] {
        assert!(same(one, other), "{one} / {other}");
    }
}

#[test]
fn anything_else_counts() {
    for (one, other) in [
        ("i == 1", "i == 2"),
        ("i == 1", "1 == i"),
        ("i == 1 && b", "b && i == 1"),
        ("b || b && i == 1", "(b || b) && i == 1"),
        ("s == 'a b'", "s == 'a  b'"),
        ("l.all(e, e > i)", "l.exists(e, e > i)"),
        ("{'a': s} == m", "{'b': s} == m"),
        ("m.a == s", "m.b == s"),
        ("has(m.a)", "has(m.b)"),
        ("[?m.?a] == [s]", "[m.a] == [s]"),
    ] {
        assert!(!same(one, other), "{one} / {other}");
    }
}

#[test]
fn deep_expressions_are_compared_on_a_stack_of_their_own() {
    let deep = |inner: &str| format!("{}{inner}{}", "!(".repeat(NESTING_MAX / 2 - 1), ")".repeat(NESTING_MAX / 2 - 1));
    assert!(same(&deep("b"), &deep(" b ")));
    assert!(!same(&deep("b"), &deep("b == b")));
}
