//! Random schemas, as text: what [`stonetown_schema::Schema::compile`] refuses is thrown away and drawn again.

use std::collections::BTreeSet;
use std::sync::Arc;

use stonetown_schema::{CompileOptions, Expression, Schema, SubjectForm};

use super::dice::Dice;

const TYPES: [&str; 6] = ["user", "team", "folder", "document", "robot", "org"];
const NAMES: [&str; 9] = ["member", "viewer", "editor", "parent", "owner", "banned", "view", "edit", "manage"];

/// Caveats share parameters, always of one type, so that one context serves several.
const CAVEATS: [&str; 14] = [
    "caveat under(used int, limit int) {\n\tused < limit\n}",
    "caveat flagged(flag bool) {\n\tflag\n}",
    "caveat either(flag bool, used int) {\n\tflag || used > 2\n}",
    "caveat both(flag bool, name string) {\n\tflag && name == 'x'\n}",
    "caveat listed(name string, names list<string>) {\n\tname in names\n}",
    "caveat ratio(used int, limit int) {\n\tlimit / used > 1\n}",
    "caveat choice(flag bool, used int, limit int) {\n\tflag ? used > limit : limit > 1\n}",
    "caveat attribute(facts map<int>, used int) {\n\tfacts.level > used || used == 3\n}",
    "// @stonetown trusted(resource.env)\ncaveat local(env string, name string) {\n\tenv == name\n}",
    "// @stonetown trusted(posture: subject.env)\ncaveat healthy(posture string, flag bool) {\n\tposture == 'x' || flag\n}",
    "// @stonetown trusted(env: resource.env, posture: subject.env)\ncaveat same(env string, posture string) {\n\tenv == posture\n}",
    "// @stonetown stored(own)\ncaveat kept(own int, used int) {\n\town > used\n}",
    "// @stonetown server(now)\ncaveat early(now timestamp, flag bool) {\n\tnow < timestamp('2030-01-01T01:00:00Z') && flag\n}",
    "// @stonetown server(peer_ip)\ncaveat near(peer_ip ipaddress, used int) {\n\tpeer_ip.in_cidr('10.0.0.0/8') || used > 2\n}",
];

/// A schema that can still be changed.
#[derive(Debug, Clone)]
pub struct Draft {
    caveats: Vec<&'static str>,
    definitions: Vec<Definition>,
    /// In percent: how often an operator is an exclusion, and an allowed type a wildcard or a userset.
    exclusions: usize,
    wildcards: usize,
    usersets: usize,
}

