//! Every function and operator, on values that all are known.

use super::answer;

#[track_caller]
fn all_true(expressions: &[&str]) {
    for expression in expressions {
        assert_eq!(answer("", expression, "{}"), "true", "{expression}");
    }
}

#[track_caller]
fn all_errors(expressions: &[(&str, &str)]) {
    for (expression, message) in expressions {
        assert_eq!(answer("", expression, "{}"), *message, "{expression}");
    }
}

#[test]
fn arithmetic() {
    all_true(&[
        "1 + 2 * 3 - 4 / 2 == 5",
        "-7 / 2 == -3 && -7 % 2 == -1",
        "7u / 2u == 3u && 7u % 2u == 1u && 2u * 3u - 1u + 1u == 6u",
        "1.5 + 2.0 == 3.5 && 1.0 / 0.0 > 1e300 && 3.0 * 0.5 - 0.5 == 1.0",
        "-(-5) == 5 && - 1.5 == -1.5 && !!true",
        "0x1F == 31 && 0xFFu == 255u",
        "9223372036854775807 > 0 && -9223372036854775808 < 0",
    ]);
    all_errors(&[
        ("9223372036854775807 + 1 > 0", "a result is out of range"),
        ("-9223372036854775808 - 1 < 0", "a result is out of range"),
        ("0 - (-9223372036854775807 - 1) > 0", "a result is out of range"),
        ("4611686018427387904 * 2 > 0", "a result is out of range"),
        ("(-9223372036854775807 - 1) / -1 > 0", "a result is out of range"),
        ("(-9223372036854775807 - 1) % -1 == 0", "a result is out of range"),
        ("0u - 1u > 0u", "a result is out of range"),
        ("18446744073709551615u + 1u > 0u", "a result is out of range"),
        ("1 / 0 == 1", "a division by zero"),
        ("1 % 0 == 1", "a division by zero"),
        ("1u / 0u == 1u", "a division by zero"),
        ("1u % 0u == 1u", "a division by zero"),
        ("dyn(1) + dyn(1.0) == 2.0", "`+` does not take int and double"),
    ]);
}

#[test]
fn equality_and_order() {
    all_true(&[
        "1 == 1.0 && 1u == 1 && 1.0 == 1u && 2 > 1.5 && 1u < 2 && 1.5 <= 2u",
        "dyn(1) != dyn('1') && dyn([1]) == dyn([1.0]) && dyn({'a': 1}) == dyn({'a': 1u})",
        "9007199254740993 != 9007199254740992.0 && 9007199254740993 > 9007199254740992.0",
        "18446744073709551615u > 9223372036854775807 && -1 < 0u",
        "double('NaN') != double('NaN') && !(1 == double('NaN'))",
        "'a' < 'b' && 'a' < 'ä' && b'a' < b'b' && false < true && 'b' >= 'b'",
        "[1, 2] == [1, 2] && [1, 2] != [2, 1] && [1] != [1, 2]",
        "{'a': 1, 'b': 2} == {'b': 2, 'a': 1} && {'a': 1} != {'a': 2} && {'a': 1} != {'b': 1}",
        "null == null && dyn(null) != dyn(0)",
        "duration('1h') == duration('60m') && duration('-1s') < duration('0')",
        "timestamp('2024-01-01T00:00:00Z') == timestamp('2024-01-01T01:00:00+01:00')",
    ]);
    all_errors(&[
        ("double('NaN') < 1.0", "not-a-number has no order"),
        ("1 >= double('NaN')", "not-a-number has no order"),
        ("dyn('a') < dyn(1)", "string and int have no order"),
        ("dyn([1]) < dyn([2])", "list and list have no order"),
    ]);
}

#[test]
fn logic() {
    all_true(&[
        "true || 1 / 0 == 1",
        "1 / 0 == 1 || true",
        "!(false && 1 / 0 == 1)",
        "!(1 / 0 == 1 && false)",
        "true ? true : 1 / 0 == 1",
        "false ? 1 / 0 == 1 : true",
        "(false ? 'a' : true ? 'b' : 'c') == 'b'",
        "true || dyn('x')",
    ]);
    all_errors(&[
        ("false || 1 / 0 == 1", "a division by zero"),
        ("1 / 0 == 1 && true", "a division by zero"),
        ("(1 / 0 == 1) ? true : true", "a division by zero"),
        ("dyn('x') && true", "a condition is string, not bool"),
        ("dyn('x')", "the expression results in string, not bool"),
    ]);
}

