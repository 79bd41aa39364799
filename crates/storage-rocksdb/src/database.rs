//! The RocksDB database itself: its options, and reading and writing bytes.
//!
//! Two column families share one write-ahead log, so that a batch over both is atomic: the default one holds everything but
//! the transaction log, which lies apart as it is written and cut in order and read seldom.

use std::ops::ControlFlow;
use std::path::Path;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DBCompressionType, DBPinnableSlice,
    DBRawIteratorWithThreadMode, DBRecoveryMode, DBWithThreadMode, FlushOptions, ReadOptions, SingleThreaded,
    SliceTransform, SnapshotWithThreadMode, WriteBatch, WriteOptions,
};
use stonetown_storage::StorageError;

use crate::keys;
use crate::values::damaged;

/// The column family of the transaction log.
const LOG: &str = "log";
/// Properties that are about the database and not about a column family.
const WHOLE: [&str; 3] = ["rocksdb.block-cache-usage", "rocksdb.is-write-stopped", "rocksdb.background-errors"];

/// How RocksDB words that the disk is full: its errors have no code for it.
const NO_SPACE: &str = "No space left on device";

type Db = DBWithThreadMode<SingleThreaded>;

/// A raw iterator.
pub(crate) type Cursor<'d> = DBRawIteratorWithThreadMode<'d, Db>;

/// Called with a key and its value.
pub(crate) type Visit<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StorageError>;

/// An open database.
pub(crate) struct Database {
    db: Db,
}

/// Changes to be written at once, the log's apart.
#[derive(Default)]
pub(crate) struct Batch {
    puts: WriteBatch,
}

impl Database {
    /// Opens or creates the database in a directory.
    pub(crate) fn open(directory: &Path, cache_bytes: usize) -> Result<Self, StorageError> {
        let mut options = database_options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        let db = Db::open_cf_descriptors(&options, directory, families(cache_bytes)).map_err(storage_error)?;
        Ok(Database { db })
    }

    /// Opens a database to be read only; its files are not changed.
    pub(crate) fn open_read_only(directory: &Path, cache_bytes: usize) -> Result<Self, StorageError> {
        let options = database_options();
        let db = Db::open_cf_descriptors_read_only(&options, directory, families(cache_bytes), false);
        Ok(Database { db: db.map_err(storage_error)? })
    }

    /// Copies the database, as of some moment during the call, into a directory that is not there yet. Tables are shared by
    /// hard links where the file system can.
    pub(crate) fn checkpoint(&self, to: &Path) -> Result<(), StorageError> {
        Checkpoint::new(&self.db).and_then(|checkpoint| checkpoint.create_checkpoint(to)).map_err(storage_error)
    }

    /// The database as of now, whatever is written later.
    pub(crate) fn frozen(&self) -> Frozen<'_> {
        Frozen { database: self, snapshot: self.db.snapshot() }
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StorageError> {
        self.db.get_pinned(key).map_err(storage_error)
    }

    /// The value of a key of the log.
    pub(crate) fn get_log(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StorageError> {
        self.db.get_pinned_cf(self.log()?, key).map_err(storage_error)
    }

    /// Writes a batch, durably if `sync`. Without, it is lost in a crash of the machine, but never before what was
    /// written earlier.
    pub(crate) fn write(&self, batch: Batch, sync: bool) -> Result<(), StorageError> {
        let mut options = WriteOptions::default();
        options.set_sync(sync);
        self.db.write_opt(batch.puts, &options).map_err(storage_error)
    }

    /// Makes durable what was written before.
    #[cfg(feature = "fault-ack-before-sync")]
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        self.db.flush_wal(true).map_err(storage_error)
    }

    /// Moves what is in memory to tables, so that the next start has no log to read.
    pub(crate) fn flush(&self) -> Result<(), StorageError> {
        self.db.flush_cfs_opt(&[self.data()?, self.log()?], &FlushOptions::default()).map_err(storage_error)
    }