#[derive(Debug, Clone)]
struct Definition {
    name: &'static str,
    /// What lists all that it has.
    lister: Option<&'static str>,
    relations: Vec<(&'static str, Vec<String>)>,
    permissions: Vec<(&'static str, String)>,
}

impl Draft {
    /// A schema that compiles.
    pub fn random(dice: &mut Dice) -> (Draft, Arc<Schema>) {
        loop {
            let draft = Draft::attempt(dice);
            if let Some(schema) = draft.compile() {
                return (draft, schema);
            }
        }
    }

    /// The same schema with something changed that leaves all relationships allowed, if that compiles.
    pub fn changed(&self, dice: &mut Dice) -> Option<(Draft, Arc<Schema>)> {
        let mut draft = self.clone();
        let index = dice.below(draft.definitions.len());
        match dice.below(3) {
            0 => draft.add_allowed_type(dice, index),
            1 => draft.redraw_permissions(dice, index),
            _ => (0..draft.definitions.len()).for_each(|index| draft.redraw_permissions(dice, index)),
        }
        draft.compile().map(|schema| (draft, schema))
    }

    pub fn compile(&self) -> Option<Arc<Schema>> {
        Schema::compile(&self.text(), &CompileOptions::default()).ok().map(Arc::new)
    }

    pub fn text(&self) -> String {
        let mut text = String::from("use expiration\nuse self\n\n");
        for caveat in &self.caveats {
            text += caveat;
            text += "\n\n";
        }
        for definition in &self.definitions {
            if let Some(lister) = definition.lister {
                text += &format!("// @stonetown enumerate_as({lister})\n");
            }
            text += &format!("definition {} {{\n", definition.name);
            for (name, allowed) in &definition.relations {
                text += &format!("\trelation {name}: {}\n", allowed.join(" | "));
            }
            for (name, expression) in &definition.permissions {
                text += &format!("\tpermission {name} = {expression}\n");
            }
            text += "}\n\n";
        }
        text
    }

    fn attempt(dice: &mut Dice) -> Draft {
        if dice.percent(10) {
            return Draft::circle(dice);
        }
        let caveat_count = if dice.percent(70) { dice.between(1, 3) } else { 0 };
        // Now and then little but groups within groups.
        let groups = dice.percent(15);
        let type_count = dice.between(1, if groups { 2 } else { TYPES.len() });
        let mut draft = Draft {
            caveats: dice.some(&CAVEATS, caveat_count),
            definitions: Vec::new(),
            exclusions: *dice.pick(&[0, 15, 30, 60]),
            wildcards: *dice.pick(&[0, 10, 10, 25]),
            usersets: if groups { 65 } else { *dice.pick(&[15, 30, 45]) },
        };
        for (index, name) in dice.some(&TYPES, type_count).into_iter().enumerate() {
            let relation_count = match index {
                0 if dice.percent(60) && !groups => 0,
                _ => dice.between(1, if groups { 2 } else { 5 }),
            };
            let permission_count = if relation_count == 0 { 0 } else { dice.between(0, if groups { 2 } else { 4 }) };
            let mut names = dice.some(&NAMES, relation_count + permission_count);
            let lister = if dice.percent(20) { names.last().copied() } else { None };
            let permissions = names.split_off(relation_count.min(names.len()));
            draft.definitions.push(Definition {
                name,
                lister,
                relations: names.into_iter().map(|name| (name, Vec::new())).collect(),
                permissions: permissions.into_iter().map(|name| (name, String::new())).collect(),
            });
        }
        for index in 0..draft.definitions.len() {
            for _ in 0..2 * draft.definitions[index].relations.len() {
                draft.add_allowed_type(dice, index);
            }
            let plain = draft.definitions[0].name;
            for (_, allowed) in &mut draft.definitions[index].relations {
                if allowed.is_empty() {
                    allowed.push(plain.to_owned());
                }
            }
        }
        for index in 0..draft.definitions.len() {
            draft.redraw_permissions(dice, index);
        }
        draft
    }

    /// Permissions that need each other, with small changes. What one of them intersects is known a piece at a time: it may
    /// depend on a caveat while others are computed from it, and turn out to be certain. By chance that hardly ever happens.
    fn circle(dice: &mut Dice) -> Draft {
        let (names, caveats) = (NAMES, dice.some(&CAVEATS[..8], 2));
        let [sure, one, other, any, whole, either, narrow, wide, always] = names;
        let with = |caveat: &'static str| format!("user with {}", name_of(caveat));
        let (with_one, with_other) = (with(caveats[0]), with(caveats[1]));
        let relations = vec![
            (sure, vec!["user".to_owned()]),
            (any, vec![dice.pick(&["user", &with_one, &with_other]).to_string()]),
            (one, vec![with_one]),
            (other, vec![with_other]),
        ];
        let mut permissions = [
            (whole, " & ", vec![one, either, narrow]),
            (either, " + ", vec![narrow, whole, always]),
            (narrow, " & ", vec![any, wide]),
            (wide, " + ", vec![other, either]),
            // Relations are looked at before permissions, wherever they stand.
            (always, " + ", vec![sure]),
        ]
        .map(|(name, operator, mut parts)| {
            if dice.percent(30) {
                let first = dice.below(parts.len());
                parts.rotate_left(first);
            }
            for part in &mut parts {
                if dice.percent(10) {
                    *part = *dice.pick(&names);
                }
            }
            (name, parts.join(operator))
        });
        permissions.rotate_left(dice.below(5));
        let plain = Definition { name: "user", lister: None, relations: Vec::new(), permissions: Vec::new() };
        let name = *dice.pick(&TYPES[1..]);
        let circle = Definition { name, lister: None, relations, permissions: permissions.to_vec() };
        let definitions = vec![plain, circle];
        let mut draft = Draft { caveats, definitions, exclusions: 15, wildcards: 10, usersets: 15 };
        for _ in 0..dice.below(3) {
            draft.add_allowed_type(dice, 1);
        }
        draft
    }

    fn add_allowed_type(&mut self, dice: &mut Dice, index: usize) {
        let count = self.definitions[index].relations.len();
        if count == 0 {
            return;
        }
        let target = if dice.percent(40) { 0 } else { dice.below(self.definitions.len()) };
        let target = &self.definitions[target];
        let names: Vec<&str> =
            target.relations.iter().map(|r| r.0).chain(target.permissions.iter().map(|p| p.0)).collect();
        let mut allowed = match dice.below(100) {
            chance if chance < self.wildcards => format!("{}:*", target.name),
            chance if chance < self.wildcards + self.usersets && !names.is_empty() => {
                format!("{}#{}", target.name, dice.pick(&names))
            }
            _ => target.name.to_owned(),
        };
        let caveat = self.caveats.get(dice.below(self.caveats.len() * 3 / 2 + 1)).map(|text| name_of(text));
        match (caveat, dice.percent(20)) {
            (Some(caveat), true) => allowed += &format!(" with {caveat} and expiration"),
            (Some(caveat), false) => allowed += &format!(" with {caveat}"),
            (None, true) => allowed += " with expiration",
            (None, false) => {}
        }
        let relation = dice.below(count);
        let relation = &mut self.definitions[index].relations[relation].1;
        if !relation.contains(&allowed) {
            relation.push(allowed);
        }
    }

    fn redraw_permissions(&mut self, dice: &mut Dice, index: usize) {
        for permission in 0..self.definitions[index].permissions.len() {
            let depth = dice.between(1, 3);
            let expression = self.expression(dice, index, permission, depth);
            self.definitions[index].permissions[permission].1 = expression;
        }
    }

    fn expression(&self, dice: &mut Dice, index: usize, permission: usize, depth: usize) -> String {
        if depth == 0 || dice.percent(15) {
            return self.operand(dice, index, permission);
        }
        let operator = match dice.below(100) {
            chance if chance < self.exclusions => " - ",
            chance if chance < self.exclusions + (100 - self.exclusions) * 4 / 5 => " + ",
            _ => " & ",
        };
        let count = dice.between(2, 3);
        let parts: Vec<String> = (0..count)
            .map(|_| {
                let part = self.expression(dice, index, permission, depth - 1);
                if part.contains(' ') && dice.percent(70) { format!("({part})") } else { part }
            })
            .collect();
        parts.join(operator)
    }

    fn operand(&self, dice: &mut Dice, index: usize, permission: usize) -> String {
        let definition = &self.definitions[index];
        let own: Vec<&str> = definition.relations.iter().map(|relation| relation.0).collect();
        match dice.below(100) {
            0..=1 => "nil".to_owned(),
            2..=5 => "self".to_owned(),
            6..=45 => {
                // An arrow, from a relation without wildcards to a name that some type has.
                let from: Vec<&str> = (definition.relations.iter())
                    .filter(|relation| relation.1.iter().all(|allowed| !allowed.contains('*')))
                    .map(|relation| relation.0)
                    .collect();
                let to = self.definitions[dice.below(self.definitions.len())].clone();
                let to: Vec<&str> =
                    to.relations.iter().map(|r| r.0).chain(to.permissions.iter().map(|p| p.0)).collect();
                if from.is_empty() || to.is_empty() {
                    return (*dice.pick(&own)).to_owned();
                }
                let (from, to) = (dice.pick(&from), dice.pick(&to));
                match dice.below(4) {
                    0 => format!("{from}.all({to})"),
                    1 => format!("{from}.any({to})"),
                    _ => format!("{from}->{to}"),
                }
            }
            46..=60 if definition.permissions.len() > 1 => {
                // Mostly one that comes before, so that permissions seldom run in a circle on one object.
                let other =
                    if dice.percent(85) { dice.below(permission) } else { dice.below(definition.permissions.len()) };
                definition.permissions[other].0.to_owned()
            }
            _ => (*dice.pick(&own)).to_owned(),
        }
    }
}

/// How many permissions can come back to themselves through the right side of an exclusion of theirs. What these cost
/// grows exponentially with them and with the number of objects.
pub fn cyclic_exclusions(schema: &Schema) -> usize {
    let nodes: Vec<(&str, &str)> = (schema.definitions().iter())
        .flat_map(|definition| definition.members().map(|member| (definition.name.as_str(), member.name().as_str())))
        .collect();
    let index = |object_type: &str, name: &str| nodes.iter().position(|node| *node == (object_type, name));
    let mut depends = vec![vec![false; nodes.len()]; nodes.len()];
    let mut excludes = Vec::new();
    for definition in schema.definitions() {
        let own = definition.name.as_str();
        for relation in &definition.relations {
            let from = index(own, relation.name.as_str()).expect("all are listed");
            for allowed in &relation.allowed {
                if let SubjectForm::Userset(of) = &allowed.form
                    && let Some(to) = index(allowed.subject_type.as_str(), of.as_str())
                {
                    depends[from][to] = true;
                }
            }
        }
        for permission in &definition.permissions {
            let from = index(own, permission.name.as_str()).expect("all are listed");
            visit(&permission.expression, false, &mut |part, excluded| {
                let mut to = Vec::new();
                match part {
                    Expression::Reference(name) => to.extend(index(own, name.as_str())),
                    Expression::Arrow { relation, target, .. } => {
                        let relation = definition.relation(relation.as_str()).expect("arrows begin at relations");
                        to.extend(
                            (relation.allowed.iter())
                                .filter_map(|allowed| index(allowed.subject_type.as_str(), target.as_str())),
                        );
                    }
                    _ => {}
                }
                for to in to {
                    depends[from][to] = true;
                    if excluded {
                        excludes.push((from, to));
                    }
                }
            });
        }
    }
    for by in 0..nodes.len() {
        for from in 0..nodes.len() {
            if depends[from][by] {
                let more = depends[by].clone();
                depends[from].iter_mut().zip(more).for_each(|(known, more)| *known |= more);
            }
        }
    }
    let owners = excludes.into_iter().filter(|(from, to)| from == to || depends[*to][*from]).map(|(from, _)| from);
    owners.collect::<BTreeSet<_>>().len()
}

fn visit(expression: &Expression, excluded: bool, seen: &mut impl FnMut(&Expression, bool)) {
    seen(expression, excluded);
    match expression {
        Expression::Union(parts) | Expression::Intersection(parts) => {
            parts.iter().for_each(|part| visit(part, excluded, seen));
        }
        Expression::Exclusion(left, right) => {
            visit(left, excluded, seen);
            visit(right, true, seen);
        }
        _ => {}
    }
}

/// What follows the word `caveat`.
fn head(text: &'static str) -> &'static str {
    text.split_once("caveat ").expect("a caveat").1
}

fn name_of(caveat: &'static str) -> &'static str {
    head(caveat).split_once('(').expect("caveats have parameters").0
}

/// The names of a caveat's parameters.
pub fn parameters(caveat: &str) -> Vec<&'static str> {
    let found = CAVEATS.iter().find_map(|text| head(text).strip_prefix(caveat)?.strip_prefix('('));
    let (parameters, _) = found.and_then(|text| text.split_once(')')).expect("a caveat of the list");
    parameters.split(", ").filter_map(|parameter| parameter.split(' ').next()).collect()
}
