#![allow(clippy::unwrap_used, clippy::panic)]
use crate::schema::{AllowedType, Expression, SubjectForm};
use crate::testing::{compile, compiled, doc, errors, refused};
use crate::{ArrowFunction, SchemaErrorKind};

/// The expression with a parenthesis around everything that has operands.
fn shape(expression: &Expression) -> String {
    let joined = |operands: &[Expression], operator| operands.iter().map(shape).collect::<Vec<_>>().join(operator);
    match expression {
        Expression::Nil => "nil".into(),
        Expression::Itself => "self".into(),
        Expression::Reference(name) => name.to_string(),
        Expression::Arrow { relation, target, function: ArrowFunction::Any } => format!("{relation}->{target}"),
        Expression::Arrow { relation, target, function: ArrowFunction::All } => format!("{relation}.all({target})"),
        Expression::Union(operands) => format!("({})", joined(operands, " + ")),
        Expression::Intersection(operands) => format!("({})", joined(operands, " & ")),
        Expression::Exclusion(left, right) => format!("({} - {})", shape(left), shape(right)),
    }
}

#[test]
fn plus_binds_tightest_then_and_then_minus_and_all_group_to_the_left() {
    for (written, expected) in [
        ("aaa", "aaa"),
        ("(((aaa)))", "aaa"),
        ("aaa - bbb + ccc", "(aaa - (bbb + ccc))"),
        ("aaa + bbb - ccc", "((aaa + bbb) - ccc)"),
        ("aaa & bbb + ccc", "(aaa & (bbb + ccc))"),
        ("aaa + bbb & ccc", "((aaa + bbb) & ccc)"),
        ("aaa & bbb - ccc", "((aaa & bbb) - ccc)"),
        ("aaa - bbb & ccc", "(aaa - (bbb & ccc))"),
        ("aaa - bbb - ccc", "((aaa - bbb) - ccc)"),
        ("aaa - (bbb - ccc)", "(aaa - (bbb - ccc))"),
        ("(aaa - bbb) + ccc", "((aaa - bbb) + ccc)"),
        ("aaa + bbb + ccc", "(aaa + bbb + ccc)"),
        ("aaa + (bbb + ccc)", "(aaa + bbb + ccc)"),
        ("(aaa & bbb) & (bbb & ccc)", "(aaa & bbb & bbb & ccc)"),
        ("aaa + (bbb & ccc) + ddd", "(aaa + (bbb & ccc) + ddd)"),
        ("aaa - bbb & ccc + ddd - aaa + bbb & nil", "((aaa - (bbb & (ccc + ddd))) - ((aaa + bbb) & nil))"),
        ("aaa->bbb + aaa.any(bbb) - aaa.all(bbb)", "((aaa->bbb + aaa->bbb) - aaa.all(bbb))"),
    ] {
        let source = format!(
            "definition doc {{\nrelation aaa: doc\nrelation bbb: doc\nrelation ccc: doc\nrelation ddd: doc\n\
             permission perm = {written}\n}}"
        );
        let schema = compiled(&source);
        let expression = &schema.definition("doc").unwrap().permission("perm").unwrap().expression;
        assert_eq!(shape(expression), expected, "{written}");
        // The canonical text says the same.
        assert_eq!(compiled(&schema.text()), schema, "{written}");
    }
}

#[test]
fn every_form_of_allowed_type_is_read_and_printed() {
    let source = "use expiration
        caveat odd/on_day(day string) { day == 'tuesday' }
        definition ten/user { relation self_link: ten/user; permission link = self_link }
        definition doc {
            relation rel: ten/user | ten/user#... with odd/on_day | ten/user:* | ten/user#link
                | ten/user with expiration | ten/user:* with odd/on_day and expiration
        }";
    let schema = compiled(source);
    let relation = schema.definition("doc").unwrap().relation("rel").unwrap();
    let texts: Vec<String> = relation.allowed.iter().map(AllowedType::to_string).collect();
    assert_eq!(
        texts.join(" | "),
        "ten/user | ten/user with odd/on_day | ten/user:* | ten/user#link | ten/user with expiration | \
         ten/user:* with odd/on_day and expiration"
    );
    assert_eq!(relation.allowed[3].form, SubjectForm::Userset("link".parse().unwrap()));
}

