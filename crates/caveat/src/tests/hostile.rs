//! Text and values that want to exhaust something.

use super::random::{Kind, Random, with_seeds};
use super::{answer, caveat, parameters};
use crate::limits::{EVALUATION_STEPS_MAX, EXPRESSION_BYTES_MAX, NESTING_MAX};
use crate::{Arguments, Caveat};

const TOO_DEEP: &str = "the expression is nested more than 100 deep";
const TOO_LONG: &str = "the evaluation takes more than 100000 steps";

/// The text for a number of repetitions.
type Shape = fn(usize) -> String;

fn shapes() -> Vec<(&'static str, Shape)> {
    vec![
        ("parentheses", |n| "(".repeat(n) + "x" + &")".repeat(n)),
        ("lists", |n| "[".repeat(n) + "x" + &"]".repeat(n) + " == x"),
        ("maps", |n| "{1: ".repeat(n) + "x" + &"}".repeat(n) + " == x"),
        ("messages", |n| "a.b{c: ".repeat(n) + "x" + &"}".repeat(n)),
        ("calls", |n| "size(".repeat(n) + "x" + &")".repeat(n) + " == x"),
        ("methods", |n| "x.contains(".repeat(n) + "x" + &")".repeat(n)),
        ("indexes", |n| "x[".repeat(n) + "x" + &"]".repeat(n)),
        ("chained indexes", |n| "x".to_owned() + &"[0]".repeat(n)),
        ("optional indexes", |n| "x".to_owned() + &"[?0]".repeat(n) + ".hasValue()"),
        ("selections", |n| "x".to_owned() + &".a".repeat(n)),
        ("optional selections", |n| "x".to_owned() + &".?a".repeat(n) + ".hasValue()"),
        ("chained methods", |n| "x".to_owned() + &".size()".repeat(n)),
        ("sums", |n| "x".to_owned() + &" + x".repeat(n) + " == x"),
        ("relations", |n| "x".to_owned() + &" == x".repeat(n)),
        ("memberships", |n| "x".to_owned() + &" in x".repeat(n)),
        ("conditions", |n| "x ? x : ".repeat(n) + "x"),
        ("conditions inside", |n| "x ? ".repeat(n) + "x" + &" : x".repeat(n)),
        ("macros", |n| "x.all(e, ".repeat(n) + "x" + &")".repeat(n)),
        ("negated parentheses", |n| "!(".repeat(n) + "x" + &")".repeat(n)),
        ("sums to the right", |n| "x + (".repeat(n) + "x" + &")".repeat(n)),
        ("sums to the left", |n| "(".repeat(n) + "x" + &" + x)".repeat(n)),
        ("mixed", |n| "[{'a': (".repeat(n) + "x" + &").b + 1}]".repeat(n)),
        ("unclosed parentheses", |n| "(".repeat(n)),
        ("unclosed methods", |n| "x.a(".repeat(n)),
        ("unclosed lists of strings", |n| "['".repeat(n)),
        ("closing", |n| ")".repeat(n)),
        ("nots", |n| "!".repeat(n) + "x"),
        ("minuses", |n| "-".repeat(n) + "x"),
        ("hidden in a string", |n| r"rb'\'' ".to_owned() + &"(".repeat(n) + "'"),
        ("hidden by a wrong escape", |n| r"'\q' + '".to_owned() + &"(".repeat(n)),
        ("hidden by a number", |n| r"1r'\'".to_owned() + &"(".repeat(n) + "'"),
        ("hidden by backticks", |n| "`ä".to_owned() + &"(".repeat(n) + "`"),
    ]
}

#[test]
fn deep_text_is_refused_and_never_overflows() {
    for (name, shape) in shapes() {
        for count in [1, 10, 40, 60, 90, 110, 1_000, 10_000] {
            // On a small stack, as a server's threads have.
            let text = shape(count);
            let compile = move || Caveat::compile(parameters("x any"), &text).map(|_| ());
            let thread = std::thread::Builder::new().stack_size(256 * 1024).spawn(compile).unwrap();
            let compiled = thread.join().unwrap();
            let allowed = NESTING_MAX * 3;
            assert!(count < allowed || compiled.is_err(), "{name} {count} is accepted");
        }
    }
    assert_eq!(Caveat::compile(parameters("x any"), &"(".repeat(101)).unwrap_err().message, TOO_DEEP);
}

#[test]
fn up_to_the_limit_nesting_is_accepted() {
    let nested = |n: usize| Caveat::compile(parameters("x any"), &("(".repeat(n) + "x" + &")".repeat(n)));
    assert!(nested(NESTING_MAX).is_ok());
    assert_eq!(nested(NESTING_MAX + 1).unwrap_err().message, TOO_DEEP);
    let sum = |n: usize| Caveat::compile(parameters("x any"), &("x".to_owned() + &" + x".repeat(n)));
    assert!(sum(NESTING_MAX).is_ok());
    assert_eq!(sum(NESTING_MAX + 1).unwrap_err().message, TOO_DEEP);
    let chains = "(".repeat(20) + "x" + &(" + x".repeat(10) + ")").repeat(20);
    assert_eq!(Caveat::compile(parameters("x any"), &chains).unwrap_err().message, TOO_DEEP);
}

