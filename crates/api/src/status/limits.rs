//! How often each limit was met. Counted for the process as a whole, as an error has no owner that could count it.

use std::collections::BTreeMap;

use parking_lot::Mutex;

static HITS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// Calls, and items of bulk calls, that were refused at a limit since the process began, by the limit's name.
pub fn hits() -> BTreeMap<&'static str, u64> {
    HITS.lock().clone()
}

pub(super) fn hit(limit: &'static str) {
    *HITS.lock().entry(limit).or_default() += 1;
}
