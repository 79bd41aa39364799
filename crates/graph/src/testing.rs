//! A small world for unit tests: a schema and relationships in a memory store, asked by name, with and without index.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::Arc;

use stonetown_schema::{CompileOptions, Schema, SubjectForm};
use stonetown_storage::{Datastore, MemoryDatastore, SchemaWrite, Snapshot, StoredUpdate, TableKey, Transaction};
use stonetown_tuple::{CaveatContext, Operation, Relationship, Revision, Source, StoreId, Timestamp};

use crate::index::IndexOptions;
use crate::{Answer, Evaluation, Given, GraphError, Index, Limits, Membership, Overlay, Plan, check};

/// What happens, and what is asked, at one moment.
pub(crate) struct World {
    pub(crate) datastore: Arc<dyn Datastore>,
    pub(crate) index: Arc<Index>,
    pub(crate) schema: Arc<Schema>,
    pub(crate) now: Timestamp,
    pub(crate) limits: Limits,
    pub(crate) context: CaveatContext,
    pub(crate) peer_ip: Option<std::net::IpAddr>,
    pub(crate) overlay: Vec<Relationship>,
}

impl World {
    pub(crate) fn new(schema: &str, relationships: &[&str]) -> World {
        World::with_options(schema, relationships, IndexOptions::default())
    }

    pub(crate) fn with_options(schema: &str, relationships: &[&str], options: IndexOptions) -> World {
        let schema = Schema::compile(schema, &CompileOptions::default()).map_err(|errors| errors[0].render(schema));
        let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
        let index = Index::load(&datastore, options).unwrap();
        let world = World {
            datastore,
            index,
            schema: Arc::new(schema.unwrap()),
            now: "2030-01-01T00:00:00Z".parse().unwrap(),
            limits: Limits::default(),
            context: CaveatContext::new(),
            peer_ip: None,
            overlay: Vec::new(),
        };
        let mut transaction = world.transaction();
        transaction.schema = Some(SchemaWrite {
            bytes: world.schema.text().into_bytes(),
            tables: tables(&world.schema),
            types: world.schema.definitions().iter().map(|definition| definition.name.to_string()).collect(),
        });
        world.datastore.commit(transaction).unwrap();
        world.write(relationships);
        world
    }

    pub(crate) fn write(&self, relationships: &[&str]) -> Revision {
        self.update(Operation::Touch, Source::STANDING, relationships)
    }

    pub(crate) fn delete(&self, relationships: &[&str]) -> Revision {
        self.update(Operation::Delete, Source::STANDING, relationships)
    }

    pub(crate) fn update(&self, operation: Operation, source: Source, relationships: &[&str]) -> Revision {
        let mut transaction = self.transaction();
        transaction.updates = relationships
            .iter()
            .map(|text| StoredUpdate { operation, relationship: text.parse().unwrap(), source })
            .collect();
        self.datastore.commit(transaction).unwrap().revision
    }

    fn transaction(&self) -> Transaction {
        Transaction::new(StoreId::DEFAULT, self.now)
    }

    pub(crate) fn snapshot(&self, at: Revision) -> Arc<dyn Snapshot> {
        self.datastore.snapshot(StoreId::DEFAULT, at).unwrap()
    }

    /// Lets a question be asked at a revision, from the snapshot and from the index; both must answer the same.
    pub(crate) fn ask<T>(&self, at: Revision, question: impl Fn(&Evaluation<'_>) -> T) -> (T, T) {
        let snapshot = self.snapshot(at);
        let plan = Plan::compile(self.schema.clone(), snapshot.as_ref());
        let overlay = Overlay::new(&plan, snapshot.as_ref(), &self.overlay).unwrap();
        let view = self.index.view(StoreId::DEFAULT, at);
        let mut evaluation = Evaluation {
            plan: &plan,
            snapshot: snapshot.as_ref(),
            index: None,
            overlay: (!self.overlay.is_empty()).then_some(&overlay),
            now: self.now,
            context: &self.context,
            given: Given::Call { peer_ip: self.peer_ip },
            limits: &self.limits,
            deadline: None,
            cancel: None,
        };
        let read = question(&evaluation);
        evaluation.index = Some(view.as_ref().unwrap());
        (read, question(&evaluation))
    }

    /// Checks `document:a#view@user:b`.
    pub(crate) fn answer_at(&self, at: Revision, question: &str) -> Result<Answer, GraphError> {
        let asked: Relationship = question.parse().unwrap();
        let (read, indexed) =
            self.ask(at, |evaluation| check(evaluation, &asked.resource, &asked.relation, &asked.subject));
        match (&read, &indexed) {
            (Ok(read), Ok(indexed)) => assert_eq!(read.membership, indexed.membership, "{question}"),
            (Err(read), Err(indexed)) => assert_eq!(read.to_string(), indexed.to_string(), "{question}"),
            _ => panic!("{question}: {read:?} from the snapshot, {indexed:?} from the index"),
        }
        indexed
    }

    pub(crate) fn answer(&self, question: &str) -> Result<Answer, GraphError> {
        self.answer_at(self.datastore.head(), question)
    }

    /// The answer in a word: `yes`, `no`, the missing names, or the error.
    pub(crate) fn check(&self, question: &str) -> String {
        self.check_at(self.datastore.head(), question)
    }

    pub(crate) fn check_at(&self, at: Revision, question: &str) -> String {
        match self.answer_at(at, question).map(|answer| answer.membership) {
            Ok(Membership::Member) => "yes".to_owned(),
            Ok(Membership::NotMember) => "no".to_owned(),
            Ok(Membership::Conditional(names)) => Vec::from_iter(names).join(","),
            Err(error) => error.to_string(),
        }
    }

    /// Checks many: a line each, `document:a#view@user:b yes`.
    pub(crate) fn expect(&self, lines: &str) {
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (question, expected) = line.split_once(' ').unwrap();
            assert_eq!(self.check(question), expected.trim(), "{question}");
        }
    }
}

/// All tables that a schema needs.
pub(crate) fn tables(schema: &Schema) -> Vec<TableKey> {
    let mut tables = BTreeSet::new();
    for definition in schema.definitions() {
        tables.insert(crate::attribute_table(&definition.name));
        for relation in &definition.relations {
            for allowed in &relation.allowed {
                tables.insert(TableKey {
                    resource_type: definition.name.to_string(),
                    relation: relation.name.to_string(),
                    subject_type: allowed.subject_type.to_string(),
                    subject_relation: match &allowed.form {
                        SubjectForm::Object | SubjectForm::Wildcard => None,
                        SubjectForm::Userset(relation) => Some(relation.to_string()),
                    },
                });
            }
        }
    }
    tables.into_iter().collect()
}
