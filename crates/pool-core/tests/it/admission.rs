//! At the door: by count, by cost, by time, by memory; whole lists; waiting for room.

use std::pin::pin;
use std::time::Duration;

use pool_core::compute::ScriptedCompute;
use pool_core::{Bytes, Cost, Error, JobOptions, Overload, Room};
use tokio::time::Instant;

use crate::scripted::{Log, ScriptedLoader, World, ask, engine};

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once_and_takes_again_when_there_is_room() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |config| config.limits.jobs = 3,
        |_| {},
    )
    .await;
    let tickets: Vec<_> = (0..3).map(|id| world.submit(ask(id))).collect();
    let error = world.refused(ask(3));
    assert!(matches!(error, Error::Overloaded { why: Overload::Jobs { limit: 3 }, .. }), "{error}");
    for ticket in tickets {
        ticket.await.unwrap();
    }
    assert_eq!(world.submit(ask(3)).await.unwrap(), 3);
    assert_eq!(world.group.stats().queue.counts.refused, 1);
}

#[tokio::test(start_paused = true)]
async fn a_list_is_admitted_whole_or_not_at_all() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |config| config.limits.jobs = 5,
        |_| {},
    )
    .await;
    let held = world.submit(ask(0));
    let error =
        world.group.try_submit_all((1..6).map(ask).collect(), JobOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { .. }));
    assert_eq!(world.group.stats().queue.waiting, 1);
    let error =
        world.group.try_submit_all((1..7).map(ask).collect(), JobOptions::default()).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "six never fit: {error}");
    let tickets = world.group.try_submit_all((1..5).map(ask).collect(), JobOptions::default()).await.unwrap();
    for (ticket, id) in tickets.into_iter().zip(1..) {
        assert_eq!(ticket.await.unwrap(), id);
    }
    held.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_long_list_goes_in_by_the_prepare_lane_whole_or_not_at_all() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |config| config.limits.jobs = 400,
        |loader| loader.room = Room::jobs(400),
    )
    .await;
    let list = |from: u32, count: u32| {
        let list = (from..from + count).map(ask).collect();
        world.group.try_submit_all(list, JobOptions::default())
    };
    let began = Instant::now();
    let error = list(0, 401).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!(began.elapsed(), Duration::from_millis(100), "it was the lane's work");
    {
        // It is given up while the lane has it, and what it had let in by then is gone with it.
        let mut given_up = pin!(list(1000, 300));
        tokio::select! {
            biased;
            _ = given_up.as_mut() => panic!("the lane takes longer"),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(world.group.stats().queue.waiting, 0);
    let tickets = list(0, 300).await.unwrap();
    for (ticket, id) in tickets.into_iter().zip(0..) {
        assert_eq!(ticket.await.unwrap(), id);
    }
}

#[tokio::test(start_paused = true)]
async fn cost_is_bounded_and_what_never_fits_is_told_with_numbers() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |config| config.limits.cost = Cost::new(100, 1000),
        |_| {},
    )
    .await;
    let mut half = ask(1);
    half.tokens = 60;
    let held = world.submit(half.clone());
    half.id = 2;
    let error = world.refused(half.clone());
    assert!(matches!(error, Error::Overloaded { why: Overload::Cost { .. }, .. }), "{error}");
    half.tokens = 101;
    let error = world.refused(half);
    assert!(matches!(error, Error::TooLarge { .. }) && error.to_string().contains("101 tokens"), "{error}");
    held.await.unwrap();
}

