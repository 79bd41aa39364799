//! Which parameters are missing, when some are.

use std::collections::BTreeSet;

use super::judge::full_context;
use super::random::{DECLARED as RANDOM_DECLARED, Kind, Random, with_seeds};
use super::{answer, caveat};
use crate::{Arguments, Caveat, CaveatContext, EvaluateError, Outcome};

const DECLARED: &str = "a bool, b bool, i int, j int, s string, l list<int>, m map<int>, x any";

#[track_caller]
fn gives(expression: &str, json: &str, expected: &str) {
    assert_eq!(answer(DECLARED, expression, json), expected, "{expression} with {json}");
}

#[test]
fn known_terms_decide() {
    gives("a && b", "{}", "missing a, b");
    gives("a && b", r#"{"a": true}"#, "missing b");
    gives("a && b", r#"{"b": true}"#, "missing a");
    gives("a && b", r#"{"a": false}"#, "false");
    gives("a && b", r#"{"b": false}"#, "false");
    gives("a || b", r#"{"a": true}"#, "true");
    gives("a || b", r#"{"b": true}"#, "true");
    gives("a || b", r#"{"b": false}"#, "missing a");
    gives("a && (b || i == 1)", r#"{"a": true, "b": true}"#, "true");
    gives("a && (b || i == 1)", r#"{"a": true, "b": false}"#, "missing i");
    gives("!a", "{}", "missing a");
}

#[test]
fn operands_are_all_named() {
    gives("i == j", "{}", "missing i, j");
    gives("i + j == 3", r#"{"i": 1}"#, "missing j");
    gives("s.startsWith('a') && i in l", "{}", "missing i, l, s");
    gives("[i, j].size() == 2", "{}", "missing i, j");
    gives("{s: i}.size() == 1", "{}", "missing i, s");
    gives("l[i] == 1", r#"{"l": [1]}"#, "missing i");
    gives("m.a == 1", "{}", "missing m");
    gives("x.a.b == 1", "{}", "missing x");
    gives("has(m.a)", "{}", "missing m");
    gives("s.matches('a')", "{}", "missing s");
}

#[test]
fn a_branch_not_taken_needs_nothing() {
    gives("a ? i == 1 : j == 1", "{}", "missing a");
    gives("a ? i == 1 : j == 1", r#"{"a": true}"#, "missing i");
    gives("a ? i == 1 : j == 1", r#"{"a": false}"#, "missing j");
}

#[test]
fn macros_over_known_and_unknown() {
    gives("l.all(e, e > i)", "{}", "missing l");
    gives("l.all(e, e > i)", r#"{"l": []}"#, "true");
    gives("l.all(e, e > i)", r#"{"l": [1]}"#, "missing i");
    gives("l.exists(e, e == 1 || e == i)", r#"{"l": [1, 2]}"#, "true");
    gives("l.exists(e, e == 1 || e == i)", r#"{"l": [2]}"#, "missing i");
    gives("l.all(e, e == 1 && a)", r#"{"l": [1, 2]}"#, "false");
    gives("l.exists_one(e, e == i)", r#"{"l": [1, 2]}"#, "missing i");
    gives("l.map(e, e + i).size() == 2", r#"{"l": [1, 2]}"#, "missing i");
    gives("l.filter(e, e > i).size() == 2", r#"{"l": [1, 2]}"#, "missing i");
    gives("m.exists(k, k == s)", r#"{"m": {"a": 1}}"#, "missing s");
}

#[test]
fn errors_are_not_hidden_and_do_not_decide() {
    gives("1 / 0 == 1 && a", "{}", "missing a");
    gives("1 / 0 == 1 && a", r#"{"a": false}"#, "false");
    gives("1 / 0 == 1 && a", r#"{"a": true}"#, "a division by zero");
    gives("i / 0 == j", r#"{"i": 1}"#, "missing j");
    gives("m.a == 1", r#"{"m": {}}"#, "no such key `a`");
    gives("m.a == 1 || a", r#"{"m": {}, "a": true}"#, "true");
    gives("m.a == 1 || a", r#"{"m": {}}"#, "missing a");
}

#[test]
fn optionals_look_only_where_they_must() {
    gives("m.?a.orValue(i) == 1", "{}", "missing m");
    gives("m.?a.orValue(i) == 1", r#"{"m": {"a": 1}}"#, "true");
    gives("m.?a.orValue(i) == 1", r#"{"m": {}}"#, "missing i");
    gives("m.?a.optMap(e, e == i).orValue(false)", r#"{"m": {}}"#, "false");
    gives("m.?a.optMap(e, e == i).orValue(false)", r#"{"m": {"a": 1}}"#, "missing i");
}

#[test]
fn the_conformance_examples() {
    let numbers = "small < 10 && big > 10 && ratio >= 0.5";
    let declared = "small int, big uint, ratio double";
    assert_eq!(answer(declared, numbers, r#"{"big": "11", "ratio": 0.5}"#), "missing small");
    assert_eq!(answer(declared, numbers, r#"{"big": "11", "ratio": 0.5, "small": 9}"#), "true");
    let times = "now > since + grace";
    let declared = "now timestamp, since timestamp, grace duration";
    let json = r#"{"since": "2024-01-01T00:00:00Z", "grace": "24h", "now": "2024-01-02T00:00:00Z"}"#;
    assert_eq!(answer(declared, times, json), "false");
    let map = "somemap.foo == 42 && somemap.bar < 56";
    assert_eq!(answer("somemap map<any>", map, r#"{"somemap": {"foo": 41}}"#), "false");
    assert_eq!(answer("somemap map<any>", map, r#"{"somemap": {"foo": 42}}"#), "no such key `bar`");
    assert_eq!(answer("somemap map<any>", map, "{}"), "missing somemap");
}

/// Whatever a withheld parameter turns out to be, an answer given without it stays; and what is said to be missing was
/// withheld, and is not missing any more once it is given.
#[test]
fn an_answer_without_all_parameters_holds_with_them() {
    with_seeds(1_000, |random| {
        let depth = 1 + random.below(5);
        let expression = random.expression(Kind::Bool, depth);
        let caveat = caveat(RANDOM_DECLARED, &expression);
        for _ in 0..20 {
            let full = full_context(random);
            let withheld: BTreeSet<String> = full.keys().filter(|_| random.one_in(3)).cloned().collect();
            let known: CaveatContext = full.clone().into_iter().filter(|(key, _)| !withheld.contains(key)).collect();
            let answer = split_evaluate(&caveat, &known, random);
            if let Ok(Outcome::Missing(names)) = &answer {
                assert!(!names.is_empty() && names.is_subset(&withheld), "`{expression}` with {known:?}: {answer:?}");
                check_progress(&caveat, &full, known, names);
                continue;
            }
            for _ in 0..6 {
                let mut completed = known.clone();
                completed.extend(withheld.iter().map(|name| (name.clone(), random.value(name))));
                let complete = split_evaluate(&caveat, &completed, random);
                let same = match (&answer, &complete) {
                    (Ok(partial), Ok(complete)) => partial == complete,
                    (Err(_), Err(_)) => true,
                    _ => false,
                };
                assert!(same, "`{expression}`\nwith {known:?}: {answer:?}\nwith {completed:?}: {complete:?}");
            }
        }
    });
}

/// Evaluates with the context split at random between the relationship and the request, which also tries to overrule
/// what is stored.
fn split_evaluate(caveat: &Caveat, context: &CaveatContext, random: &mut Random) -> Result<Outcome, EvaluateError> {
    let (mut stored, mut request) = (CaveatContext::new(), CaveatContext::new());
    for (key, value) in context {
        if random.one_in(2) {
            stored.insert(key.clone(), value.clone());
            if random.one_in(2) {
                request.insert(key.clone(), random.value(key));
            }
        } else {
            request.insert(key.clone(), value.clone());
        }
    }
    let whole = caveat.evaluate(&Arguments::default(), &caveat.bind_request(context).unwrap());
    let split = caveat.evaluate(&caveat.bind(&stored).unwrap(), &caveat.bind_request(&request).unwrap());
    assert_eq!(whole, split, "`{}` with {stored:?} and {request:?}", caveat.expression());
    split
}

fn check_progress(caveat: &Caveat, full: &CaveatContext, mut known: CaveatContext, missing: &BTreeSet<String>) {
    known.extend(missing.iter().map(|name| (name.clone(), full[name].clone())));
    let arguments = caveat.bind(&known).unwrap();
    if let Ok(Outcome::Missing(next)) = caveat.evaluate(&arguments, &Arguments::default()) {
        assert!(next.is_disjoint(missing), "`{}` with {known:?} misses {next:?}", caveat.expression());
    }
}
