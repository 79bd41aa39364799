//! The allocator of the binary: decision 0006.

use std::time::Duration;

use anyhow::Context;

/// Allocates for many threads at once; the system's allocator contends.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Time between two looks at free memory that nobody has used again. mimalloc waits as long before it counts it as idle.
const INTERVAL: Duration = Duration::from_secs(1);

/// Begins to give idle memory back to the system. mimalloc itself does that while it is asked for more, so a server that rests
/// after a flood would keep what the flood needed, and its memory gate would count it.
pub(crate) fn give_back_idle_memory() -> anyhow::Result<()> {
    let thread = std::thread::Builder::new().name("allocator".to_owned()).spawn(|| {
        loop {
            std::thread::sleep(INTERVAL);
            collect();
        }
    });
    thread.map(drop).context("the thread that gives memory back does not start")
}

#[allow(unsafe_code)] // mimalloc offers it to C alone
fn collect() {
    // SAFETY: it may be called by any thread at any time; it looks at the calling thread's heap and at free memory.
    unsafe { libmimalloc_sys::mi_collect(false) }
}
