//! Random histories, against a model and against the log.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stonetown_tuple::Precondition;

use super::model::{Contents, Model, Outcome, contents};
use super::*;
use crate::{BulkMode, DeleteByFilter};

const STEPS: usize = 400;

/// Random histories of two stores agree with a model at every readable revision, and with their own log.
pub fn random_histories_agree_with_a_model(make: Make<'_>) {
    for _ in 0..3 {
        random_history(make(), &mut |datastore| datastore, STEPS);
    }
}

/// One random history. Now and then the datastore is handed over to be closed and opened again, and must come back the
/// same. The seed is printed; the variable `STONETOWN_SEED` repeats it.
pub fn random_history(
    datastore: Arc<dyn Datastore>,
    reopen: &mut dyn FnMut(Arc<dyn Datastore>) -> Arc<dyn Datastore>,
    steps: usize,
) {
    let seed = match std::env::var("STONETOWN_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => rand::random(),
    };
    println!("STONETOWN_SEED={seed}");
    let mut history = History::new(datastore, seed);
    for step in 0..steps {
        if history.random.random_ratio(1, 40) {
            history = history.reopened(reopen);
        }
        history.step();
        if step % 8 == 0 {
            history.compare();
        }
    }
    history.compare();
    history.listener.agrees_with_log(&*history.datastore, history.heard_from.max(history.log_floor));
}

struct History {
    random: StdRng,
    datastore: Arc<dyn Datastore>,
    models: BTreeMap<StoreId, Model>,
    listener: Arc<Listener>,
    heard_from: Revision,
    log_floor: Revision,
    seconds: i64,
}

impl History {
    fn new(datastore: Arc<dyn Datastore>, seed: u64) -> Self {
        let mut models = BTreeMap::new();
        for store in [StoreId(1), StoreId(2)] {
            datastore.commit(Transaction { schema: Some(schema(&TABLES)), ..Transaction::new(store, now()) }).unwrap();
            models.insert(store, Model::default());
        }
        let listener = Arc::new(Listener::default());
        let heard_from = datastore.follow(Arc::clone(&listener) as Arc<dyn Follower>);
        let random = StdRng::seed_from_u64(seed);
        History { random, datastore, models, listener, heard_from, log_floor: Revision(0), seconds: 0 }
    }

    fn reopened(self, reopen: &mut dyn FnMut(Arc<dyn Datastore>) -> Arc<dyn Datastore>) -> Self {
        self.listener.agrees_with_log(&*self.datastore, self.heard_from.max(self.log_floor));
        let before = (self.datastore.instance(), self.datastore.head(), self.datastore.floor());
        let log = self.datastore.log(self.log_floor, usize::MAX).unwrap();
        let datastore = reopen(self.datastore);
        assert_eq!((datastore.instance(), datastore.head(), datastore.floor()), before);
        assert_eq!(datastore.log(self.log_floor, usize::MAX).unwrap(), log);
        let listener = Arc::new(Listener::default());
        let heard_from = datastore.follow(Arc::clone(&listener) as Arc<dyn Follower>);
        History { datastore, listener, heard_from, ..self }
    }

    fn step(&mut self) {
        self.seconds += self.random.random_range(-1..4);
        match self.random.random_range(0..20) {
            0 => self.collect(),
            1 | 2 => self.bulk(),
            _ => self.transaction(),
        }
    }

    fn transaction(&mut self) {
        let store = StoreId(self.random.random_range(1..3));
        let mut transaction = Transaction::new(store, at(self.seconds));
        let mut used = Vec::new();
        for _ in 0..self.random.random_range(0..6) {
            let update = self.update();
            let about = (key(&update.relationship), update.source);
            if !used.contains(&about) {
                used.push(about);
                transaction.updates.push(update);
            }
        }
        if self.random.random_ratio(1, 8) {
            let filter = self.filter();
            transaction.preconditions.push(if self.random.random() {
                Precondition::MustMatch(filter)
            } else {
                Precondition::MustNotMatch(filter)
            });
        }
        if self.random.random_ratio(1, 8) {
            let limit = self.random.random_ratio(1, 2).then(|| self.random.random_range(0..10));
            transaction.delete = Some(DeleteByFilter { filter: self.filter(), limit, partial: self.random.random() });
        }
        let expected = self.models.get_mut(&store).unwrap().apply(self.datastore.head().next(), &transaction);
        let committed = self.datastore.commit(transaction);
        self.settle(store, expected, committed);
    }

