//! Many schedules of one scenario, and a clock that moves only when a scenario says so.

extern crate tokio as real_tokio;

use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

thread_local! {
    /// What a model was told that must not be. All tasks of a schedule run on one thread.
    static WRONG: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// Fails the schedule unless this holds. For models: a panic within a step would be contained like any other.
pub(crate) fn require(holds: bool, what: &'static str) {
    if !holds {
        WRONG.set(Some(what));
    }
}

/// Runs a scenario under so many random schedules, and as many that prefer some tasks over others and change their mind
/// three times. `EXPLORE_FACTOR=50` looks at fifty times as many.
pub(crate) fn explore<F: Future<Output = ()> + Send + 'static>(
    iterations: usize,
    scenario: impl Fn() -> F + Send + Sync + 'static,
) {
    let factor: usize = std::env::var("EXPLORE_FACTOR").map_or(1, |factor| factor.parse().expect("a number"));
    let iterations = iterations * factor;
    let run = move || {
        shuttle::future::block_on(shuttle::future::spawn(scenario())).unwrap();
        if let Some(wrong) = WRONG.take() {
            panic!("does not hold: {wrong}");
        }
    };
    let run = Arc::new(run);
    let random = Arc::clone(&run);
    shuttle::check_random(move || random(), iterations);
    shuttle::check_pct(move || run(), iterations, 3);
}

/// As [`explore`], with a clock that stands still but for [`let_time_pass`]: for what depends on how long something has
/// lasted. Timers fire at any moment all the same.
pub(crate) fn explore_with_clock<F: Future<Output = ()> + Send + 'static>(
    iterations: usize,
    scenario: impl Fn() -> F + Send + Sync + 'static,
) {
    let runtime =
        real_tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let _clock = runtime.enter();
    explore(iterations, scenario);
}

/// Moves the clock at any moment, until told that it is enough.
pub(crate) async fn let_time_pass(by: Duration, enough: Arc<AtomicBool>) {
    while !enough.load(Ordering::SeqCst) {
        // It moves when first polled; what it does then waits for a runtime that is not there.
        let _ = pin!(real_tokio::time::advance(by)).poll(&mut Context::from_waker(Waker::noop()));
        tokio::task::yield_now().await;
    }
}
