use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::{Compute, Lane, Work};
use crate::sync::{Mutex, lock};

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests;

/// What a script does with one piece of work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scripted {
    /// Runs it when so much time has passed: virtual time where tokio's clock is paused.
    Run {
        /// The time it takes.
        after: Duration,
    },
    /// Keeps it until [`ScriptedCompute::release`].
    Hang,
}

impl Scripted {
    /// Runs it at once.
    pub const NOW: Self = Self::Run { after: Duration::ZERO };
}

type Script = Box<dyn FnMut(Lane, u64) -> Scripted + Send>;

/// Compute for tests: work takes the time a script says, in tasks instead of threads, so that tokio's paused clock
/// works and a schedule explorer can stand in for tokio.
///
/// Work runs inside a task and so occupies the runtime while it does: what a test computes must be short.
/// Panics come from the work itself.
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use pool_core::compute::{Claim, Lanes, LanesConfig, Scripted, ScriptedCompute};
/// use pool_core::types::ModelId;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let compute = ScriptedCompute::new(|_lane, _ordinal| Scripted::Run { after: Duration::from_secs(2) });
/// let lanes = Lanes::new(LanesConfig::default(), compute);
/// let before = tokio::time::Instant::now();
/// let answer = lanes.step(&Claim::new(ModelId::new("m")), || 42).await?;
/// assert_eq!((answer, before.elapsed()), (42, Duration::from_secs(2)));
/// # Ok(())
/// # }
/// ```
pub struct ScriptedCompute {
    script: Mutex<Script>,
    tasks: Mutex<JoinSet<()>>,
    held: Mutex<VecDeque<Work>>,
    executed: [AtomicU64; Lane::ALL.len()],
}

impl ScriptedCompute {
    /// Asks `script` about each piece of work: its lane, and how many of that lane came before it.
    pub fn new(script: impl FnMut(Lane, u64) -> Scripted + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(Box::new(script)),
            tasks: Mutex::new(JoinSet::new()),
            held: Mutex::new(VecDeque::new()),
            executed: Default::default(),
        })
    }

    /// Runs everything at once, without a timer.
    pub fn instant() -> Arc<Self> {
        Self::new(|_, _| Scripted::NOW)
    }

    /// Lets everything take the same time.
    pub fn taking(after: Duration) -> Arc<Self> {
        Self::new(move |_, _| Scripted::Run { after })
    }

    /// How many pieces of work of this lane have been started.
    pub fn executed(&self, lane: Lane) -> u64 {
        self.executed[lane.index()].load(Ordering::SeqCst)
    }

    /// How many pieces of work hang.
    pub fn held(&self) -> usize {
        lock(&self.held).len()
    }

    /// Lets the work that has been hanging longest run now; false if none hangs.
    pub fn release(&self) -> bool {
        let work = lock(&self.held).pop_front();
        work.map(|work| self.spawn(Duration::ZERO, work)).is_some()
    }

    /// Drops, unrun, all the work that hangs, as a runtime does that shuts down; says how much it was.
    pub fn abandon(&self) -> usize {
        let held = std::mem::take(&mut *lock(&self.held));
        held.len()
    }

    fn spawn(&self, after: Duration, work: Work) {
        if Handle::try_current().is_err() {
            return; // `work` is dropped unrun, as by a runtime that has gone.
        }
        // A runtime that shuts down drops the task within `spawn`; the work must not be dropped under the lock, since
        // that frees its slot and starts the next.
        let work = Arc::new(Mutex::new(Some(work)));
        let task = run_after(after, Arc::clone(&work));
        let mut tasks = lock(&self.tasks);
        tasks.spawn(task);
        reap(&mut tasks);
        drop(tasks);
        drop(work);
    }
}

async fn run_after(after: Duration, work: Arc<Mutex<Option<Work>>>) {
    if !after.is_zero() {
        tokio::time::sleep(after).await;
    }
    let work = lock(&work).take();
    if let Some(work) = work {
        work();
    }
}

/// Forgets tasks that have ended, so that a long test does not collect them.
fn reap(tasks: &mut JoinSet<()>) {
    let mut context = Context::from_waker(Waker::noop());
    while let std::task::Poll::Ready(Some(_ended)) = pin!(tasks.join_next()).poll(&mut context) {}
}

impl Compute for ScriptedCompute {
    fn execute(&self, lane: Lane, work: Work) {
        let ordinal = self.executed[lane.index()].fetch_add(1, Ordering::SeqCst);
        let scripted = (lock(&self.script))(lane, ordinal);
        match scripted {
            Scripted::Run { after } => self.spawn(after, work),
            Scripted::Hang => lock(&self.held).push_back(work),
        }
    }
}

impl fmt::Debug for ScriptedCompute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedCompute").field("executed", &self.executed).finish_non_exhaustive()
    }
}
