//! Random well-typed expressions and contexts. A seed gives the same ones each time.

use serde_json::{Value as Json, json};

/// The parameters that random expressions mention.
pub(super) const DECLARED: &str = "a bool, b bool, i int, j int, n uint, d double, s string, y bytes, l list<int>, \
                                   k list<string>, m map<int>, x any, t timestamp, w duration";

/// The type of an expression to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Double,
    String,
    Ints,
    Strings,
    Map,
    Timestamp,
    Duration,
}

/// A small generator of random numbers (splitmix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    pub(super) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'t>(&mut self, choices: &[&'t str]) -> &'t str {
        choices[self.below(choices.len())]
    }

    /// A value for a parameter of [`DECLARED`].
    pub(super) fn value(&mut self, parameter: &str) -> Json {
        let small = |random: &mut Random| i64::try_from(random.below(5)).unwrap() - 1;
        match parameter {
            "a" | "b" => json!(self.one_in(2)),
            "i" | "j" if self.one_in(10) => json!(if self.one_in(2) { i64::MAX } else { i64::MIN }),
            "i" | "j" => json!(small(self)),
            "n" => json!(self.below(4)),
            "d" => json!([0.0, 1.0, -1.5, 2.5][self.below(4)]),
            "s" => json!(self.pick(&["", "a", "b", "ab", "ä", "1"])),
            "y" => json!(self.pick(&["", "YQ==", "YWI="])),
            "l" => Json::Array((0..self.below(4)).map(|_| json!(small(self))).collect()),
            "k" => Json::Array((0..self.below(4)).map(|_| json!(self.pick(&["", "a", "b", "ab"]))).collect()),
            "m" => {
                let mut fields = serde_json::Map::new();
                for _ in 0..self.below(3) {
                    fields.insert(self.pick(&["a", "b", "c"]).to_owned(), json!(small(self)));
                }
                Json::Object(fields)
            }
            "x" => match self.below(5) {
                0 => json!(1),
                1 => json!("a"),
                2 => json!({"a": 1, "b": [true]}),
                3 => json!(true),
                _ => json!([1, "a"]),
            },
            // All in UTC: the judge shows the hours of the zone a timestamp was written in.
            "t" => json!(self.pick(&["2024-02-29T23:59:59.5Z", "1969-12-31T00:00:00Z", "2023-12-31T23:00:00Z"])),
            "w" => json!(self.pick(&["0", "1h30m", "-24h", "100ms"])),
            _ => panic!("no parameter `{parameter}`"),
        }
    }

    /// An expression of a type, at most `depth` operators high.
    pub(super) fn expression(&mut self, kind: Kind, depth: usize) -> String {
        Writer { random: self, locals: Vec::new() }.write(kind, depth)
    }
}

struct Writer<'r> {
    random: &'r mut Random,
    /// The variables of the macros around.
    locals: Vec<(String, Kind)>,
}

