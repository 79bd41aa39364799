//! Dependencies and dependents of random schemas, compared with a definition that is too plain to be wrong.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::BTreeSet;

use stonetown_schema::{CompileOptions, Expression, Member, Reached, Schema, SubjectForm, dependencies, dependents};

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// A schema of up to 5 types, each with a few of the relations `rel0`… and permissions `perm0`….
fn schema(random: &mut Random) -> String {
    let types = 1 + random.below(5);
    let shape: Vec<(usize, usize)> = (0..types).map(|_| (1 + random.below(4), random.below(4))).collect();
    let mut text = "use self\n".to_owned();
    for (relations, permissions) in &shape {
        let number = text.matches("definition").count();
        text.push_str(&format!("definition type{number} {{\n"));
        for relation in 0..*relations {
            let allowed: BTreeSet<String> = (0..1 + random.below(3))
                .map(|_| {
                    let other = random.below(types);
                    match random.below(3) {
                        0 => format!("type{other}#rel{}", random.below(shape[other].0)),
                        1 if shape[other].1 > 0 => format!("type{other}#perm{}", random.below(shape[other].1)),
                        _ => format!("type{other}"),
                    }
                })
                .collect();
            let allowed: Vec<String> = allowed.into_iter().collect();
            text.push_str(&format!("relation rel{relation}: {}\n", allowed.join(" | ")));
        }
        for permission in 0..*permissions {
            let operands: Vec<String> = (0..1 + random.below(3))
                .map(|_| {
                    let relation = random.below(*relations);
                    match random.below(7) {
                        0 => "self".to_owned(),
                        1 if permission > 0 => format!("perm{}", random.below(permission)),
                        2 => format!("rel{relation}->rel{}", random.below(4)),
                        3 => format!("rel{relation}->perm{}", random.below(4)),
                        4 => format!("rel{relation}.all(perm{})", random.below(4)),
                        _ => format!("rel{relation}"),
                    }
                })
                .collect();
            let operator = [" + ", " & ", " - "][random.below(3)];
            text.push_str(&format!("permission perm{permission} = {}\n", operands.join(operator)));
        }
        text.push_str("}\n");
    }
    text
}

/// `type#member`, or `type` for the type itself.
fn all_names(schema: &Schema) -> Vec<String> {
    let definitions = schema.definitions().iter();
    let names = definitions.flat_map(|definition| {
        let members = definition.members().map(|member| format!("{}#{}", definition.name, member.name()));
        std::iter::once(definition.name.to_string()).chain(members.collect::<Vec<_>>())
    });
    names.collect()
}

/// Whether `user` is written with `used`: read off the schema, one pair at a time.
fn mentions(schema: &Schema, user: &str, used: &str) -> bool {
    let Some((definition, name)) = user.split_once('#') else { return false };
    match schema.definition(definition).unwrap().member(name).unwrap() {
        Member::Relation(relation) => relation.allowed.iter().any(|allowed| match &allowed.form {
            SubjectForm::Object | SubjectForm::Wildcard => allowed.subject_type.as_str() == used,
            SubjectForm::Userset(relation) => format!("{}#{relation}", allowed.subject_type) == used,
        }),
        Member::Permission(permission) => expression_mentions(schema, definition, &permission.expression, used),
    }
}

fn expression_mentions(schema: &Schema, definition: &str, expression: &Expression, used: &str) -> bool {
    match expression {
        Expression::Nil => false,
        Expression::Itself => used == definition,
        Expression::Reference(name) => used == format!("{definition}#{name}"),
        Expression::Arrow { relation, target, .. } => {
            let allowed = &schema.definition(definition).unwrap().relation(relation.as_str()).unwrap().allowed;
            used == format!("{definition}#{relation}")
                || allowed.iter().any(|allowed| used == format!("{}#{target}", allowed.subject_type))
        }
        Expression::Union(operands) | Expression::Intersection(operands) => {
            operands.iter().any(|operand| expression_mentions(schema, definition, operand, used))
        }
        Expression::Exclusion(left, right) => {
            expression_mentions(schema, definition, left, used) || expression_mentions(schema, definition, right, used)
        }
    }
}

/// `closed[a][b]`: whether `a` depends on `b`, by Warshall's closure.
fn closed(schema: &Schema, names: &[String]) -> Vec<Vec<bool>> {
    let mut depends: Vec<Vec<bool>> =
        names.iter().map(|user| names.iter().map(|used| mentions(schema, user, used)).collect()).collect();
    for middle in 0..names.len() {
        for from in 0..names.len() {
            for to in 0..names.len() {
                depends[from][to] |= depends[from][middle] && depends[middle][to];
            }
        }
    }
    depends
}

fn listed(reached: Vec<Reached<'_>>) -> Vec<String> {
    reached.iter().map(|one| format!("{}#{}", one.definition.name, one.member.name())).collect()
}

#[test]
fn both_directions_agree_with_the_plain_definition() {
    let seed = std::env::var("STONETOWN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
    });
    println!("both_directions_agree_with_the_plain_definition: STONETOWN_SEED={seed}");
    let mut random = Random(seed);
    let mut compared = 0;
    for _ in 0..500 {
        let text = schema(&mut random);
        // A wildcard never occurs, but permissions that only name each other do.
        let Ok(schema) = Schema::compile(&text, &CompileOptions::default()) else { continue };
        let names = all_names(&schema);
        let depends = closed(&schema, &names);
        for (index, name) in names.iter().enumerate() {
            let (definition, member) = name.split_once('#').map_or((&**name, None), |(d, m)| (d, Some(m)));
            let members = |is_found: &dyn Fn(usize) -> bool| -> Vec<String> {
                let mut found: Vec<_> = (0..names.len())
                    .filter(|other| *other != index && names[*other].contains('#') && is_found(*other))
                    .map(|other| names[other].clone())
                    .collect();
                found.sort_by(|a, b| a.split('#').cmp(b.split('#')));
                found
            };
            let expected = members(&|other| depends[other][index]);
            assert_eq!(listed(dependents(&schema, definition, member)), expected, "dependents of {name}\n{text}");
            if let Some(member) = member {
                let expected = members(&|other| depends[index][other]);
                assert_eq!(listed(dependencies(&schema, definition, member)), expected, "of {name}\n{text}");
            }
            compared += 1;
        }
    }
    assert!(compared > 1_000, "hardly any schema compiled: {compared}");
}
