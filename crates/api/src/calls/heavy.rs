//! The threads of heavy calls. The system gives them what checks and writes leave: who lists everything takes no time from who asks
//! about one thing.

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// How much less than the others these threads count, on the system's scale from -20 to 19: with 10, some tenth of a processor
/// that others want as well.
const NICE: i32 = 10;

/// Threads for heavy calls; those of the present runtime where none of their own can be had. They block, and wait for nothing by
/// its time: nobody drives this runtime.
#[derive(Debug)]
pub(crate) struct HeavyThreads(Option<Runtime>);

impl HeavyThreads {
    /// At most so many, begun when they are needed, and ended when they are not.
    pub(crate) fn new(max: usize) -> HeavyThreads {
        let mut threads = Builder::new_current_thread();
        threads.thread_name("heavy").max_blocking_threads(max.max(1)).on_thread_start(yield_to_others);
        let runtime = threads.build();
        HeavyThreads(runtime.map_err(|error| tracing::warn!(%error, "heavy calls have no threads of their own")).ok())
    }

    /// Runs what may block.
    pub(crate) fn spawn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match &self.0 {
            Some(runtime) => runtime.spawn_blocking(work),
            None => tokio::task::spawn_blocking(work),
        }
    }
}

impl Drop for HeavyThreads {
    fn drop(&mut self) {
        // What still runs ends with its call: nobody waits for it here, where waiting may not be allowed.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// On Linux a priority is that of one thread.
#[cfg(target_os = "linux")]
fn yield_to_others() {
    let yields = rustix::process::getpriority_process(None).is_ok_and(|nice| nice >= NICE);
    if !yields && let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::warn!(%error, "a heavy thread has the priority of all others");
    }
}

#[cfg(not(target_os = "linux"))]
fn yield_to_others() {}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What the system says of this thread: the 19th field after its name.
    fn nice() -> i32 {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        stat.rsplit(')').next().unwrap().split_whitespace().nth(16).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn heavy_threads_yield_and_no_others() {
        let own = nice();
        let heavy = HeavyThreads::new(2);
        assert_eq!(heavy.spawn(nice).await.unwrap(), own.max(NICE));
        assert_eq!((tokio::task::spawn_blocking(nice).await.unwrap(), nice()), (own, own));
    }
}
