//! Every accepted job has exactly one end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pool_core::compute::ScriptedCompute;
use pool_core::{Counts, Deadline, Error, JobOptions, Priority};
use tokio::time::Instant;

use crate::scripted::{Fault, Preparing, World, ask, settle};

#[tokio::test(start_paused = true)]
async fn jobs_are_answered_whatever_their_preparation() {
    let world = World::new().await;
    let mut tickets = Vec::new();
    for id in 0..100 {
        let mut one = ask(id);
        one.tokens = u64::from(id) + 1;
        tickets.push(world.submit(one));
    }
    for (id, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.await.unwrap(), id as u32);
    }
    let counts = world.group.stats().queue.counts;
    assert_eq!(counts, Counts { accepted: 100, completed: 100, ..Counts::default() });
}

#[tokio::test(start_paused = true)]
async fn a_jobs_own_errors_end_that_job_only() {
    let world = World::new().await;
    let mut fails = ask(1);
    fails.fault = Fault::Fails;
    let mut invalid = ask(2);
    invalid.fault = Fault::Invalid;
    let mut unprepared = ask(3);
    unprepared.prepare = Preparing::Invalid;
    let mut lane = unprepared.clone();
    lane.tokens = 11;
    let mut panics = ask(5);
    (panics.prepare, panics.tokens) = (Preparing::Panics, 13);
    let tickets: Vec<_> = [fails, invalid, unprepared, lane, panics].map(|ask| world.submit(ask)).into();
    let fine = world.submit(ask(4));
    let mut ends = Vec::new();
    for ticket in tickets {
        ends.push(ticket.await.unwrap_err());
    }
    assert!(
        matches!(&ends[0], Error::Failed { cause, .. } if cause.to_string() == "told to fail"),
        "{:?}",
        ends[0]
    );
    for (end, says) in [(1, "not to its taste"), (2, "cannot be prepared"), (3, "cannot be prepared")] {
        assert!(matches!(&ends[end], Error::Invalid { message } if &**message == says), "{:?}", ends[end]);
    }
    assert!(matches!(&ends[4], Error::Crashed { .. }), "{:?}", ends[4]);
    assert_eq!(fine.await.unwrap(), 4);
    assert_eq!(world.group.stats().queue.counts.failed, 5);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_answers_on_time_in_mid_step() {
    let world = World::new().await;
    world.group.warm().await.unwrap();
    let start = Instant::now();
    let mut long = ask(1);
    long.steps = 100;
    let options = JobOptions::default().deadline(Duration::from_millis(250));
    let ticket = world.group.try_submit(long, options).unwrap();
    let end = ticket.await.unwrap_err();
    assert!(matches!(end, Error::DeadlineExceeded { .. }), "{end}");
    assert_eq!(start.elapsed(), Duration::from_millis(250));
    assert_eq!(world.group.stats().queue.counts.expired, 1);
    // The step goes on without it, then the worker lets go of it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let stats = world.group.stats();
    assert_eq!((stats.queue.leased, stats.queue.waiting), (0, 0));
    let steps = world.log.steps().len();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.log.steps().len(), steps, "nothing is computed for nobody");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_passes_in_the_queue_expires_though_nobody_polls() {
    let world = World::new().await;
    let ticket =
        world.group.try_submit(ask(1), JobOptions::default().deadline(Duration::from_millis(10))).unwrap();
    // Loading alone takes longer than that.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.group.stats().queue.counts.expired, 1);
    assert!(world.log.steps().is_empty());
    assert!(matches!(ticket.await.unwrap_err(), Error::DeadlineExceeded { .. }));
    let start = Instant::now();
    world.engine.drain(Duration::from_secs(60)).await;
    assert!(start.elapsed() < Duration::from_secs(5), "whoever waits for the queue to be empty was told");
}

#[tokio::test(start_paused = true)]
async fn what_expires_before_it_is_prepared_is_not_prepared() {
    let world = World::with(ScriptedCompute::taking(Duration::from_secs(1)), |_| {}, |_| {}).await;
    let lane = |id| {
        let mut lane = ask(id);
        lane.tokens = 11;
        lane
    };
    let first = world.submit(lane(1));
    settle().await;
    let hurried = JobOptions::default().deadline(Duration::from_millis(100));
    let second = world.group.try_submit(lane(2), hurried).unwrap();
    // Nobody polls the ticket, so it is the queue that has to notice.
    assert_eq!(first.await.unwrap(), 1);
    assert_eq!(world.log.prepared.load(Ordering::SeqCst), 1);
    assert_eq!(world.group.stats().queue.counts.expired, 1);
    assert!(matches!(second.await.unwrap_err(), Error::DeadlineExceeded { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_already_passed_is_refused() {
    let world = World::new().await;
    let options = JobOptions { deadline: Deadline::at(Instant::now()), ..JobOptions::default() };
    let error = world.group.try_submit(ask(1), options).unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded { .. }));
    assert_eq!(world.group.stats().queue.counts, Counts { refused: 1, ..Counts::default() });
}

#[tokio::test(start_paused = true)]
async fn dropping_a_ticket_frees_its_place_wherever_it_is() {
    let world = World::new().await;
    // Queued: the model is not even loaded.
    drop(world.submit(ask(1)));
    let stats = world.group.stats().queue;
    assert_eq!((stats.waiting, stats.cost.bytes.get(), stats.counts.cancelled), (0, 0, 1));
    // Between steps and in mid-step.
    let mut long = ask(2);
    long.steps = 1000;
    let ticket = world.submit(long);
    tokio::time::sleep(Duration::from_millis(450)).await;
    assert_eq!(world.group.stats().queue.leased, 1);
    drop(ticket);
    assert_eq!(world.group.stats().queue.leased, 0);
    // The worker is free for others at its next step.
    assert_eq!(world.submit(ask(3)).await.unwrap(), 3);
    assert_eq!(world.log.steps().last(), Some(&vec![3]));
    // In preparation.
    let mut lane = ask(4);
    lane.tokens = 11;
    let ticket = world.submit(lane);
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(ticket);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let counts = world.group.stats().queue.counts;
    assert_eq!((counts.accepted, counts.completed, counts.cancelled), (4, 1, 3));
}

#[tokio::test(start_paused = true)]
async fn equal_jobs_are_joined_and_each_waiter_has_its_own_end() {
    let world = World::new().await;
    let first = world.submit(ask(1));
    let second =
        world.group.try_submit(ask(1), JobOptions::default().deadline(Duration::from_millis(1))).unwrap();
    let third = world.submit(ask(1));
    assert_eq!((first.job(), second.job()), (third.job(), third.job()));
    let stranger = JobOptions::default().principal("somebody else".into());
    let other = world.group.try_submit(ask(1), stranger).unwrap();
    assert_ne!(other.job(), first.job(), "never across principals");
    drop(first);
    assert!(matches!(second.await.unwrap_err(), Error::DeadlineExceeded { .. }));
    assert_eq!(third.await.unwrap(), 1);
    assert_eq!(other.await.unwrap(), 1);
    let counts = world.group.stats().queue.counts;
    assert_eq!(counts, Counts { accepted: 4, completed: 2, cancelled: 1, expired: 1, ..Counts::default() });
    assert_eq!(world.log.steps(), [vec![1, 1]], "two jobs were computed, not four");
    // Once it has ended, it is computed anew.
    let later = world.submit(ask(1));
    assert_eq!(later.await.unwrap(), 1);
    assert_eq!(world.log.steps().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_joined_job_dies_with_its_last_waiter() {
    let world = World::new().await;
    let (first, second) = (world.submit(ask(1)), world.submit(ask(1)));
    drop(first);
    assert_eq!(world.group.stats().queue.waiting, 1);
    drop(second);
    assert_eq!(world.group.stats().queue.waiting, 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(world.log.steps().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_joined_job_is_as_urgent_as_its_most_urgent_waiter() {
    let world = World::with(
        pool_core::compute::ScriptedCompute::taking(Duration::from_millis(100)),
        |_| {},
        |loader| loader.room = pool_core::Room::jobs(1),
    )
    .await;
    let tickets: Vec<_> = (0..5).map(|id| world.submit(ask(id))).collect();
    let urgent = JobOptions::default().priority(Priority::High);
    let joined = world.group.try_submit(ask(4), urgent).unwrap();
    assert_eq!(joined.await.unwrap(), 4);
    assert_eq!(world.log.steps(), [vec![4]]);
    for (id, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.await.unwrap(), id as u32);
    }
}

#[tokio::test(start_paused = true)]
async fn a_ticket_may_be_polled_across_select_branches() {
    let world = World::new().await;
    let mut ticket = world.submit(ask(7));
    let mut beats = 0;
    let end = loop {
        tokio::select! {
            end = &mut ticket => break end,
            () = tokio::time::sleep(Duration::from_millis(10)) => beats += 1,
        }
    };
    assert_eq!(end.unwrap(), 7);
    assert!(beats > 10);
    settle().await;
}

#[test]
fn outside_of_tokio_there_is_a_typed_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let group = {
        let _inside = runtime.enter();
        assert!(pool_core::Engine::builder().build().is_ok());
        runtime.block_on(async { World::new().await.group })
    };
    let error = group.try_submit(ask(1), JobOptions::default()).unwrap_err();
    assert!(matches!(error, Error::NoRuntime), "{error}");
    assert!(matches!(pool_core::Engine::builder().build().unwrap_err(), Error::NoRuntime));
}