/// Lets the model compute while jobs wait for it.
async fn measure(world: &World) {
    for ticket in (900..904).map(|id| world.submit(ask(id))).collect::<Vec<_>>() {
        ticket.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_cannot_be_met_is_refused_once_the_rate_is_known() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_secs(1)),
        |config| config.limits.max_wait = Some(Duration::from_millis(21_500)),
        |loader| loader.room = Room::jobs(1),
    )
    .await;
    let hurried = |millis| JobOptions::default().deadline(Duration::from_millis(millis));
    // Unmeasured: accepted, though the load alone takes longer.
    let first = world.group.try_submit(ask(0), hurried(100)).unwrap();
    assert!(matches!(first.await.unwrap_err(), Error::DeadlineExceeded { .. }));
    measure(&world).await;
    // Ten tokens take a second now.
    let held: Vec<_> = (10..20).map(|id| world.submit(ask(id))).collect();
    let error = world.group.try_submit(ask(99), hurried(5_000)).unwrap_err();
    let Error::Overloaded { why: Overload::Wait { expected, .. }, retry_after, .. } = error else {
        panic!("{error}")
    };
    assert!((10..12).contains(&expected.as_secs()), "{expected:?}");
    assert!((5..8).contains(&retry_after.as_secs()), "{retry_after:?}");
    let patient = world.group.try_submit(ask(98), hurried(60_000)).unwrap();
    // Nor is anybody let in who would wait longer than the queue allows.
    let more: Vec<_> = (20..30).map(|id| world.submit(ask(id))).collect();
    let error = world.refused(ask(30));
    assert!(matches!(error, Error::Overloaded { why: Overload::Wait { .. }, .. }), "{error}");
    assert_eq!(patient.await.unwrap(), 98);
    drop((held, more));
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_last_item_would_come_too_late_is_refused() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_secs(1)),
        |_| {},
        |loader| loader.room = Room::jobs(1),
    )
    .await;
    let list = |from: u32, count: u32| {
        let list = (from..from + count).map(ask).collect();
        world.group.try_submit_all(list, JobOptions::default())
    };
    drop(list(1000, 100).await.unwrap());
    world.submit(ask(0)).await.unwrap();
    drop(list(1000, 100).await.expect("a job by itself measures nothing"));
    measure(&world).await;
    // Ten tokens take a second now, and so does every item.
    let error = list(100, 40).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }) && error.to_string().contains("40.0 s"), "{error}");
    let held = list(100, 20).await.unwrap();
    let error = list(200, 20).await.unwrap_err();
    assert!(matches!(error, Error::Overloaded { why: Overload::Wait { .. }, .. }), "{error}");
    let wait = error.retry_after().unwrap().as_secs();
    assert!((9..=11).contains(&wait), "when the 40 s have become 30: {wait}");
    assert!(list(100, 20).await.is_ok(), "whoever joins what is there adds nothing");
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn submit_waits_for_room_in_turn_until_its_deadline() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |config| config.limits.jobs = 2,
        |_| {},
    )
    .await;
    let mut tasks = tokio::task::JoinSet::new();
    for id in 0..40 {
        let group = world.group.clone();
        tasks
            .spawn(async move { group.submit(ask(id), JobOptions::default()).await.unwrap().await.unwrap() });
    }
    let mut done = Vec::new();
    while let Some(id) = tasks.join_next().await {
        done.push(id.unwrap());
    }
    done.sort_unstable();
    assert_eq!(done, (0..40).collect::<Vec<_>>());
    let mut long = ask(100);
    long.steps = 1000;
    let mut longer = long.clone();
    longer.id = 101;
    let _held = [world.submit(long), world.submit(longer)];
    let options = JobOptions::default().deadline(Duration::from_millis(300));
    let error = world.group.submit(ask(7), options).await.unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn inputs_are_counted_against_memory_and_given_back() {
    let compute = ScriptedCompute::taking(Duration::from_millis(100));
    let engine = engine(&compute, Bytes(5_000));
    let log = std::sync::Arc::new(Log::default());
    let group = engine.add(pool_core::GroupConfig::new("m"), ScriptedLoader::new(&log)).await.unwrap();
    group.warm().await.unwrap();
    let mut large = ask(1);
    large.tokens = 3_000;
    let held = group.try_submit(large.clone(), JobOptions::default()).unwrap();
    large.id = 2;
    let error = group.try_submit(large.clone(), JobOptions::default()).unwrap_err();
    assert!(matches!(error, Error::Overloaded { why: Overload::Memory, .. }), "{error}");
    assert_eq!(error.retry_after(), Some(Duration::from_secs(1)), "nothing is measured yet");
    // One that waits for room gets it.
    let (first, second) =
        tokio::join!(held, async { group.submit(large, JobOptions::default()).await.unwrap().await });
    assert_eq!((first.unwrap(), second.unwrap()), (1, 2));
    for ticket in
        (10..30).map(|id| group.try_submit(ask(id), JobOptions::default()).unwrap()).collect::<Vec<_>>()
    {
        ticket.await.unwrap();
    }
    let rate = group.stats().queue.tokens_per_second.expect("measured while jobs waited");
    let mut held = ask(3);
    held.tokens = 3_000;
    let held = group.try_submit(held, JobOptions::default()).unwrap();
    let mut large = ask(4);
    large.tokens = 3_000;
    let error = group.try_submit(large, JobOptions::default()).unwrap_err();
    let Error::Overloaded { why: Overload::Memory, retry_after, .. } = error else { panic!("{error}") };
    let told = retry_after.as_secs_f64() * rate;
    assert!((1_500.0..=3_000.0).contains(&told), "{told} of the 3,000 bytes held must go for 2,100 more");
    held.await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    let memory = engine.stats().await.unwrap().memory;
    assert_eq!(memory.used, Bytes(1_100), "weights and working set stay, inputs are gone");
}
