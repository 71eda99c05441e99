use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::memory_governor::Governor;
use crate::model::{LoadError, Loader, Model, ModelError, Prepared, Room, Step, StepError};
use crate::request_queue::{Accepted, JobOptions, Lease, Queue, QueueConfig, QueueLimits};
use crate::types::{Bytes, Cost, Fingerprint, ModelId, Priority, Tokens};

/// A model that is never stepped here.
#[derive(Debug)]
pub(super) struct Still;

impl Model for Still {
    type Request = u32;
    type Prepared = ();
    type Output = u32;
    type Event = ();

    fn estimate(_: &u32) -> Cost {
        Cost::new(1, 1)
    }

    fn fingerprint(request: &u32) -> Option<Fingerprint> {
        Some(Fingerprint::of(request))
    }

    fn room(&self) -> Room {
        Room::NONE
    }

    fn step(&mut self, _: &mut Step<Self>) -> Result<(), StepError> {
        Ok(())
    }
}

struct StillLoader;

impl Loader for StillLoader {
    type Model = Still;

    fn load(&self) -> Result<Still, LoadError> {
        Ok(Still)
    }

    fn prepare(&self, _: &u32) -> Result<Prepared<()>, ModelError> {
        Ok(Prepared { value: (), cost: Cost::new(1, 1) })
    }
}

pub(super) fn queue() -> Arc<Queue<Still>> {
    let config = QueueConfig {
        model: ModelId::new("still"),
        limits: QueueLimits::default(),
        ageing: Duration::from_secs(10),
        coalesce: true,
    };
    Queue::new(config, Arc::new(StillLoader), Governor::new(Bytes(1000)), Arc::new(AtomicU64::new(1)))
}

pub(super) fn submit(queue: &Arc<Queue<Still>>, id: u32) -> Accepted<Still> {
    queue.try_submit(vec![id], &JobOptions::default(), None, true).unwrap().pop().unwrap()
}

pub(super) fn requests(lease: &mut Lease<Still>) -> Vec<u32> {
    lease.try_pull(Room::jobs(8)).iter().map(|leased| *leased.job.request()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_dropped_puts_its_jobs_back() {
    let queue = queue();
    let tickets = [submit(&queue, 1), submit(&queue, 2)];
    let mut lease = Lease::new(Arc::clone(&queue));
    assert_eq!(requests(&mut lease), [1, 2]);
    let mut other = Lease::new(Arc::clone(&queue));
    assert_eq!(requests(&mut other), [0; 0], "no job is leased twice");
    drop(lease);
    assert_eq!(requests(&mut other), [1, 2], "and they are where they were");
    drop(tickets);
}

// A schedule explorer has no clock to run out.
#[cfg(not(feature = "shuttle"))]
#[tokio::test(start_paused = true)]
async fn a_pull_that_is_dropped_leases_nothing() {
    let queue = queue();
    let mut lease = Lease::new(Arc::clone(&queue));
    for id in 0..100 {
        let pull = tokio::time::timeout(Duration::from_millis(1), lease.pull(Room::jobs(8)));
        assert!(pull.await.is_err());
        let ticket = submit(&queue, id);
        assert_eq!(queue.stats().waiting, 1);
        drop(ticket);
    }
    let _ticket = submit(&queue, 7);
    assert_eq!(lease.pull(Room::jobs(8)).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_job_cancelled_while_leased_is_pruned_and_cannot_be_settled() {
    let queue = queue();
    let ticket = submit(&queue, 1);
    let mut lease = Lease::new(Arc::clone(&queue));
    assert_eq!(requests(&mut lease), [1]);
    let job = ticket.0.job();
    drop(ticket);
    lease.settle(vec![(job, Ok(1))]);
    let counts = queue.stats().counts;
    assert_eq!((counts.completed, counts.cancelled), (0, 1), "its first end is its only one");
    assert_eq!(lease.prune(), []);
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_leased_job_makes_it_more_urgent_now_and_if_it_comes_back() {
    let queue = queue();
    let submit = |id, priority| {
        let options = JobOptions::default().priority(priority);
        queue.try_submit(vec![id], &options, None, true).unwrap().pop().unwrap()
    };
    let _low = submit(1, Priority::Low);
    let mut lease = Lease::new(Arc::clone(&queue));
    assert_eq!(requests(&mut lease), [1]);
    let _normal = submit(2, Priority::Normal);
    let _urgent = submit(1, Priority::High);
    assert_eq!(lease.prune(), []);
    assert_eq!(lease.priority(), Priority::High, "the next step is claimed for the most urgent waiter");
    drop(lease);
    let mut other = Lease::new(Arc::clone(&queue));
    let next = other.try_pull(Room::jobs(1));
    assert_eq!(next.iter().map(|leased| *leased.job.request()).collect::<Vec<_>>(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_worker_hears_that_a_job_it_holds_was_withdrawn() {
    let queue = queue();
    let (held, waits) = (submit(&queue, 1), submit(&queue, 2));
    let mut lease = Lease::new(Arc::clone(&queue));
    assert_eq!(lease.try_pull(Room::jobs(1)).len(), 1);
    let mut withdrawn = polled(lease.withdrawn());
    assert!(!withdrawn(), "nothing has happened");
    drop(waits);
    assert!(!withdrawn(), "that one is not held");
    drop(held);
    assert!(withdrawn());
    assert!(polled(lease.withdrawn())(), "nor is it missed by whoever asks later");
    assert_eq!(lease.prune().len(), 1);
    assert!(!polled(lease.withdrawn())(), "nothing is held");
}

#[tokio::test(start_paused = true)]
async fn what_one_busy_worker_has_no_room_for_another_takes() {
    let queue = queue();
    let _held = [submit(&queue, 1), submit(&queue, 2)];
    let (mut full, mut roomy) = (Lease::new(Arc::clone(&queue)), Lease::new(Arc::clone(&queue)));
    assert_eq!((full.try_pull(Room::jobs(1)).len(), roomy.try_pull(Room::jobs(1)).len()), (1, 1));
    let mut full = polled(async { drop(full.pull(Room::new(1, Tokens::ZERO)).await) });
    let mut roomy = polled(async { drop(roomy.pull(Room::jobs(1)).await) });
    assert!(!full() && !roomy(), "nothing waits");
    let _ticket = submit(&queue, 3);
    assert!(!full() && roomy());
}

/// Polls a future each time it is called: whether it is done.
fn polled(future: impl Future<Output = ()>) -> impl FnMut() -> bool {
    let mut future = Box::pin(future);
    move || future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
}