#[test]
fn strings_and_bytes() {
    all_true(&[
        "'abc'.contains('b') && !'abc'.contains('d') && 'abc'.contains('')",
        "'abc'.startsWith('ab') && 'abc'.endsWith('bc') && !'abc'.startsWith('b')",
        "'a' + 'b' == 'ab' && b'a' + b'b' == b'ab'",
        "size('äöü') == 3 && 'äöü'.size() == 3 && size(b'äöü') == 6 && b'abc'.size() == 3",
        "'abc123'.matches('^[a-z]+\\\\d+$') && matches('xay', 'a') && !'abc'.matches('^b')",
        r"r'\d' == '\\d' && '''it's''' == 'it\x27s' && '\u00e4' == 'ä' && '\101' == 'A'",
        r"b'\xff' != b'\xfe' && bytes('ä') == b'\xc3\xa4' && string(b'abc') == 'abc'",
    ]);
    all_errors(&[(r"string(b'\xff') == ''", "this bytes has no conversion to string")]);
    assert_eq!(answer("s string", "'a'.matches(s)", r#"{"s": "("}"#), "`(` is not a regular expression");
}

#[test]
fn lists_and_maps() {
    all_true(&[
        "[1, 2, 3][1] == 2 && [1, 2][1u] == 2 && [1, 2][dyn(1.0)] == 2",
        "{'a': 1}['a'] == 1 && {'a': 1}.a == 1 && {1: 'x'}[1] == 'x' && {1: 'x'}[1u] == 'x' && {true: 1}[true] == 1",
        "size([1, 2]) == 2 && [1, 2].size() == 2 && size({'a': 1}) == 1 && {}.size() == 0",
        "[1] + [2, 3] == [1, 2, 3] && [] + [1] == [1]",
        "2 in [1, 2] && !(3 in [1, 2]) && 1.0 in [1, 2] && 'a' in {'a': 1} && !('b' in {'a': 1}) && !(1 in [])",
        "has({'a': 1}.a) && !has({'a': 1}.b)",
        "[1, 'a', true, null].size() == 4 && {'a': 1, 'b': 'c'}.b == 'c'",
        "{'a': {'b': [1, 2]}}.a.b[1] == 2",
        "{'a': 1}.isSubtreeOf({'a': 1, 'b': 2}) && !{'a': 1}.isSubtreeOf({'a': 2}) && {}.isSubtreeOf({'a': 1})",
        "{'a': {'b': 1}}.isSubtreeOf({'a': {'b': 1, 'c': 2}, 'd': 3}) && !{'a': 1, 'b': 2}.isSubtreeOf({'a': 1})",
        "!{'a': {'b': 1}}.isSubtreeOf({'a': 1})",
    ]);
    all_errors(&[
        ("{'a': 1}.b == 1", "no such key `b`"),
        ("{'a': 1}['b'] == 1", "no such key `b`"),
        ("[1][1] == 1", "an index is outside of the list"),
        ("[1][-1] == 1", "an index is outside of the list"),
        ("[1][dyn('a')] == 1", "`[…]` does not take list and string"),
        ("[1][dyn(0.5)] == 1", "the index of a list is not whole"),
        ("{'a': 1, 'a': 2}.a == 1", "a map has the same key twice"),
        ("{dyn(1.5): 2}.size() == 1", "a double cannot be the key of a map"),
        ("has(dyn(1).a)", "int has no fields"),
        ("1 in dyn(1)", "`in` takes a list or map on its right, found int"),
    ]);
}

#[test]
fn macros() {
    all_true(&[
        "[1, 2].all(x, x > 0) && ![1, 2].all(x, x > 1) && [].all(x, false)",
        "[1, 2].exists(x, x > 1) && ![1, 2].exists(x, x > 2) && ![].exists(x, true)",
        "[1, 2].exists_one(x, x > 1) && ![1, 2].exists_one(x, x > 0) && ![1, 2].existsOne(x, x > 2)",
        "[1, 2].map(x, x * 2) == [2, 4] && [1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
        "[1, 2, 3].filter(x, x != 2) == [1, 3]",
        "{'a': 1, 'b': 2}.all(k, k in ['a', 'b']) && {'b': 1, 'a': 2}.map(k, k) == ['a', 'b']",
        "[[1, 2], [3]].exists(xs, xs.exists(x, x == 3)) && [1].all(x, [2].all(y, x < y && [3].all(x, x == 3)))",
        "[1, 2].exists(x, 1 / (x - 1) == 1) && ![0, 1].all(x, 1 / x == 2)",
        "[1, 2].map(x, [x]) == [[1], [2]]",
    ]);
    all_errors(&[
        ("[1, 0].all(x, 1 / x == 1)", "a division by zero"),
        ("[1, 0].exists_one(x, 1 / x == 1)", "a division by zero"),
        ("[0].map(x, 1 / x) == []", "a division by zero"),
        ("[0].filter(x, 1 / x == 1) == []", "a division by zero"),
        ("dyn(1).all(x, true)", "int has no elements to walk over"),
        ("[1].all(x, dyn(x))", "the condition of a macro is int, not bool"),
    ]);
}

#[test]
fn conversions() {
    all_true(&[
        "int('7') == 7 && int(7u) == 7 && int(7.9) == 7 && int(-7.9) == -7 && int(timestamp('1970-01-01T00:01:00Z')) == 60",
        "uint('7') == 7u && uint(7) == 7u && uint(7.9) == 7u && double('1.5') == 1.5 && double(2) == 2.0 && double(2u) == 2.0",
        "string(7) == '7' && string(7u) == '7' && string(true) == 'true' && string('x') == 'x'",
        "string(1.0) == '1' && string(0.1) == '0.1' && string(1e6) == '1e+06' && string(-1.5e-7) == '-1.5e-07'",
        "string(timestamp('2024-01-01T01:00:00.5+01:00')) == '2024-01-01T00:00:00.5Z' && string(duration('1h1.5s')) == '3601.5s'",
        "bool('true') && !bool('0') && bool(true) && bytes('a') == b'a' && bytes(b'a') == b'a'",
        "timestamp(60) == timestamp('1970-01-01T00:01:00Z') && duration(duration('1s')) == duration('1s')",
        "type(1) == int && type('a') == string && type([]) == list && type(null) == null_type && type(type(1)) == type",
        "type(timestamp(0)) == google.protobuf.Timestamp && type(duration('0')) == google.protobuf.Duration",
        "type(dyn(1.5)) == double && type({}) == map && type(b'') == bytes && type(1u) == uint && type(true) == bool",
    ]);
    all_errors(&[
        ("int('x') == 1", "`x` is no int"),
        ("int(1e300) == 1", "this double has no conversion to int"),
        ("int(double('NaN')) == 1", "this double has no conversion to int"),
        ("uint(-1) == 1u", "this int has no conversion to uint"),
        ("uint(-0.5) == 1u", "this double has no conversion to uint"),
        ("int(18446744073709551615u) == 1", "this uint has no conversion to int"),
        ("timestamp('2024-01-01') == timestamp(0)", "`2024-01-01` is no timestamp"),
        ("timestamp(253402300800) == timestamp(0)", "this int has no conversion to timestamp"),
        ("duration('1x') == duration('0')", "`1x` is no duration"),
        ("bool('yes')", "`yes` is no bool"),
    ]);
}

#[test]
fn times() {
    all_true(&[
        "timestamp('2024-02-29T12:34:56.789Z').getFullYear() == 2024",
        "timestamp('2024-02-29T12:34:56.789Z').getMonth() == 1",
        "timestamp('2024-02-29T12:34:56.789Z').getDate() == 29",
        "timestamp('2024-02-29T12:34:56.789Z').getDayOfMonth() == 28",
        "timestamp('2024-02-29T12:34:56.789Z').getDayOfWeek() == 4",
        "timestamp('2024-03-03T00:00:00Z').getDayOfWeek() == 0",
        "timestamp('2024-02-29T12:34:56.789Z').getDayOfYear() == 59",
        "timestamp('2024-02-29T12:34:56.789Z').getHours() == 12",
        "timestamp('2024-02-29T12:34:56.789Z').getMinutes() == 34",
        "timestamp('2024-02-29T12:34:56.789Z').getSeconds() == 56",
        "timestamp('2024-02-29T12:34:56.789Z').getMilliseconds() == 789",
        "timestamp('2024-07-01T23:00:00Z').getHours('Europe/Berlin') == 1",
        "timestamp('2024-07-01T23:00:00Z').getDate('Europe/Berlin') == 2",
        "timestamp('2024-07-01T23:00:00Z').getHours('+05:30') == 4",
        "timestamp('2024-07-01T23:00:00Z').getMinutes('-05:30') == 30",
        "timestamp('2024-07-01T23:00:00Z').getHours('UTC') == 23",
        "duration('90m').getHours() == 1 && duration('90m').getMinutes() == 90 && duration('90m').getSeconds() == 5400",
        "duration('1.5s').getMilliseconds() == 1500",
        "timestamp('2024-01-01T00:00:00Z') + duration('24h') == timestamp('2024-01-02T00:00:00Z')",
        "duration('24h') + timestamp('2024-01-01T00:00:00Z') == timestamp('2024-01-02T00:00:00Z')",
        "timestamp('2024-01-01T00:00:00Z') - duration('1ns') < timestamp('2024-01-01T00:00:00Z')",
        "timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z') == duration('24h')",
        "timestamp('9999-12-31T23:59:59.999Z').getHours() == 23 && timestamp('9999-12-31T23:59:59Z') > timestamp(0)",
        "string(timestamp('9999-12-31T23:59:59.999Z')) == '9999-12-31T23:59:59.999Z'",
        "timestamp('0001-01-01T00:00:00Z').getFullYear() == 1 && int(timestamp('1969-12-31T23:59:59.5Z')) == -1",
        "timestamp('9999-12-31T23:00:00-00:59') == timestamp('9999-12-31T23:59:00Z')",
        "duration('1h') + duration('30m') - duration('-30m') == duration('2h')",
    ]);
    all_errors(&[
        ("timestamp(0).getHours('Mars/Olympus') == 0", "`Mars/Olympus` is not a time zone"),
        ("timestamp(0).getHours('+99:00') == 0", "`+99:00` is not a time zone"),
        ("timestamp('9999-12-31T23:59:59Z') + duration('1s') > timestamp(0)", "a result is out of range"),
        (
            "timestamp('9999-12-31T23:59:59Z') - timestamp('0001-01-01T00:00:00Z') > duration('0')",
            "a result is out of range",
        ),
        ("dyn(duration('1s')).getFullYear() == 0", "a duration has no calendar"),
    ]);
}

#[test]
fn optionals() {
    all_true(&[
        "{'a': 1}.?a.orValue(2) == 1 && {'a': 1}.?b.orValue(2) == 2",
        "{'a': 1}[?'a'].value() == 1 && [1][?0].hasValue() && ![1][?1].hasValue()",
        "{'a': {'b': 1}}.?a.b.orValue(0) == 1 && {}.?a.b.c.orValue(7) == 7 && {'a': [5]}.?a[0].value() == 5",
        "optional.of(1).value() == 1 && !optional.none().hasValue() && !optional.ofNonZeroValue('').hasValue()",
        "optional.none().or(optional.of(3)).value() == 3 && optional.of(1).or(optional.of(3)).value() == 1",
        "optional.of(2).optMap(x, x * 2).value() == 4 && !optional.none().optMap(x, x).hasValue()",
        "optional.of(2).optFlatMap(x, optional.of(x)) == optional.of(2)",
        "[?optional.of(1), ?optional.none(), 3] == [1, 3] && {?'a': optional.none()} == {} && {?'a': optional.of(1)}.a == 1",
        "!has({}.?a.b) && has({'a': {'b': 1}}.?a.b) && optional.none() != optional.of(1)",
        "optional.of(1).orValue(1 / 0) == 1",
    ]);
    all_errors(&[
        ("optional.none().value() == 1", "an optional has no value"),
        ("dyn(1).orValue(2) == 1", "int is not optional"),
        ("[?dyn(1)] == [1]", "an element after `?` is int, not optional"),
    ]);
}

#[test]
fn ip_addresses() {
    let check = |address: &str, network: &str| {
        let json = format!(r#"{{"ip": "{address}", "net": "{network}"}}"#);
        let dynamic = answer("ip ipaddress, net string", "ip.in_cidr(net)", &json);
        let constant = answer("ip ipaddress", &format!("ip.in_cidr('{network}')"), &json);
        assert_eq!(dynamic, constant);
        dynamic
    };
    assert_eq!(check("10.2.3.4", "10.0.0.0/8"), "true");
    assert_eq!(check("11.2.3.4", "10.0.0.0/8"), "false");
    assert_eq!(check("::ffff:10.2.3.4", "10.0.0.0/8"), "true");
    assert_eq!(check("10.2.3.4", "::ffff:10.0.0.0/104"), "true");
    assert_eq!(check("10.2.3.4", "10.99.99.99/8"), "true");
    assert_eq!(check("2001:db8::1", "2001:db8::/32"), "true");
    assert_eq!(check("2001:db9::1", "2001:db8::/32"), "false");
    assert_eq!(check("10.2.3.4", "::/0"), "false");
    let broken = answer("ip ipaddress, net string", "ip.in_cidr(net)", r#"{"ip": "1.2.3.4", "net": "10"}"#);
    assert_eq!(broken, "`10` is not a network such as `10.0.0.0/8`");
    let same = answer("a ipaddress, b ipaddress", "a == b", r#"{"a": "::ffff:1.2.3.4", "b": "1.2.3.4"}"#);
    assert_eq!(same, "true");
    let listed = answer("a ipaddress, b list<ipaddress>", "a in b", r#"{"a": "::1", "b": ["0:0::1"]}"#);
    assert_eq!(listed, "true");
}