impl Writer<'_> {
    fn write(&mut self, kind: Kind, depth: usize) -> String {
        if depth == 0 || self.random.one_in(6) {
            return self.leaf(kind);
        }
        if self.random.one_in(12) {
            let condition = self.write(Kind::Bool, depth - 1);
            return format!("({condition} ? {} : {})", self.write(kind, depth - 1), self.write(kind, depth - 1));
        }
        match kind {
            Kind::Bool => self.bool(depth - 1),
            Kind::Int => self.int(depth - 1),
            Kind::Double => self.double(depth - 1),
            Kind::String => self.string(depth - 1),
            Kind::Ints | Kind::Strings => self.list(kind, depth - 1),
            Kind::Map => format!("{{'a': {}, 'b': {}}}", self.write(Kind::Int, depth - 1), self.write(Kind::Int, 0)),
            Kind::Timestamp => {
                let sign = self.random.pick(&["+", "-"]);
                format!("({} {sign} {})", self.write(Kind::Timestamp, depth - 1), self.write(Kind::Duration, depth - 1))
            }
            Kind::Duration => match self.random.below(2) {
                0 => {
                    format!("({} - {})", self.write(Kind::Timestamp, depth - 1), self.write(Kind::Timestamp, depth - 1))
                }
                _ => format!("({} + {})", self.write(Kind::Duration, depth - 1), self.write(Kind::Duration, depth - 1)),
            },
        }
    }

    fn leaf(&mut self, kind: Kind) -> String {
        let locals: Vec<&String> = self.locals.iter().filter(|(_, of)| *of == kind).map(|(name, _)| name).collect();
        if !locals.is_empty() && self.random.one_in(2) {
            return locals[self.random.below(locals.len())].clone();
        }
        let choices: &[&str] = match kind {
            Kind::Bool => {
                &["a", "b", "true", "false", "(x == 1)", "(x == 'a')", "has(m.a)", "has(x.a)", "x.b[0]", "(y == b'a')"]
            }
            Kind::Int => {
                &["i", "j", "i", "j", "0", "1", "2", "-1", "9223372036854775807", "int(n)", "m.a", "m['b']", "l[0]"]
            }
            Kind::Double => &["d", "d", "0.0", "1.5", "-2.0"],
            Kind::String => &["s", "s", "'a'", "''", "'ab'", "k[0]", "string(y)"],
            Kind::Ints => &["l", "l", "[]", "[1, 2]", "[0, i]"],
            Kind::Strings => &["k", "k", "[]", "['a', 'ab']", "[s, 'b']"],
            Kind::Map => &["m", "m", "m", "{'a': 1}", "{'b': j, s: 1}"],
            Kind::Timestamp => &["t", "t", "timestamp('2024-02-29T23:59:59.5Z')", "timestamp(0)"],
            Kind::Duration => &["w", "w", "duration('1h30m')", "duration('0s')"],
        };
        self.random.pick(choices).to_owned()
    }

    fn bool(&mut self, depth: usize) -> String {
        let order = self.random.pick(&["==", "!=", "<", "<=", ">", ">="]);
        let equality = self.random.pick(&["==", "!="]);
        match self.random.below(16) {
            0 => format!("!{}", self.write(Kind::Bool, depth)),
            1..=3 => format!("({} && {})", self.write(Kind::Bool, depth), self.write(Kind::Bool, depth)),
            4..=6 => format!("({} || {})", self.write(Kind::Bool, depth), self.write(Kind::Bool, depth)),
            7 => format!("({} {order} {})", self.write(Kind::Int, depth), self.write(Kind::Int, depth)),
            8 => {
                let kinds = [Kind::Double, Kind::String, Kind::Timestamp, Kind::Duration, Kind::Bool];
                let kind = kinds[self.random.below(kinds.len())];
                format!("({} {order} {})", self.write(kind, depth), self.write(kind, depth))
            }
            9 => {
                let kinds = [Kind::Ints, Kind::Strings, Kind::Map];
                let kind = kinds[self.random.below(kinds.len())];
                format!("({} {equality} {})", self.write(kind, depth), self.write(kind, depth))
            }
            10 => {
                let method = self.random.pick(&["contains", "startsWith", "endsWith"]);
                format!("{}.{method}({})", self.write(Kind::String, depth), self.write(Kind::String, depth))
            }
            11 => format!("{}.matches('^a+b?$')", self.write(Kind::String, depth)),
            12 => format!("({} in {})", self.write(Kind::Int, depth), self.write(Kind::Ints, depth)),
            13 => format!("({} in {})", self.write(Kind::String, depth), self.write(Kind::Map, depth)),
            _ => {
                let name = self.random.pick(&["all", "exists", "exists_one"]);
                let kinds = [(Kind::Ints, Kind::Int), (Kind::Strings, Kind::String), (Kind::Map, Kind::String)];
                let (range, element) = kinds[self.random.below(kinds.len())];
                self.comprehension(name, range, element, Kind::Bool, depth)
            }
        }
    }

    fn int(&mut self, depth: usize) -> String {
        match self.random.below(8) {
            0..=3 => {
                let operator = self.random.pick(&["+", "-", "*", "/", "%"]);
                format!("({} {operator} {})", self.write(Kind::Int, depth), self.write(Kind::Int, depth))
            }
            4 => {
                let kinds = [Kind::String, Kind::Ints, Kind::Strings, Kind::Map];
                let kind = kinds[self.random.below(kinds.len())];
                format!("size({})", self.write(kind, depth))
            }
            5 => format!("{}[{}]", self.write(Kind::Ints, depth), self.write(Kind::Int, depth)),
            6 => {
                let parts = ["getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear"];
                let part = if self.random.one_in(2) { "getHours" } else { self.random.pick(&parts) };
                format!("{}.{part}()", self.write(Kind::Timestamp, depth))
            }
            _ => format!("int({})", self.write(Kind::Double, depth)),
        }
    }

    fn double(&mut self, depth: usize) -> String {
        match self.random.below(4) {
            0 => format!("double({})", self.write(Kind::Int, depth)),
            _ => {
                let operator = self.random.pick(&["+", "-", "*", "/"]);
                format!("({} {operator} {})", self.write(Kind::Double, depth), self.write(Kind::Double, depth))
            }
        }
    }

    fn string(&mut self, depth: usize) -> String {
        match self.random.below(3) {
            0 => format!("string({})", self.write(Kind::Int, depth)),
            1 => format!("{}[{}]", self.write(Kind::Strings, depth), self.write(Kind::Int, depth)),
            _ => format!("({} + {})", self.write(Kind::String, depth), self.write(Kind::String, depth)),
        }
    }

    fn list(&mut self, kind: Kind, depth: usize) -> String {
        let element = if kind == Kind::Ints { Kind::Int } else { Kind::String };
        match self.random.below(4) {
            0 => format!("({} + {})", self.write(kind, depth), self.write(kind, depth)),
            1 => format!("[{}]", self.write(element, depth)),
            2 => self.comprehension("filter", kind, element, Kind::Bool, depth),
            _ => {
                // Not over a map: the judge walks those in any order.
                let ranges = [(Kind::Ints, Kind::Int), (Kind::Strings, Kind::String)];
                let (range, of) = ranges[self.random.below(2)];
                self.comprehension("map", range, of, element, depth)
            }
        }
    }

    fn comprehension(&mut self, name: &str, range: Kind, element: Kind, body: Kind, depth: usize) -> String {
        let range = self.write(range, depth);
        let variable = format!("v{}", self.locals.len());
        self.locals.push((variable.clone(), element));
        let body = self.write(body, depth);
        self.locals.pop();
        format!("{range}.{name}({variable}, {body})")
    }
}

/// Runs `round` with many seeds, from the one in `STONETOWN_SEED` or else from the time, and says which one failed.
pub(super) fn with_seeds(rounds: u64, round: impl Fn(&mut Random)) {
    let first = match std::env::var("STONETOWN_SEED") {
        Ok(seed) => seed.parse().expect("STONETOWN_SEED is a number"),
        Err(_) => u64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() % (1 << 62)).unwrap(),
    };
    for seed in first..first + rounds {
        let guard = Announce(seed);
        round(&mut Random::new(seed));
        std::mem::forget(guard);
    }
}

/// Prints its seed when a panic drops it.
struct Announce(u64);

impl Drop for Announce {
    fn drop(&mut self) {
        eprintln!("to repeat: STONETOWN_SEED={}", self.0);
    }
}