    /// Keys that are in memory and in the write-ahead log, but in no table yet.
    pub(crate) fn buffered_keys(&self) -> u64 {
        self.property("rocksdb.num-entries-active-mem-table") + self.property("rocksdb.num-entries-imm-mem-tables")
    }

    /// Visits the keys that begin with `prefix`, from `from` on.
    pub(crate) fn scan(&self, prefix: &[u8], from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        let mut cursor = self.cursor(prefix);
        cursor.seek(from);
        while let Some((key, value)) = cursor.item() {
            if visit(key, value)?.is_break() {
                return Ok(());
            }
            cursor.next();
        }
        cursor.status().map_err(storage_error)
    }

    /// The last key that begins with `prefix` and is not behind `until`.
    pub(crate) fn last(&self, prefix: &[u8], until: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        let mut cursor = self.cursor(prefix);
        cursor.seek_for_prev(until);
        cursor.status().map_err(storage_error)?;
        Ok(cursor.key().filter(|key| key.starts_with(prefix)).map(<[u8]>::to_vec))
    }

    /// A cursor over the keys that begin with `prefix`, not placed yet.
    pub(crate) fn cursor(&self, prefix: &[u8]) -> Cursor<'_> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options.set_iterate_lower_bound(prefix);
        options.set_iterate_upper_bound(keys::after(prefix));
        self.db.raw_iterator_opt(options)
    }

    /// As [`Database::cursor`], for prefixes of at least a row of a table: a filter tells where there is none.
    pub(crate) fn row_cursor(&self, prefix: &[u8]) -> Cursor<'_> {
        debug_assert!(prefix.len() >= keys::ROW_BYTES, "the filter knows rows");
        let mut options = ReadOptions::default();
        options.set_prefix_same_as_start(true);
        options.set_iterate_upper_bound(keys::after(prefix));
        self.db.raw_iterator_opt(options)
    }

    /// A number that RocksDB tells of itself, summed over both column families unless it is about the whole; 0 if it tells none.
    pub(crate) fn property(&self, name: &str) -> u64 {
        let of_data = self.db.property_int_value(name).ok().flatten().unwrap_or(0);
        if WHOLE.contains(&name) {
            return of_data;
        }
        let of_log = self.log().ok().and_then(|log| self.db.property_int_value_cf(log, name).ok().flatten());
        of_data + of_log.unwrap_or(0)
    }

    /// Bytes of tables, memory and log files.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let directory = std::fs::read_dir(self.db.path());
        let files = directory.into_iter().flatten().filter_map(|entry| entry.ok()?.metadata().ok());
        files.map(|file| file.len()).sum()
    }

    fn data(&self) -> Result<&ColumnFamily, StorageError> {
        self.family(rocksdb::DEFAULT_COLUMN_FAMILY_NAME)
    }

    fn log(&self) -> Result<&ColumnFamily, StorageError> {
        self.family(LOG)
    }

    fn family(&self, name: &str) -> Result<&ColumnFamily, StorageError> {
        self.db.cf_handle(name).ok_or_else(|| damaged(format!("the column family `{name}` is missing")))
    }
}

/// A database at one moment.
pub(crate) struct Frozen<'d> {
    database: &'d Database,
    snapshot: SnapshotWithThreadMode<'d, Db>,
}

impl Frozen<'_> {
    /// The value of a key.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StorageError> {
        self.database.db.get_pinned_opt(key, &self.options()).map_err(storage_error)
    }

    /// The value of a key of the log.
    pub(crate) fn get_log(&self, key: &[u8]) -> Result<Option<DBPinnableSlice<'_>>, StorageError> {
        let value = self.database.db.get_pinned_cf_opt(self.database.log()?, key, &self.options());
        value.map_err(storage_error)
    }

    /// Visits the keys that begin with `prefix`.
    pub(crate) fn scan(&self, prefix: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        let mut options = self.options();
        options.set_iterate_lower_bound(prefix);
        options.set_iterate_upper_bound(keys::after(prefix));
        visit_all(self.database.db.raw_iterator_opt(options), visit)
    }

    /// Visits the keys of the log from `from` on.
    pub(crate) fn scan_log(&self, from: &[u8], visit: Visit<'_>) -> Result<(), StorageError> {
        let mut options = self.options();
        if !from.is_empty() {
            options.set_iterate_lower_bound(from);
        }
        visit_all(self.database.db.raw_iterator_cf_opt(self.database.log()?, options), visit)
    }

    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options.set_total_order_seek(true);
        // What is read once should not drive out what is read often.
        options.fill_cache(false);
        options
    }
}