#[test]
fn deep_caveats_evaluate_on_a_small_stack() {
    for text in ["!(".repeat(49) + "x" + &")".repeat(49), "[0].all(e, ".repeat(30) + "x" + &")".repeat(30)] {
        let caveat = caveat("x bool", &text);
        let evaluate = move || {
            let arguments = caveat.bind(&super::context(r#"{"x": true}"#)).unwrap();
            caveat.evaluate(&arguments, &Arguments::default()).unwrap()
        };
        std::thread::Builder::new().stack_size(256 * 1024).spawn(evaluate).unwrap().join().unwrap();
    }
}

#[test]
fn many_terms_are_no_nesting() {
    let or = (0..2_000).map(|i| format!("x == {i}")).collect::<Vec<_>>().join(" || ");
    assert_eq!(answer("x any", &or, r#"{"x": 1999}"#), "true");
    let list = (0..5_000).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    assert_eq!(answer("x any", &format!("x in [{list}]"), r#"{"x": 4999}"#), "true");
}

#[test]
fn long_text_is_refused() {
    let text = |bytes: usize| format!("x || '{}' == ''", "a".repeat(bytes - "x || '' == ''".len()));
    assert!(Caveat::compile(parameters("x bool"), &text(EXPRESSION_BYTES_MAX)).is_ok());
    let error = Caveat::compile(parameters("x bool"), &text(EXPRESSION_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(error.message, "the expression has 100001 bytes, more than 100000");
}

#[test]
fn costly_evaluations_are_stopped() {
    let hundred = format!("[{}]", vec!["1"; 100].join(", "));
    for expression in [
        "l.all(a, l.all(b, l.all(c, a == b || b == c || true)))",
        "l.map(a, l + l + l + l + l + l + l + l + l + l + l).size() == 0 || l.all(a, l.all(b, l.size() > 0 && (l + l).size() > 0))",
        "l.all(a, l.all(b, s.size() > 1000))",
        "l.all(a, l.all(b, l == l))",
        "l.all(a, l.all(b, !(-1 in l)))",
        "l.all(a, 'a'.matches(s) || true)",
        "l.map(a, l.map(b, l)) == l.map(a, l.map(b, l))",
        "l.all(a, l.map(b, s + s + s + s + s + s + s + s + s + s) != [])",
        "true || l.all(a, l.all(b, l.all(c, true)))",
        "l.all(a, l.all(b, l.all(c, true))) || true",
        "l.exists(a, l.all(b, l.all(c, true)) && false) || true",
    ] {
        let json = format!(r#"{{"l": {hundred}, "s": "{}"}}"#, "a".repeat(5_000));
        let expected = if expression.starts_with("true") { "true" } else { TOO_LONG };
        assert_eq!(answer("l list<int>, s string", expression, &json), expected, "{expression}");
    }
    assert_eq!(EVALUATION_STEPS_MAX, 100_000);
}

#[test]
fn an_ordinary_walk_over_a_large_context_is_not_stopped() {
    let members: Vec<String> = (0..2_000).map(|i| format!("user{i}")).collect();
    let json = serde_json::json!({ "members": members, "who": "user1999" }).to_string();
    let declared = "members list<string>, who string";
    assert_eq!(answer(declared, "members.exists(m, m == who)", &json), "true");
    assert_eq!(answer(declared, "who in members", &json), "true");
}

#[test]
fn large_regular_expressions_are_refused() {
    let error = Caveat::compile(parameters("s string"), r"s.matches('(a{1000}){1000}')").unwrap_err();
    assert_eq!(error.message, "the regular expression is too large");
    let json = r#"{"s": "(a{1000}){1000}"}"#;
    assert_eq!(answer("s string", "'a'.matches(s)", json), "the regular expression is too large");
    let nested = format!("'{}a{}'", "(".repeat(5_000), ")".repeat(5_000));
    assert!(Caveat::compile(parameters("s string"), &format!("s.matches({nested})")).is_err());
}

/// Expressions with pieces left out, doubled or exchanged: whatever comes, it is an answer or an error.
#[test]
fn broken_text_never_panics() {
    with_seeds(3_000, |random: &mut Random| {
        let mut pieces: Vec<char> = random.expression(Kind::Bool, 3).chars().collect();
        for _ in 0..1 + random.below(4) {
            let at = random.below(pieces.len().max(1)).min(pieces.len().saturating_sub(1));
            let noise =
                ['(', ')', '[', '{', '}', '\'', '"', '\\', '.', '?', ':', '`', '@', 'ä', '\n', '0', 'u', '/', '-'];
            match random.below(3) {
                0 if !pieces.is_empty() => drop(pieces.remove(at)),
                1 => pieces.insert(at, noise[random.below(noise.len())]),
                _ if !pieces.is_empty() => pieces[at] = noise[random.below(noise.len())],
                _ => {}
            }
        }
        let text: String = pieces.into_iter().collect();
        match Caveat::compile(parameters(super::random::DECLARED), &text) {
            Ok(caveat) => drop(caveat.evaluate(&Arguments::default(), &Arguments::default())),
            Err(error) => {
                assert_ne!(error.message, "the expression cannot be parsed", "the parser panicked on {text:?}");
                assert!(
                    error.offset <= text.len() && text.is_char_boundary(error.offset),
                    "{text:?} at {}",
                    error.offset
                );
            }
        }
    });
}