    fn bulk(&mut self) {
        let store = StoreId(self.random.random_range(1..3));
        let (mode, operation) = match self.random.random_range(0..3) {
            0 => (BulkMode::Create, Operation::Create),
            1 => (BulkMode::Touch, Operation::Touch),
            _ => (BulkMode::Delete, Operation::Delete),
        };
        let mut bulk = self.datastore.bulk(store, mode, at(self.seconds)).unwrap();
        let mut transaction = Transaction::new(store, at(self.seconds));
        let mut pushed = BTreeSet::new();
        let mut twice = false;
        for _ in 0..self.random.random_range(1..4) {
            let count = self.random.random_range(0..5);
            let relationships: Vec<_> = (0..count).map(|_| self.relationship()).collect();
            twice |= mode == BulkMode::Create && relationships.iter().any(|one| !pushed.insert(key(one)));
            transaction.updates.extend(relationships.iter().map(|one| update(operation, one.clone())));
            if let Err(error) = bulk.push(relationships) {
                assert!(matches!(error, CommitError::AlreadyExists(_)), "{error}");
                let model = self.models.get_mut(&store).unwrap();
                assert!(twice || model.apply(Revision(u64::MAX), &transaction) == Outcome::Exists, "{error}");
                return;
            }
        }
        if self.random.random_ratio(1, 5) {
            return;
        }
        let model = self.models.get_mut(&store).unwrap();
        let mut expected =
            if twice { Outcome::Exists } else { model.apply(self.datastore.head().next(), &transaction) };
        let committed = bulk.publish(None, None, None);
        if let (Outcome::Done { count, .. }, Ok(committed)) = (&mut expected, &committed) {
            *count = committed.count;
        }
        self.settle(store, expected, committed);
    }

    /// Compares the outcomes, and tells the model which relationships a limit spared.
    fn settle(&mut self, store: StoreId, expected: Outcome, committed: Result<Committed, CommitError>) {
        let cut = matches!(expected, Outcome::Done { partial: true, .. });
        let outcome = match &committed {
            Ok(committed) => Outcome::Done { count: committed.count, partial: committed.partial },
            Err(CommitError::AlreadyExists(_)) => Outcome::Exists,
            Err(CommitError::TooManyToDelete { .. }) => Outcome::TooMany,
            Err(CommitError::Precondition(_)) => Outcome::Precondition,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(outcome, expected);
        if let (true, Ok(committed)) = (cut, committed) {
            let after = contents(&*self.datastore.snapshot(store, committed.revision).unwrap());
            let model = self.models.get_mut(&store).unwrap();
            let whole = model.history.get_mut(&committed.revision).unwrap();
            assert!(after.iter().all(|(place, stored)| whole.get(place) == Some(stored)));
            let gone = |contents: &Contents| {
                let mut keys: Vec<String> = contents.keys().map(|(text, _)| text.clone()).collect();
                keys.dedup();
                keys.len()
            };
            assert_eq!((gone(whole) - gone(&after)) as u64, committed.count);
            *whole = after;
        }
    }

    fn collect(&mut self) {
        let (head, floor) = (self.datastore.head(), self.datastore.floor());
        let floor = Revision(self.random.random_range(floor.0..=head.0));
        let log_floor = Revision(self.random.random_range(self.log_floor.0..=head.0));
        self.listener.agrees_with_log(&*self.datastore, self.heard_from.max(self.log_floor));
        self.datastore.collect_garbage(floor, log_floor, self.random.random_range(1..200)).unwrap();
        self.log_floor = log_floor;
        assert_eq!(self.datastore.floor(), floor);
    }

    fn compare(&mut self) {
        let (floor, head) = (self.datastore.floor(), self.datastore.head());
        for revision in [head, floor, Revision(self.random.random_range(floor.0..=head.0))] {
            for (store, model) in &self.models {
                let snapshot = self.datastore.snapshot(*store, revision).unwrap();
                assert_eq!(contents(&*snapshot), model.at(revision), "store {store} at {revision}");
                live(&*snapshot, at(self.seconds));
            }
        }
    }

    fn update(&mut self) -> StoredUpdate {
        let operation = match self.random.random_range(0..5) {
            0 => Operation::Create,
            1 | 2 => Operation::Touch,
            _ => Operation::Delete,
        };
        let source = Source(self.random.random_range(0..3));
        StoredUpdate { operation, relationship: self.relationship(), source }
    }

    fn relationship(&mut self) -> Relationship {
        let (a, b) = (self.random.random_range(0..5), self.random.random_range(0..5));
        let mut relationship = rel(&match self.random.random_range(0..5) {
            0 | 1 => format!("document:a{a}#viewer@user:a{b}"),
            2 => format!("document:a{a}#viewer@user:*"),
            3 => format!("document:a{a}#viewer@group:g{b}#member"),
            _ => format!("group:g{a}#member@user:a{b}[tod:{{\"n\":{b}}}]"),
        });
        if self.random.random_ratio(1, 4) {
            relationship.expires_at = Some(at(self.seconds + self.random.random_range(-5..30)));
        }
        if self.random.random_ratio(1, 8) {
            relationship.not_before = Some(at(self.seconds + self.random.random_range(-20..20)));
        }
        relationship
    }

    fn filter(&mut self) -> RelationshipFilter {
        let resources = ["document", "document:a1", "document:a2#viewer", "document:a%", "group", "group:g3", ""];
        let subjects = [None, None, Some("user"), Some("user:a1"), Some("user:*"), Some("group:g2")];
        let resource = resources[self.random.random_range(0..resources.len())];
        filter(resource, subjects[self.random.random_range(0..subjects.len())])
    }
}