fn visit_all(mut cursor: Cursor<'_>, visit: Visit<'_>) -> Result<(), StorageError> {
    cursor.seek_to_first();
    while let Some((key, value)) = cursor.item() {
        if visit(key, value)?.is_break() {
            return Ok(());
        }
        cursor.next();
    }
    cursor.status().map_err(storage_error)
}

impl Batch {
    pub(crate) fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.puts.put(key, value);
    }

    pub(crate) fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.puts.delete(key);
    }

    /// Deletes all keys that begin with `prefix`.
    pub(crate) fn delete_all(&mut self, prefix: &[u8]) {
        self.puts.delete_range(prefix, &keys::after(prefix));
    }

    pub(crate) fn put_log(&mut self, database: &Database, key: &[u8], value: &[u8]) -> Result<(), StorageError> {
        self.puts.put_cf(database.log()?, key, value);
        Ok(())
    }

    pub(crate) fn delete_log(&mut self, database: &Database, key: &[u8]) -> Result<(), StorageError> {
        self.puts.delete_cf(database.log()?, key);
        Ok(())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.puts.size_in_bytes()
    }

    pub(crate) fn len(&self) -> usize {
        self.puts.len()
    }
}

/// The error of this crate for one of RocksDB's.
#[allow(clippy::needless_pass_by_value)] // for `map_err`
pub(crate) fn storage_error(error: rocksdb::Error) -> StorageError {
    match error.kind() {
        rocksdb::ErrorKind::Corruption => StorageError::Damaged(error.to_string()),
        rocksdb::ErrorKind::IOError if error.as_ref().contains(NO_SPACE) => StorageError::Full(error.into_string()),
        _ => StorageError::Io(error.to_string()),
    }
}

fn database_options() -> rocksdb::Options {
    let mut options = rocksdb::Options::default();
    options.set_paranoid_checks(true);
    // RocksDB goes on after a full disk by moving what it holds to tables and leaving the log behind, in which a batch that
    // failed may stand. If a crash came between the two families, half of that batch would come back.
    options.set_atomic_flush(true);
    // Reads the log up to the first damage. That the end of it is not missing is what the high-water file is for.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_background_jobs(2);
    options.set_max_total_wal_size(128 << 20);
    options.set_keep_log_file_num(4);
    options.set_stats_dump_period_sec(0);
    options.set_bytes_per_sync(1 << 20);
    options
}

fn families(cache_bytes: usize) -> [ColumnFamilyDescriptor; 2] {
    let cache = Cache::new_hyper_clock_cache(cache_bytes, 0);
    [
        ColumnFamilyDescriptor::new(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, data_options(&cache)),
        ColumnFamilyDescriptor::new(LOG, log_options(&cache)),
    ]
}

fn data_options(cache: &Cache) -> rocksdb::Options {
    let mut blocks = block_options(cache);
    blocks.set_block_size(16 << 10);
    blocks.set_bloom_filter(10.0, false);
    blocks.set_whole_key_filtering(true);
    let mut options = rocksdb::Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_prefix_extractor(SliceTransform::create_fixed_prefix(keys::ROW_BYTES));
    options.set_memtable_prefix_bloom_ratio(0.05);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    options
}

fn log_options(cache: &Cache) -> rocksdb::Options {
    let mut blocks = block_options(cache);
    blocks.set_block_size(64 << 10);
    let mut options = rocksdb::Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(32 << 20);
    options
}

fn block_options(cache: &Cache) -> BlockBasedOptions {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    blocks
}
