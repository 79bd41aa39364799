//! The named data sets. Each is a schema, relationships without repetition in a mixed order, and questions: half of them
//! allowed by construction where the generator can tell, the rest a mix of easy and hard denials.

mod chain;
mod drive;
mod rbac;
mod wide;

use std::collections::HashSet;

use clap::ValueEnum;
use stonetown_authorizer::{Authorizer, BulkMode, Call, Error};
use stonetown_tuple::{ObjectRef, ObjectType, RelationName, Relationship, SubjectRef};

use crate::random::Random;

/// Which data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// Flat roles: users in roles, roles on resources.
    W1,
    /// A drive: groups in groups, folders in folders, documents, a ban.
    W2,
    /// Chains of 40 folders, the viewer at the root.
    W6,
    /// One resource with 100,000 groups.
    W7,
    /// The drive, and users who see exactly 10, 1,000 and 100,000 documents.
    W8,
}

/// How much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Size {
    /// Thousands of relationships: for a test of the test.
    S,
    /// About a million relationships.
    M,
    /// About ten million, where the data set grows at all.
    L,
}

/// A check to ask.
#[derive(Debug, Clone)]
pub struct Check {
    /// The resource.
    pub resource: ObjectRef,
    /// The permission.
    pub permission: RelationName,
    /// The subject.
    pub subject: SubjectRef,
}

/// A lookup of resources to ask.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// What the lookup stands for, such as `1000 documents`.
    pub label: String,
    /// The type.
    pub resource_type: ObjectType,
    /// The permission.
    pub permission: RelationName,
    /// The subject.
    pub subject: SubjectRef,
}

/// A data set.
pub struct Workload {
    /// Its name and size, as printed.
    pub title: String,
    /// The schema.
    pub schema: &'static str,
    /// The relationships, without repetition, mixed.
    pub relationships: Vec<Relationship>,
    /// Checks, mixed.
    pub checks: Vec<Check>,
    /// Lookups.
    pub lookups: Vec<Lookup>,
}

impl Workload {
    /// Makes a data set; the same seed makes the same.
    #[must_use]
    pub fn generate(name: Name, size: Size, seed: u64) -> Workload {
        let mut builder = Builder::default();
        let schema = match name {
            Name::W1 => rbac::generate(&mut builder, size, seed),
            Name::W2 => drive::generate(&mut builder, size, seed),
            Name::W6 => chain::generate(&mut builder, size, seed),
            Name::W7 => wide::generate(&mut builder, size, seed),
            Name::W8 => drive::generate_lookups(&mut builder, size, seed),
        };
        Random::new(seed, "order").shuffle(&mut builder.relationships);
        Random::new(seed, "checks").shuffle(&mut builder.checks);
        Workload {
            title: format!("{name:?}-{size:?} seed {seed}"),
            schema,
            relationships: builder.relationships,
            checks: builder.checks,
            lookups: builder.lookups,
        }
    }
}

impl Workload {
    /// Writes the schema and all relationships, these in one transaction; how many they are.
    ///
    /// # Errors
    /// Those of the authorizer.
    pub fn load(&self, authorizer: &Authorizer, call: &Call) -> Result<u64, Error> {
        authorizer.write_schema(call, self.schema)?;
        let mut import = authorizer.import(call, BulkMode::Create)?;
        for batch in self.relationships.chunks(10_000) {
            import.push(batch.to_vec())?;
        }
        Ok(import.finish()?.1)
    }
}

/// Collects a data set from texts.
#[derive(Default)]
struct Builder {
    seen: HashSet<String>,
    relationships: Vec<Relationship>,
    checks: Vec<Check>,
    lookups: Vec<Lookup>,
}

impl Builder {
    /// Adds `resource#relation@subject` unless it is there.
    fn add(&mut self, text: String) {
        if self.seen.contains(&text) {
            return;
        }
        self.relationships.push(text.parse().expect("generated relationships are well-formed"));
        self.seen.insert(text);
    }

    /// Adds a check, as `resource#permission@subject`.
    fn check(&mut self, text: &str) {
        let asked: Relationship = text.parse().expect("generated checks are well-formed");
        self.checks.push(Check { resource: asked.resource, permission: asked.relation, subject: asked.subject });
    }

    fn lookup(&mut self, label: String, resource_type: &str, permission: &str, subject: &str) {
        self.lookups.push(Lookup {
            label,
            resource_type: ObjectType::new(resource_type).expect("a type"),
            permission: RelationName::new(permission).expect("a permission"),
            subject: subject.parse().expect("a subject"),
        });
    }
}