#[test]
fn words_are_keywords_only_after_their_use_line() {
    let source = "caveat expiration(and string) { and == '' }
        definition partial { relation self: partial; relation import: partial with expiration
        relation typechecking: partial; relation use: partial; permission and = self + import + typechecking->use }";
    let schema = compiled(source);
    assert!(schema.definition("partial").unwrap().permission("and").is_some());
    assert_eq!(compiled(&schema.text()), schema);
    for (flag, word) in [
        ("expiration", "expiration"),
        ("expiration", "and"),
        ("self", "self"),
        ("typechecking", "typechecking"),
        ("partial", "partial"),
        ("import", "import"),
    ] {
        let found = errors(&format!("use {flag}\ndefinition doc {{ relation {word}: doc }}"));
        assert!(found[0].starts_with(&format!("2:27: `{word}` is a keyword")), "{found:?}");
    }
    // Any word can name a caveat's parameter.
    compiled("use expiration\ncaveat one(expiration int, relation int) { expiration > relation }");
}

#[test]
fn statements_end_with_a_line_or_a_semicolon_and_go_on_after_an_operator() {
    let schema = compiled(&doc("permission one = first +\n\n other\npermission two = (\n first\n + other\n)\n"));
    assert_eq!(schema, compiled(&doc("permission one = first + other; permission two = first\n// why\n + other;;")));
    compiled("definition user\n{\n}\ndefinition doc\n{relation rel: user\n| user:*\n}");
    // Definitions need nothing between them, members do.
    compiled("definition user {} definition doc { relation rel: user }");
    assert_eq!(
        errors("definition doc { relation one: doc relation two: doc }"),
        ["1:36: expected the end of the line or `;` after a relation or permission, found `relation`"]
    );
}

#[test]
fn syntax_errors_say_where_and_what_was_expected() {
    refused(
        SchemaErrorKind::Parse,
        &[
            ("relation a: b", "1:1", "relation", "top level"),
            ("}", "1:1", "}", "found `}`"),
            ("definition", "1:11", "", "found the end of the schema"),
            ("definition {}", "1:12", "{", "expected a name after `definition`, found `{`"),
            ("definition a//b {}", "1:19", "", "expected `{`"),
            ("definition ten/ {}", "1:17", "{", "expected a name after `/`"),
            ("definition doc", "1:15", "", "expected `{`"),
            ("definition doc {", "1:17", "", "expected `}` inside a definition, found the end"),
            ("definition doc {\nfoo\n}", "2:1", "foo", "expected `relation` or `permission` or `}`"),
            ("definition doc {\nrelation viewer user\n}", "2:17", "user", "expected `:`"),
            ("definition doc {\nrelation : user\n}", "2:10", ":", "expected a name"),
            ("definition doc {\nrelation viewer:\n}", "3:1", "}", "expected a name after a relation's types"),
            ("definition doc {\nrelation nil: doc\n}", "2:10", "nil", "keyword"),
            ("definition doc {\nrelation rel: doc |\n}", "3:1", "}", "expected a name"),
            ("definition doc {\nrelation rel: doc#\n}", "3:1", "}", "expected a name after `#`"),
            ("definition doc {\nrelation rel: doc:rel\n}", "2:19", "rel", "expected `*`"),
            ("definition doc {\nrelation rel: doc:*#rel\n}", "2:20", "#", "expected the end of the line"),
            ("definition doc {\nrelation rel: doc with\n}", "2:23", "\n", "expected a name after `with`"),
            ("definition doc {\npermission per\n}", "2:15", "\n", "expected `=`"),
            ("definition doc {\npermission per =\n}", "3:1", "}", "expected a relation or permission"),
            ("definition doc {\npermission per = doc->\n}", "3:1", "}", "expected a name after `->`"),
            ("definition doc {\npermission per = doc.some(per)\n}", "2:22", "some", "expected `any` or `all`"),
            ("definition doc {\npermission per = doc.any per\n}", "2:26", "per", "expected `(`"),
            ("definition doc {\npermission per = aaa->bbb->ccc\n}", "2:18", "aaa->bbb->", "cannot follow an arrow"),
            ("definition doc {\npermission per = aaa->bbb.all(ccc)\n}", "2:18", "aaa->bbb.", "cannot follow an arrow"),
            ("definition doc {\npermission per = aaa->(bbb)\n}", "2:23", "(", "expected a name after `->`"),
            ("definition doc {\npermission per = (aaa\n}", "2:22", "\n", "expected `)`"),
            ("definition doc {\npermission per = aaa)\n}", "2:21", ")", "expected the end of the line"),
            ("definition doc {\npermission per = aaa bbb\n}", "2:22", "bbb", "expected the end of the line"),
            ("definition doc {\npermission per: = aaa\n}", "2:17", "=", "expected a name after a permission's types"),
            ("definition doc {\n...part\n}", "2:1", "...", "use partial"),
            ("partial part {}", "1:1", "partial", "use partial"),
            ("import 'a.zed'", "1:1", "import", "use import"),
            ("use import\nimport a.zed", "2:8", "a", "expected a quoted path"),
            ("use deprecation", "1:5", "deprecation", "expiration, import, partial, self, typechecking"),
            ("use {", "1:5", "{", "expected a flag"),
            ("definition doc {}\nuse self", "2:1", "use self", "before the first definition"),
            (
                "use expiration\ndefinition doc {\nrelation r: d with expiration and cav\n}",
                "3:31",
                "and",
                "comes first",
            ),
            ("use expiration\ndefinition doc {\nrelation r: d with cav and cav\n}", "3:28", "cav", "`expiration`"),
            ("caveat one {}", "1:12", "{", "expected `(`"),
            ("caveat one(a) { a }", "1:13", ")", "expected a type"),
            ("caveat one(a int b int) { a }", "1:18", "b", "expected `)`"),
            ("caveat one(a list<int) { a }", "1:22", ")", "expected `>`"),
            ("caveat one(a int)", "1:18", "", "expected `{`"),
            ("caveat one(a int) { a > 0", "1:19", "{", "never closed"),
            ("definition doc {} /* }", "1:19", "/*", "never closed"),
        ],
    );
}

