//! Random schemas: what compiles keeps its meaning through its canonical text and through the formatter, and no text
//! whatever brings the compiler down.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::fmt::Write;

use stonetown_schema::{CompileOptions, ERRORS_MAX, Outline, Schema, complete, format, lint};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn seeded(name: &str) -> Random {
        let seed = std::env::var("STONETOWN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            now.as_nanos() as u64
        });
        println!("{name}: STONETOWN_SEED={seed}");
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// Writes well-typed schemas, with odd layout and comments.
struct Writer {
    random: Random,
    out: String,
}

impl Writer {
    fn schema(&mut self) -> String {
        self.out.clear();
        for flag in ["expiration", "self", "partial"] {
            self.gap();
            let end = self.random.pick(&["\n", ";", " // used below\n"]);
            write!(self.out, "use {flag}{end}").unwrap();
        }
        self.gap();
        self.out.push_str("caveat on_day(day string,\n days list<map<int>>) { day == '}' || (size(days) > 0 && day != \"{\") // }\n }");
        self.gap();
        self.out.push_str("definition user {}");
        self.gap();
        self.out.push_str("partial shared { relation owner: user; permission own = owner }");
        let count = 1 + self.random.below(4);
        for number in 0..count {
            self.definition(number, count);
        }
        self.gap();
        self.out.clone()
    }

    fn definition(&mut self, number: usize, count: usize) {
        self.gap();
        let (before, after) = (self.space(), self.space());
        write!(self.out, "definition{before}tenant/type{number}{after}{{").unwrap();
        self.gap();
        self.out.push_str("...shared");
        self.end();
        let relations = 1 + self.random.below(4);
        for relation in 0..relations {
            self.gap();
            let (before, after) = (self.space(), self.space());
            write!(self.out, "relation rel{relation}{before}:{after}").unwrap();
            let mut types = self.types(number, relation, count);
            types.sort();
            types.dedup();
            let joint = format!("{}|{}", self.space(), self.line());
            self.out.push_str(&types.join(&joint));
            self.end();
        }
        for permission in 0..self.random.below(4) {
            self.gap();
            let after = self.line();
            write!(self.out, "permission perm{permission} ={after}").unwrap();
            let expression = self.expression(relations, permission, 3);
            self.out.push_str(&expression);
            self.end();
        }
        self.out.push('}');
    }

    fn types(&mut self, number: usize, relation: usize, count: usize) -> Vec<String> {
        let mut types = Vec::new();
        for _ in 0..=self.random.below(3) {
            // Only relations after the first one have wildcards and usersets: arrows walk the first.
            let subject = match self.random.below(if relation == 0 { 2 } else { 5 }) {
                0 => "user".to_owned(),
                1 => format!("tenant/type{}", self.random.below(count)),
                2 => "user:*".to_owned(),
                3 => format!("tenant/type{number}#rel{}", self.random.below(relation)),
                _ => format!("tenant/type{}#own", self.random.below(count)),
            };
            let traits = ["", " with on_day", " with expiration", " with on_day and expiration"];
            types.push(subject + self.random.pick(&traits));
        }
        types
    }

    fn expression(&mut self, relations: usize, permission: usize, depth: usize) -> String {
        if depth == 0 || self.random.chance(35) {
            return match self.random.below(8) {
                0 => "nil".into(),
                1 => "self".into(),
                2 => "rel0->own".into(),
                3 => "rel0.any(own)".into(),
                4 => "rel0 . all ( rel0 )".into(),
                5 if permission > 0 => format!("perm{}", self.random.below(permission)),
                _ => format!("rel{}", self.random.below(relations)),
            };
        }
        if self.random.chance(30) {
            let inner = self.expression(relations, permission, depth - 1);
            return format!("({}{inner}{})", self.line(), self.line());
        }
        let operands: Vec<String> =
            (0..2 + self.random.below(2)).map(|_| self.expression(relations, permission, depth - 1)).collect();
        let operator = self.random.pick(&["+", "&", "-"]);
        operands.join(&format!("{}{operator}{}", self.line(), self.line()))
    }

    fn space(&mut self) -> &'static str {
        self.random.pick(&[" ", "  ", "\t", " /* why */ "])
    }

    /// White space where a statement goes on.
    fn line(&mut self) -> &'static str {
        self.random.pick(&[" ", " ", " ", "\n", "\r\n", " // so\n", "\n\n /* and\nso */\n", " /* on */ "])
    }

    /// White space between statements, with comments that may become documentation.
    fn gap(&mut self) {
        for _ in 0..self.random.below(3) {
            let gap = self.random.pick(&[
                "\n",
                "\n\n\n",
                "\r\n",
                "// a word  \n",
                "//\n",
                "/** doc\n  * more\n\n * end */\n",
                "/* a */ /* b */\n",
                "/*\n  +--+\n  |  |\n*/\n",
                "// spicedb-ignore-warning: arrow-references-relation\n",
                ";",
                " \t",
            ]);
            self.out.push_str(gap);
        }
    }

    fn end(&mut self) {
        let end = self.random.pick(&["\n", "\r\n", ";", " ; \n", " // trailing\n", "\n// below\n", " /* end */\n"]);
        self.out.push_str(end);
    }
}

