//! A store with a history, beside the plain model of it at every revision.

use std::sync::Arc;

use stonetown_graph::{Index, IndexOptions, Plan, attribute_table};
use stonetown_schema::{Schema, SubjectForm};
use stonetown_storage::{
    Datastore, DeleteByFilter, MemoryDatastore, SchemaWrite, Snapshot, StoredUpdate, TableKey, Transaction,
};
use stonetown_tuple::{Operation, Revision, StoreId};

use super::dice::Dice;
use super::history::{Model, Step};
use super::question::{Asked, Way};
use super::run::Scenario;

const STORE: StoreId = StoreId::DEFAULT;

/// A store, its resident index, and what both must hold.
pub struct World {
    pub datastore: Arc<dyn Datastore>,
    pub index: Arc<Index>,
    pub moments: Vec<Moment>,
    steps: Vec<Step>,
    options: IndexOptions,
    /// The first moment that garbage collection has left.
    pub first_kept: usize,
}

/// A revision, and what the store holds there. Time is that of the last moment for all of them.
pub struct Moment {
    pub revision: Revision,
    pub model: Model,
    pub plan: Arc<Plan>,
}

impl World {
    /// A store with a schema and nothing else.
    pub fn new(schema: &Arc<Schema>, options: IndexOptions) -> World {
        let datastore: Arc<dyn Datastore> = Arc::new(MemoryDatastore::new());
        let model = Model::new(schema.clone());
        write_schema(&*datastore, &model);
        let index = Index::load(&datastore, options.clone()).expect("memory does not fail");
        let mut world = World { datastore, index, moments: Vec::new(), steps: Vec::new(), options, first_kept: 0 };
        world.remember(model);
        world
    }

    /// The newest state.
    pub fn head(&self) -> &Moment {
        self.moments.last().expect("there is a first moment")
    }

    /// Does to the store, and to the model, what the step says.
    pub fn apply(&mut self, step: Step) {
        let mut model = self.head().model.clone();
        model.apply(&step);
        let mut transaction = Transaction::new(STORE, model.now);
        match &step {
            Step::Schema(_) => write_schema(&*self.datastore, &model),
            Step::Write(updates) => {
                transaction.updates.clone_from(updates);
                self.datastore.commit(transaction).expect("the updates fit the model");
            }
            Step::Delete(filter) => {
                transaction.delete = Some(DeleteByFilter { filter: filter.clone(), limit: None, partial: false });
                self.datastore.commit(transaction).expect("deleting needs nothing");
            }
            Step::Wait(_) => {}
            Step::Collect => {
                let head = self.datastore.head();
                self.datastore.collect_garbage(head, head, usize::MAX).expect("memory does not fail");
                self.first_kept = self.moments.len();
            }
            Step::Reload => {
                self.index = Index::load(&self.datastore, self.options.clone()).expect("memory does not fail");
            }
        }
        self.steps.push(step);
        self.remember(model);
    }

    /// A store that came to the same state another way: other order, detours, and numbers that differ.
    pub fn detour(&self, dice: &mut Dice, detours: &[StoredUpdate]) -> World {
        let model = &self.head().model;
        let mut world = World::new(&self.moments[0].model.schema, self.options.clone());
        world.apply(Step::Schema(model.schema.clone()));
        let mut updates: Vec<StoredUpdate> = model
            .facts
            .iter()
            .map(|((.., source), fact)| StoredUpdate {
                operation: Operation::Touch,
                relationship: fact.clone(),
                source: *source,
            })
            .collect();
        let kept = |detour: &StoredUpdate| model.facts.values().any(|fact| fact.same_key(&detour.relationship));
        let detours: Vec<StoredUpdate> = detours.iter().filter(|detour| !kept(detour)).cloned().collect();
        updates.extend(detours.iter().cloned());
        for end in (1..updates.len()).rev() {
            updates.swap(end, dice.below(end + 1));
        }
        // Of one relationship, a transaction holds one update.
        while !updates.is_empty() {
            let mut now: Vec<StoredUpdate> = Vec::new();
            let mut later = Vec::new();
            for update in updates {
                let clash = now.iter().any(|other| other.relationship.same_key(&update.relationship));
                if clash || now.len() > 20 { later.push(update) } else { now.push(update) }
            }
            world.apply(Step::Write(now));
            updates = later;
        }
        for detour in detours {
            let delete = StoredUpdate { operation: Operation::Delete, ..detour };
            world.apply(Step::Write(vec![delete]));
        }
        world.apply(Step::Wait(model.now));
        world
    }

    /// The state at a moment.
    pub fn snapshot(&self, moment: usize) -> Arc<dyn Snapshot> {
        self.datastore.snapshot(STORE, self.moments[moment].revision).expect("the moment is kept")
    }

    /// How to come to a question about a moment of this world.
    pub fn scenario(&self, moment: usize, asked: Asked, way: Way) -> Scenario {
        let schema = self.moments[0].model.schema.clone();
        Scenario { schema, options: self.options.clone(), steps: self.steps.clone(), moment, asked, way }
    }

    fn remember(&mut self, model: Model) {
        let revision = self.datastore.head();
        let plan = match self.moments.last() {
            Some(last) if Arc::ptr_eq(last.plan.schema(), &model.schema) => last.plan.clone(),
            _ => {
                let snapshot = self.datastore.snapshot(STORE, revision).expect("the head can be read");
                Arc::new(Plan::compile(model.schema.clone(), &*snapshot))
            }
        };
        self.moments.push(Moment { revision, model, plan });
    }
}

fn write_schema(datastore: &dyn Datastore, model: &Model) {
    let mut transaction = Transaction::new(STORE, model.now);
    transaction.schema = Some(SchemaWrite {
        bytes: model.schema.text().into_bytes(),
        tables: tables(&model.schema),
        types: model.schema.definitions().iter().map(|definition| definition.name.to_string()).collect(),
    });
    datastore.commit(transaction).expect("a schema is written unconditionally");
}

/// The tables that a schema needs.
pub fn tables(schema: &Schema) -> Vec<TableKey> {
    let mut tables = Vec::new();
    for definition in schema.definitions() {
        tables.push(attribute_table(&definition.name));
        for relation in &definition.relations {
            tables.extend(relation.allowed.iter().map(|allowed| TableKey {
                resource_type: definition.name.to_string(),
                relation: relation.name.to_string(),
                subject_type: allowed.subject_type.to_string(),
                subject_relation: match &allowed.form {
                    SubjectForm::Userset(of) => Some(of.to_string()),
                    SubjectForm::Object | SubjectForm::Wildcard => None,
                },
            }));
        }
    }
    tables.sort();
    tables.dedup();
    tables
}
