//! The door, where a modality's own code and the runtime may panic.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Excess, Overload};
use crate::memory_governor::{Account, Governor};
use crate::model::{LoadError, Loader, Model, ModelError, Preparation, Prepared, Room, Step, StepError};
use crate::request_queue::{Counts, Job, JobOptions, Lease, Queue, QueueConfig, QueueLimits};
use crate::types::{Bytes, Cost, Deadline, Fingerprint, ModelId};

/// A model whose estimates, or its loader's preparation, may panic.
#[derive(Debug)]
struct Touchy;

const PANICS_IN_ESTIMATE: u64 = 666;
const PANICS_IN_PREPARATION: u64 = 667;

impl Model for Touchy {
    /// Its cost.
    type Request = u64;
    type Prepared = ();
    type Output = u64;
    type Event = ();

    fn estimate(request: &u64) -> Cost {
        assert_ne!(*request, PANICS_IN_ESTIMATE, "told to");
        Cost::new(*request, *request)
    }

    fn fingerprint(request: &u64) -> Option<Fingerprint> {
        Some(Fingerprint::of(request))
    }

    fn room(&self) -> Room {
        Room::NONE
    }

    fn step(&mut self, _: &mut Step<Self>) -> Result<(), StepError> {
        Ok(())
    }
}

struct TouchyLoader;

impl Loader for TouchyLoader {
    type Model = Touchy;

    fn load(&self) -> Result<Touchy, LoadError> {
        Ok(Touchy)
    }

    fn prepare(&self, request: &u64) -> Result<Prepared<()>, ModelError> {
        Ok(Prepared { value: (), cost: Cost::new(*request, 10 * *request) })
    }

    fn preparation(&self, estimate: Cost) -> Preparation {
        assert_ne!(estimate.tokens.get(), PANICS_IN_PREPARATION, "told to");
        if estimate.tokens.get() % 2 == 1 { Preparation::Lane } else { Preparation::Inline }
    }
}

fn queue(memory: u64) -> (Arc<Queue<Touchy>>, Governor) {
    let config = QueueConfig {
        model: ModelId::new("touchy"),
        limits: QueueLimits::default(),
        ageing: Duration::from_secs(10),
        coalesce: true,
    };
    let governor = Governor::new(Bytes(memory));
    let ids = Arc::new(AtomicU64::new(1));
    (Queue::new(config, Arc::new(TouchyLoader), governor.clone(), ids), governor)
}

fn used(governor: &Governor) -> u64 {
    governor.stats().account(Account::Inputs).get()
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_the_middle_of_a_list_leaves_nothing_behind() {
    let (queue, governor) = queue(10_000);
    for bad in [PANICS_IN_ESTIMATE, PANICS_IN_PREPARATION] {
        let submit = || queue.try_submit(vec![1, 2, bad, 4], &JobOptions::default(), None, true).map(drop);
        catch_unwind(AssertUnwindSafe(submit)).unwrap_err();
        assert_eq!((queue.stats().counts, queue.stats().waiting), (Counts::default(), 0));
        assert_eq!(used(&governor), 0);
    }
    assert!(queue.try_submit(vec![1, 2], &JobOptions::default(), None, true).is_ok());
}

// A schedule explorer has no timers that could be missing.
#[cfg(not(feature = "shuttle"))]
#[test]
fn a_runtime_without_timers_leaves_the_queue_as_it_was() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let (queue, governor) = queue(10_000);
    let hurried = JobOptions {
        deadline: Deadline::at(Instant::now() + Duration::from_secs(9)),
        ..JobOptions::default()
    };
    let submit = || queue.try_submit(vec![1, 2], &hurried, None, true).map(drop);
    catch_unwind(AssertUnwindSafe(submit)).unwrap_err();
    assert_eq!((queue.stats().counts, queue.stats().waiting, used(&governor)), (Counts::default(), 0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_joins_costs_nothing() {
    let (queue, governor) = queue(1_000);
    let submit = |requests: Vec<u64>| {
        queue.try_submit(requests, &JobOptions::default(), None, true).map_err(|(error, _)| error)
    };
    let first = submit(vec![600]).unwrap();
    assert_eq!(used(&governor), 600);
    // Five times as much as there is memory for, had each to be kept.
    let joined = submit(vec![600; 5]).unwrap();
    let mixed = submit(vec![300, 600, 300]).unwrap();
    assert_eq!(used(&governor), 900);
    assert_eq!(queue.stats().cost, Cost::new(900, 900));
    let error = submit(vec![600, 101]).unwrap_err();
    assert!(matches!(error, Error::Overloaded { why: Overload::Memory, .. }), "{error}");
    let error = submit(vec![1_001]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { why: Excess::Bytes { .. }, .. }), "{error}");
    drop((first, joined, mixed));
    assert_eq!((used(&governor), queue.stats().counts.cancelled), (0, 9));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_evicted_for_what_would_not_come_in_or_costs_nothing() {
    let (queue, governor) = queue(1_000);
    let lacks = || pin!(governor.lacking()).poll(&mut Context::from_waker(Waker::noop())).is_ready();
    let submit = |requests: Vec<u64>, deadline| {
        let options = JobOptions::default().deadline(deadline);
        queue.try_submit(requests, &options, None, true).map_err(|(error, _)| error)
    };
    let equal = submit(vec![600; 5], Deadline::NONE).unwrap();
    assert!(!lacks(), "together they cost what one does");
    let error = submit(vec![700], Deadline::at(Instant::now())).unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded { .. }), "{error}");
    queue.refuse(Error::ShuttingDown, None);
    assert!(matches!(submit(vec![700], Deadline::NONE).unwrap_err(), Error::ShuttingDown));
    assert!(!lacks() && used(&governor) == 600);
    queue.reopen();
    let error = submit(vec![700], Deadline::NONE).unwrap_err();
    assert!(matches!(error, Error::Overloaded { why: Overload::Memory, .. }), "{error}");
    assert!(lacks(), "this one would come in");
    drop(equal);
}

#[tokio::test(start_paused = true)]
async fn memory_follows_the_true_cost() {
    let (queue, governor) = queue(1_000);
    let mut tickets = queue.try_submit(vec![11, 31, 51], &JobOptions::default(), None, true).unwrap();
    assert_eq!(used(&governor), 11 + 31 + 51);
    let preparing = queue.pull_raw(8, Bytes::MAX).await;
    let prepare = |job: &Arc<Job<Touchy>>| {
        (job.id(), job.prepare(&TouchyLoader).map_err(|error| queue.job_error(error)))
    };
    let outcomes = preparing.jobs.iter().map(prepare).collect();
    preparing.report(outcomes);
    assert_eq!(used(&governor), 110 + 310 + 510);
    assert_eq!(queue.stats().cost, Cost::new(93, 930));
    let fourth = queue.try_submit(vec![13], &JobOptions::default(), None, true).unwrap().remove(0);
    let preparing = queue.pull_raw(8, Bytes::MAX).await;
    let outcomes = preparing.jobs.iter().map(prepare).collect();
    preparing.report(outcomes);
    let error = fourth.0.await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { why: Overload::Memory, .. }), "the budget is kept: {error}");
    tickets.truncate(1);
    assert_eq!(used(&governor), 110, "and all of it is given back");
    assert_eq!(Lease::new(Arc::clone(&queue)).try_pull(Room::jobs(8)).len(), 1);
}
