use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::runtime::Handle;

use super::{Compute, Lane, Work};

/// Runs work on the blocking threads of one tokio runtime.
///
/// The runtime is the one it was made in, so that work can be started from any thread. A runtime that is dropped
/// waits for what runs there (`Runtime::shutdown_timeout` does not wait for ever).
#[derive(Clone, Debug)]
pub struct BlockingCompute {
    runtime: Handle,
}

/// There is no tokio runtime here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no tokio runtime is running here: call this from an async fn that tokio runs")]
pub struct NoRuntime;

impl BlockingCompute {
    /// On the runtime that runs the caller.
    ///
    /// # Errors
    ///
    /// Outside a runtime.
    pub fn try_current() -> Result<Self, NoRuntime> {
        Handle::try_current().map(Self::on).map_err(|_| NoRuntime)
    }

    /// On the given runtime.
    pub const fn on(runtime: Handle) -> Self {
        Self { runtime }
    }
}

impl Compute for BlockingCompute {
    fn execute(&self, lane: Lane, work: Work) {
        // Tokio panics where the system refuses the very first thread; it has queued the work all the same, and runs
        // it when it next gets a thread. Until then the work is as good as hanging, and is watched like that.
        let started = catch_unwind(AssertUnwindSafe(|| self.runtime.spawn_blocking(work)));
        if started.is_err() {
            tracing::error!(%lane, "the system refuses a thread: work waits until there is one");
        }
    }
}
