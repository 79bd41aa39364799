//! Where the logs lie: two for each store. Those of the default store, which has the records of the server itself as well, are in
//! the folder of the logs, those of another store in `stores/NUMBER` of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use stonetown_tuple::{InstanceId, StoreId};

/// The folder of the logs in a data directory.
pub const FOLDER: &str = "audit";
/// The log of decisions in the folder of a store, and at the end of its name.
pub const DECISIONS: &str = "decisions";
/// The log of changes in the folder of a store, and at the end of its name.
pub const CHANGES: &str = "changes";
/// The folder of the stores that are not the default one.
const STORES: &str = "stores";
/// Stores with logs of their own have numbers below this.
pub const LOGS_MAX: u32 = 1024;

/// The store whose logs have the records of a store: its own, or the default one for those of the server and of no store.
#[must_use]
pub fn log_of(store: StoreId) -> StoreId {
    if store == StoreId::SYSTEM || store.0 >= LOGS_MAX { StoreId::DEFAULT } else { store }
}

/// The folder of a store's logs in the folder of all.
#[must_use]
pub fn store_folder(folder: &Path, store: StoreId) -> PathBuf {
    match log_of(store) {
        StoreId::DEFAULT => folder.to_owned(),
        StoreId(number) => folder.join(STORES).join(number.to_string()),
    }
}

/// The directory of one of a store's logs in the folder of all.
#[must_use]
pub fn log_directory(folder: &Path, store: StoreId, log: &str) -> PathBuf {
    store_folder(folder, store).join(log)
}

/// The name of a log.
#[must_use]
pub fn origin(instance: InstanceId, store: StoreId, log: &str) -> String {
    match log_of(store) {
        StoreId::DEFAULT => format!("stonetown/{instance}/{log}"),
        StoreId(number) => format!("stonetown/{instance}/{STORES}/{number}/{log}"),
    }
}

/// The folder of logs and the store that a directory stands for: a data directory for the default store, the folder of a store's
/// logs for that one.
#[must_use]
pub fn place(directory: &Path) -> (PathBuf, StoreId) {
    let number = directory.file_name().and_then(|name| name.to_str()?.parse().ok());
    let stores = directory.parent().filter(|parent| parent.file_name().is_some_and(|name| name == STORES));
    match (number, stores.and_then(Path::parent)) {
        (Some(number), Some(folder)) => (folder.to_owned(), StoreId(number)),
        _ => (directory.join(FOLDER), StoreId::DEFAULT),
    }
}

/// The stores that have a folder of logs, the default one first.
///
/// # Errors
/// When the folder cannot be read.
pub fn stores(folder: &Path) -> io::Result<Vec<StoreId>> {
    let entries = match fs::read_dir(folder.join(STORES)) {
        Ok(entries) => entries.collect::<io::Result<Vec<_>>>()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let number = |entry: &fs::DirEntry| entry.file_name().to_str()?.parse().ok().map(StoreId);
    let mut others: Vec<_> = entries.iter().filter_map(number).filter(|store| log_of(*store) == *store).collect();
    others.retain(|store| *store != StoreId::DEFAULT);
    others.sort_unstable();
    others.insert(0, StoreId::DEFAULT);
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_stands_for_the_logs_of_one_store() {
        let data = Path::new("var/data");
        assert_eq!(place(data), (data.join("audit"), StoreId::DEFAULT));
        for store in [StoreId::DEFAULT, StoreId(7)] {
            let folder = store_folder(&data.join("audit"), store);
            let named = if store == StoreId::DEFAULT { data } else { &folder };
            let (folder, named) = place(named);
            assert_eq!(log_directory(&folder, named, CHANGES), log_directory(&data.join("audit"), store, CHANGES));
        }
        assert_eq!(place(Path::new("7")).1, StoreId::DEFAULT);
        assert_eq!(place(Path::new("stores/x")).1, StoreId::DEFAULT);
    }
}