#[test]
fn random_schemas_keep_their_meaning() {
    let options = CompileOptions::default();
    let mut writer = Writer { random: Random::seeded("random_schemas_keep_their_meaning"), out: String::new() };
    for _ in 0..1_000 {
        let source = writer.schema();
        let schema =
            Schema::compile(&source, &options).unwrap_or_else(|e| panic!("{}\n{source}", e[0].render(&source)));

        let text = schema.text();
        let again = Schema::compile(&text, &options).unwrap_or_else(|e| panic!("{}\n{text}", e[0].render(&text)));
        assert_eq!(schema, again, "{source}\n=>\n{text}");
        assert_eq!(text, again.text(), "{source}");

        let formatted = format(&source).unwrap();
        let compiled = Schema::compile(&formatted, &options)
            .unwrap_or_else(|e| panic!("{}\n{formatted}", e[0].render(&formatted)));
        assert_eq!(schema, compiled, "{source}\n=>\n{formatted}");
        assert_eq!(format(&formatted).unwrap(), formatted, "{source}");
        assert_eq!(format(&text).unwrap(), text, "{source}");
        assert_eq!(comments(&formatted), comments(&source), "{source}\n=>\n{formatted}");
        assert!(lint(&source, &options).is_ok());
        names_stand_where_the_outline_says(&source);
    }
}

/// Whatever refers to a symbol is its name, and each definition and member that is compiled is there.
fn names_stand_where_the_outline_says(source: &str) {
    let outline = Outline::read(source, None);
    for (index, symbol) in outline.symbols().iter().enumerate() {
        let name_at = outline.name_at(symbol).bytes;
        assert_eq!(without_comments(&source[name_at.clone()]), symbol.name, "{source}");
        assert_eq!(outline.meaning(name_at.start), Some((name_at, vec![index])), "{source}");
        assert!(outline.text(symbol).contains(symbol.name.split('/').next_back().unwrap()), "{source}");
        for (place, alone) in outline.references(index) {
            assert_eq!(without_comments(&source[place.bytes.clone()]), symbol.name, "{source}");
            let (bytes, symbols) = outline.meaning(place.bytes.start).unwrap();
            assert!(bytes == place.bytes && symbols.contains(&index) && (symbols.len() == 1) == alone, "{source}");
        }
    }
}

/// A path may have comments and space around its slashes.
fn without_comments(path: &str) -> String {
    path.replace("/* why */", "").split_whitespace().collect()
}

/// How many comments a text of the writer has.
fn comments(text: &str) -> usize {
    text.matches("//").count() + text.matches("/*").count()
}

#[test]
fn random_damage_is_an_error_or_a_schema() {
    let options = CompileOptions::default();
    let mut writer = Writer { random: Random::seeded("random_damage_is_an_error_or_a_schema"), out: String::new() };
    let pieces = [
        "{",
        "}",
        "(",
        ")",
        "->",
        "-",
        "/*",
        "*/",
        "//",
        "'",
        "\"",
        "\n",
        "caveat",
        "definition",
        "relation",
        "...",
        "ä",
        "\u{0}",
        "permission",
        "use",
        "with",
        ":",
        "#",
        "*",
        "<",
        ">",
        "\\",
        "'''",
        "r'",
        "\r",
    ];
    for _ in 0..1_000 {
        let mut characters: Vec<char> = writer.schema().chars().collect();
        for _ in 0..=writer.random.below(4) {
            let at = writer.random.below(characters.len());
            match writer.random.below(3) {
                0 => _ = characters.remove(at),
                1 => characters.truncate(at + 1),
                _ => _ = characters.splice(at..at, writer.random.pick(&pieces).chars()).count(),
            }
            if characters.is_empty() {
                break;
            }
        }
        let source: String = characters.into_iter().collect();
        match Schema::compile(&source, &options) {
            Ok(schema) => assert_eq!(Schema::compile(&schema.text(), &options).unwrap(), schema, "{source}"),
            Err(errors) => {
                assert!((1..=ERRORS_MAX).contains(&errors.len()), "{source}");
                for error in &errors {
                    assert!(error.span.start_offset <= error.span.end_offset, "{source}: {error}");
                    assert!(source.get(error.span.start_offset..error.span.end_offset).is_some(), "{source}: {error}");
                    assert!(!error.render(&source).is_empty());
                    assert!(errors.iter().all(|other| other.kind == error.kind));
                }
                assert!(errors.is_sorted_by_key(|error| error.span.start_offset), "{source}");
            }
        }
        let outline = Outline::read(&source, None);
        for _ in 0..5 {
            let offset = writer.random.below(source.len() + 2);
            let found = complete(&outline, offset);
            assert!(source.get(found.replaces.clone()).is_some(), "{offset} in {source}");
            let meaning = outline.meaning(offset);
            assert!(meaning.is_none_or(|(bytes, _)| source.get(bytes).is_some()), "{offset} in {source}");
        }
        if let Ok(formatted) = format(&source) {
            assert_eq!(format(&formatted).as_deref(), Ok(&*formatted), "{source}");
            let outcome = |text: &str| Schema::compile(text, &options).map_err(|errors| errors.len());
            assert_eq!(outcome(&source), outcome(&formatted), "{source}\n=>\n{formatted}");
        }
    }
}
