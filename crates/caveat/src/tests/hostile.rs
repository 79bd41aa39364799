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

/// What matching takes where an automaton would need more states than there is room for: each takes more time than its length tells.
#[test]
fn costly_matches_are_paid_for() {
    let text: String = (0..4_000_u64)
        .map(|i| if (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33).count_ones() % 2 == 0 { 'a' } else { 'b' })
        .collect();
    let json = format!(r#"{{"s": "{text}", "p": "(a|b)*a(a|b){{200}}c"}}"#);
    for pattern in ["(a|b)*a(a|b){200}c", "(a|b){1,300}(a|b){1,300}c", "(a*b*)*(a*b*){30}c", r"(\b\w+\b.?)*ü"] {
        let many = format!("[1, 2, 3, 4, 5, 6, 7, 8].exists(i, s.matches(r'{pattern}'))");
        let outcome = answer("s string, p string", &many, &json);
        assert!(outcome == TOO_LONG || outcome == "false", "{pattern}: {outcome}");
    }
    assert_eq!(answer("s string, p string", "s.matches(p)", &json), TOO_LONG);
    // What is honest costs next to nothing, however long the text is.
    let many = "[1, 2, 3, 4, 5, 6, 7, 8].all(i, s.matches('^[ab]+$') && !s.matches('c|d'))";
    assert_eq!(answer("s string, p string", many, &json), "true");
}

/// Both ways of matching, over the same patterns and texts.
#[test]
fn a_pattern_matches_alike_however_it_is_matched() {
    let mut large = crate::evaluate::Meter::new(u32::MAX);
    let texts = ["", "a", "abab", "ä", "aä b", "b\nab", "x-ab-y", "ÄB"];
    for pattern in [r"\bab\b", r"^\w+$", "(a|b)*a(a|b){1}", "(?i)äb", r"\Bb", "^$", "a.b", "(?s)b.a", r"\pL\PL", "[^a]"]
    {
        let compiled = crate::pattern::Pattern::compile(pattern, crate::limits::PATTERN_BYTES_MAX).unwrap();
        for text in texts {
            assert_eq!(compiled.is_match(text, &mut large).unwrap(), compiled.follow(text), "{pattern} on {text:?}");
        }
    }
}

#[test]
fn the_patterns_of_a_caveat_are_bounded_together() {
    let of = |count: usize| {
        let terms: Vec<_> = (0..count).map(|i| format!("s.matches('a{i}')")).collect();
        Caveat::compile(parameters("s string"), &terms.join(" || "))
    };
    let one = of(1).unwrap().pattern_bytes();
    assert!(one > 16 * 1024, "{one}");
    let (mut fits, mut is_beyond) = (1, 300);
    while fits + 1 < is_beyond {
        let middle = usize::midpoint(fits, is_beyond);
        if of(middle).is_ok() { fits = middle } else { is_beyond = middle }
    }
    assert!(of(fits).unwrap().pattern_bytes() <= crate::limits::PATTERNS_BYTES_MAX);
    let error = of(is_beyond).unwrap_err();
    assert_eq!(error.message, "the regular expressions of the caveat are too large together");
    assert!(fits > 200, "{fits}");
}

#[test]
fn steps_are_counted_and_an_evaluation_keeps_within_those_it_is_given() {
    let caveat = caveat("l list<int>", "l.all(i, i > 0)");
    let list = caveat.bind(&super::context(r#"{"l": [1, 2, 3]}"#)).unwrap();
    assert_eq!(list.steps(), 4);
    let (outcome, steps) = caveat.evaluate_within(&list, &Arguments::default(), EVALUATION_STEPS_MAX);
    assert_eq!(outcome, Ok(crate::Outcome::True));
    let within = |steps_max| caveat.evaluate_within(&list, &Arguments::default(), steps_max);
    assert_eq!(within(steps), (Ok(crate::Outcome::True), steps));
    assert_eq!(within(steps - 1), (Err(crate::EvaluateError::Steps), steps - 1));
    assert_eq!(within(0), (Err(crate::EvaluateError::Steps), 0));
}

/// Nothing that an attacker can put into a context or a schema makes one evaluation long. The bound is generous, for a busy machine
/// and a build without optimisation; the best of three counts.
#[test]
fn no_evaluation_takes_long() {
    let numbers = vec!["1"; 300].join(",");
    let json = format!(
        r#"{{"l": [{numbers}], "s": "{}", "k": "{}", "n": {}}}"#,
        "ab".repeat(1_000),
        "k".repeat(1_000),
        "[".repeat(40) + &"]".repeat(40)
    );
    let declared = "l list<int>, s string, k string, n any";
    for expression in [
        "l.all(a, l.all(b, l.all(c, true)))",
        "l.map(a, l.map(b, l.map(c, a + b + c))).size() > 0",
        "l.all(a, s.matches('(a|b)*a(a|b){200}c') || true)",
        "l.all(a, s.matches('(a|b){1,300}(a|b){1,300}c') || true)",
        "l.all(a, l.all(b, s.contains(s)))",
        "l.all(a, l.all(b, s.startsWith(s) && s.endsWith(s)))",
        "l.all(a, l.all(b, s == s && s < s + 'a'))",
        "l.all(a, (s + s + s + s).size() > 0)",
        "l.all(a, s.matches(s) || s.matches(k) || true)",
        "l.all(a, k.matches('(a{900}){1,20}') || true)",
        "l.all(a, l.all(b, [n] == [n] && n in [n]))",
        "l.all(a, l.all(b, {'a': l}.isSubtreeOf({'a': l})))",
        "l.all(a, l.all(b, int(s) > 0 || true))",
        "l.all(a, l.all(b, double(s) > 0.0 || true))",
        "l.all(a, l.all(b, timestamp(s) > timestamp(k) || true))",
        "l.all(a, l.all(b, duration(s) > duration(k) || true))",
        "l.all(a, l.all(b, timestamp('2030-01-01T00:00:00Z').getHours('Europe/Berlin') > 0))",
        "l.all(a, l.all(b, timestamp('2030-01-01T00:00:00Z').getHours(s) > 0 || true))",
        "l.all(a, l.all(b, {s: 1}[k] == 1 || true))",
        "l.all(a, l.all(b, bytes(s) == bytes(s)))",
        "l.all(a, l.all(b, string(l[0]) + s == s || true))",
    ] {
        let Ok(caveat) = Caveat::compile(parameters(declared), expression) else { continue };
        let arguments = caveat.bind(&super::context(&json)).unwrap();
        let best = (0..3).map(|_| {
            let begun = std::time::Instant::now();
            drop(caveat.evaluate(&arguments, &Arguments::default()));
            begun.elapsed()
        });
        let best = best.min().unwrap();
        println!("{best:?} {expression}");
        assert!(best < std::time::Duration::from_millis(500), "{best:?} {expression}");
    }
}
