#![allow(clippy::unwrap_used, clippy::panic)]
use super::*;

/// Tokens as text, newlines as `⏎`, comments left out; then the number of reports.
fn lexed(source: &str) -> (String, usize) {
    let mut reports = Reports::default();
    let tokens = tokens(source, 0, &mut reports);
    let texts: Vec<&str> = tokens
        .iter()
        .filter(|token| !token.kind.is_comment() && token.kind != TokenKind::End)
        .map(|token| match token.kind {
            TokenKind::Newline => "⏎",
            _ => &source[token.start as usize..token.end as usize],
        })
        .collect();
    (texts.join(" "), reports.into_errors(crate::SchemaErrorKind::Parse, &[]).len())
}

#[test]
fn a_newline_is_a_token_where_it_can_end_a_statement() {
    for (source, expected) in [
        ("a\n\n\nb", "a ⏎ b"),
        ("a\r\nb", "a ⏎ b"),
        ("a // why\nb", "a ⏎ b"),
        ("a\n// why\nb", "a ⏎ b"),
        ("a /* why\n */ b", "a b"),
        ("a +\nb", "a + b"),
        ("a |\n\nb:\nc", "a | b : c"),
        ("{\na\n}\n", "{ a ⏎ } ⏎"),
        ("(\na\n)\n", "( a ⏎ ) ⏎"),
        ("user:*\nuser#...\n", "user : * ⏎ user # ... ⏎"),
        ("'a'\n;\n", "'a' ⏎ ;"),
        ("\n\n", ""),
    ] {
        assert_eq!(lexed(source), (expected.into(), 0), "{source:?}");
    }
}

#[test]
fn tokens_need_no_space_between_them() {
    let source = "a->b-c...d.any(e)&f|g<h>/i#j=k,l;ünder_9";
    let expected = "a -> b - c ... d . any ( e ) & f | g < h > / i # j = k , l ; ünder_9";
    assert_eq!(lexed(source), (expected.into(), 0));
    assert_eq!(lexed("\u{feff}definition a"), ("definition a".into(), 0));
}

#[test]
fn the_body_of_a_caveat_is_one_token() {
    for body in [
        " a == b ",
        " {'k': {}}.k == {} ",
        " a == '}' ",
        r#" a == "}" "#,
        r#" a == "\"}" "#,
        r" a == r'\' ",
        r" a == bR'\' || a == b'\'}' ",
        r" xr == '\'}' ",
        " a == '''}'\n''}''' ",
        " a == \"\"\"}\\\"\"\"}\"\"\" ",
        " a // }\n ",
        " 1 / 2 > 0 ",
        " a == 'ä}' ",
        "\n\n",
        " caveat { definition } ",
    ] {
        let source = format!("caveat a(b int) {{{body}}}\nc");
        assert_eq!(lexed(&source), (format!("caveat a ( b int ) {{ {body} }} ⏎ c"), 0));
    }
    // A string that is not closed ends with its line.
    assert_eq!(lexed("caveat a() { ' \n } b").0, "caveat a ( ) {  ' \n  } b");
    // The word is a keyword of this language, not of CEL.
    assert_eq!(lexed("caveat a() {} definition b {}").0, "caveat a ( ) {  } definition b { }");
}

#[test]
fn what_has_no_meaning_is_reported_and_left_out() {
    assert_eq!(lexed("a $ b ! c"), ("a b c".into(), 2));
    assert_eq!(lexed("a \u{a0}b"), ("a b".into(), 1));
    assert_eq!(lexed("a /* b"), ("a".into(), 1));
    assert_eq!(lexed("a 'b\nc"), ("a 'b ⏎ c".into(), 1));
    assert_eq!(lexed("a \"b'"), ("a \"b'".into(), 1));
    assert_eq!(lexed("caveat a() { b").1, 1);
    assert_eq!(lexed("caveat a() { '''").1, 1);
    assert_eq!(lexed("caveat a() { '\\").1, 1);
}