#[test]
fn one_pass_finds_an_error_per_statement() {
    let source = "definition one {
  relation two user
  relation three: user | | user
  relation four: user
  permission five = three four
}
caveat six() }
definition seven {
  permission eight = (nine
definition ten {
  nonsense { relation inside: user }
  permission eleven = + four
}";
    let found: Vec<String> =
        errors(source).iter().map(|error| error.split(": ").next().unwrap_or_default().to_owned()).collect();
    assert_eq!(found, ["2:16", "3:26", "5:27", "7:14", "9:27", "10:1", "11:3", "12:23"]);
    let errors = compile(source).unwrap_err();
    assert_eq!(errors[0].definition.as_deref(), Some("one"));
    assert_eq!(errors[0].member.as_deref(), Some("two"));
    assert_eq!(errors[0].expected, ["`:`"]);
    assert_eq!(errors[7].definition.as_deref(), Some("ten"));
}

#[test]
fn a_rendered_error_shows_line_carets_and_what_was_expected() {
    let source = "definition doc {\n\trelation viewer user\n}";
    let error = &compile(source).unwrap_err()[0];
    assert_eq!(
        error.render(source),
        "2:18: expected `:` between a relation and its types, found `user`\n  |\n2 | \trelation viewer user\n  | \t                ^^^^\n  \
         = expected `:`\n"
    );
    assert_eq!((error.span.start_line, error.span.start_column), (1, 17));
    assert_eq!((error.span.end_line, error.span.end_column), (1, 21));
    assert_eq!(&source[error.span.start_offset..error.span.end_offset], "user");
}

#[test]
fn columns_count_characters_and_offsets_count_bytes() {
    let source = "definition doc {\n/* äöü */ relation ä user\n}";
    let error = &compile(source).unwrap_err()[0];
    assert_eq!((error.span.start_line, error.span.start_column, error.span.start_offset), (1, 21, 42));
}

#[test]
fn of_a_long_line_only_the_part_around_the_error_is_shown() {
    let source = format!("definition user {{}} /* {} */ relation /* {} */", "x".repeat(1_000), "y".repeat(1_000));
    let rendered = compile(&source).unwrap_err()[0].render(&source);
    let lines: Vec<&str> = rendered.lines().collect();
    assert_eq!(lines[2].chars().count(), "1 | ".len() + crate::EXCERPT_CHARACTERS_MAX, "{rendered}");
    let caret = lines[3].find('^').unwrap();
    assert_eq!(&lines[2][caret..caret + "relation".len()], "relation", "{rendered}");
}
