//! Opening a data directory: checks first, then what a crash left half done, then the writer.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Instant;

use rustc_hash::{FxHashMap, FxHashSet};
use stonetown_storage::{StorageError, StoredSchema, Table, TableId, TableKey, TypeId};
use stonetown_tuple::{InstanceId, Revision, StoreId, Timestamp};

use crate::catalogue::Catalogue;
use crate::changelog;
use crate::database::{Batch, Database};
use crate::directory::Directory;
use crate::keys::{self, Kind};
use crate::moments;
use crate::names::Names;
use crate::options::Options;
use crate::shared::{Shared, Start};
use crate::values::{Cursor, Meta, StoredBulk, StoredTable, damaged, decode, encode};
use crate::write::{GroupLimits, HighWater, Job, Writer};

/// An open datastore's parts: what is shared, the writer that is to be run, and the two ends of its queue.
pub(crate) struct Opened {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Writer,
    pub(crate) jobs: SyncSender<Job>,
    pub(crate) queue: Receiver<Job>,
}

/// Opens or makes the datastore in a directory.
///
/// # Errors
/// See [`crate::RocksDatastore::open`].
pub(crate) fn open(path: &Path, options: &Options) -> Result<Opened, StorageError> {
    start(Directory::open(path)?, options)
}

/// Opens the database of a directory that is taken, and ends what a crash left half done.
///
/// # Errors
/// See [`crate::RocksDatastore::open`].
pub(crate) fn start(directory: Directory, options: &Options) -> Result<Opened, StorageError> {
    let database = Database::open(&directory.database(), options.block_cache_bytes_max)?;
    let meta = meta(&database)?;
    let head = Revision(meta.head);
    directory.check_high_water(head)?;
    if meta.head > meta.log_floor {
        changelog::header(&database, head)?;
    }
    let bulks = bulks(&database)?;
    let last_time = last_time(&database)?;
    let start = Start {
        instance: InstanceId(meta.instance),
        head,
        floor: Revision(meta.floor),
        log_floor: Revision(meta.log_floor),
        catalogues: catalogues(&database)?,
        next_moment: moments::first(&database)?,
        last_bulk: bulks.last().map_or(0, |(bulk, _)| *bulk),
        disk_free_bytes_min: options.disk_free_bytes_min,
    };
    let names = Names::new(options.name_cache_bytes_max);
    let shared = Arc::new(Shared::new(database, directory, names, start));
    let mut writer = Writer {
        shared: Arc::clone(&shared),
        meta,
        last_time,
        open_bulks: FxHashSet::default(),
        group: GroupLimits { transactions_max: options.group_transactions_max, bytes_max: options.group_bytes_max },
        acknowledged: HighWater { revision: head, written: Instant::now() },
        resume_tried: Instant::now(),
    };
    writer.settle_bulks(bulks)?;
    if shared.directory.is_of_older_format()? {
        moments::put_all(&shared)?;
        shared.directory.set_newest_format()?;
    }
    shared.directory.set_high_water(shared.head())?;
    writer.acknowledged.revision = shared.head();
    let (jobs, queue) = sync_channel(options.queued_max.max(1));
    Ok(Opened { shared, writer, jobs, queue })
}

fn meta(database: &Database) -> Result<Meta, StorageError> {
    if let Some(bytes) = database.get(&keys::meta())? {
        return decode("state of the database", &bytes);
    }
    let first = Cursor { revision: 1, piece: 1, change: 0 };
    let meta = Meta { instance: rand::random(), head: 0, floor: 0, log_floor: 0, swept: first, cut: first };
    let mut batch = Batch::default();
    batch.put(keys::meta(), encode(&meta)?);
    database.write(batch, true)?;
    Ok(meta)
}

/// Bulks that were not done with, oldest first.
pub(crate) fn bulks(database: &Database) -> Result<Vec<(u64, StoredBulk)>, StorageError> {
    let prefix = keys::all(Kind::Bulk);
    let mut bulks = Vec::new();
    database.scan(&prefix, &prefix, &mut |key, value| {
        let bulk = keys::read_bulk(key).ok_or_else(|| damaged("key of a bulk"))?;
        bulks.push((bulk, decode("bulk", value)?));
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(bulks)
}

fn last_time(database: &Database) -> Result<Timestamp, StorageError> {
    let prefix = keys::all(Kind::Time);
    let Some(key) = database.last(&prefix, &keys::after(&prefix))? else { return Ok(Timestamp::MIN) };
    let (time, _) = keys::read_time(&key).ok_or_else(|| damaged("key of a time"))?;
    Ok(time)
}

fn catalogues(database: &Database) -> Result<FxHashMap<StoreId, Arc<Catalogue>>, StorageError> {
    let mut catalogues: FxHashMap<StoreId, Catalogue> = FxHashMap::default();
    let prefix = keys::all(Kind::Type);
    database.scan(&prefix, &prefix, &mut |key, value| {
        let (store, id) = keys::read_numbered(key).ok_or_else(|| damaged("key of a type"))?;
        let name = String::from_utf8(value.to_vec()).map_err(|error| damaged(format!("name of a type: {error}")))?;
        catalogues.entry(store).or_default().add_type(TypeId(id), name);
        Ok(ControlFlow::Continue(()))
    })?;
    let mut tables: FxHashMap<StoreId, Vec<Arc<Table>>> = FxHashMap::default();
    let prefix = keys::all(Kind::Table);
    database.scan(&prefix, &prefix, &mut |key, value| {
        let (store, id) = keys::read_numbered(key).ok_or_else(|| damaged("key of a table"))?;
        let catalogue = catalogues.entry(store).or_default();
        tables.entry(store).or_default().push(Arc::new(table(catalogue, TableId(id), value)?));
        Ok(ControlFlow::Continue(()))
    })?;
    for (store, tables) in tables {
        catalogues.entry(store).or_default().set_tables(tables);
    }
    let prefix = keys::all(Kind::Schema);
    database.scan(&prefix, &prefix, &mut |key, value| {
        let (store, revision) = keys::read_schema(key).ok_or_else(|| damaged("key of a schema"))?;
        let catalogue = catalogues.entry(store).or_default();
        // The newest comes first.
        if catalogue.schema().is_none() {
            catalogue.set_schema(StoredSchema { revision, bytes: value.into() });
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(catalogues.into_iter().map(|(store, catalogue)| (store, Arc::new(catalogue))).collect())
}

fn table(catalogue: &Catalogue, id: TableId, value: &[u8]) -> Result<Table, StorageError> {
    let stored: StoredTable = decode("table", value)?;
    let name = |id| -> Result<String, StorageError> {
        catalogue.type_name(id).map(str::to_owned).ok_or_else(|| damaged(format!("a table names type {}", id.0)))
    };
    let (resource_type, subject_type) = (TypeId(stored.resource_type), TypeId(stored.subject_type));
    let key = TableKey {
        resource_type: name(resource_type)?,
        relation: stored.relation,
        subject_type: name(subject_type)?,
        subject_relation: stored.subject_relation,
    };
    Ok(Table { id, key, resource_type, subject_type })
}
