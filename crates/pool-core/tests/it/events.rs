//! Events: in order, bounded, and a reader that does not read holds up itself only.

use std::time::Duration;

use pool_core::compute::ScriptedCompute;
use pool_core::{Error, JobOptions, Room};

use crate::scripted::{World, ask};

#[tokio::test(start_paused = true)]
async fn events_come_in_order_and_before_the_end() {
    let world = World::new().await;
    let mut speaks = ask(1);
    (speaks.events, speaks.steps) = (true, 20);
    let (ticket, mut events) =
        world.group.try_submit_streaming(speaks, JobOptions::default(), 4.try_into().unwrap()).unwrap();
    let mut heard = Vec::new();
    while let Some(event) = events.recv().await {
        heard.push(event);
    }
    assert_eq!(heard, (1..=20).collect::<Vec<_>>());
    assert_eq!(ticket.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_pauses_its_own_job_only() {
    let world = World::new().await;
    let mut speaks = ask(1);
    (speaks.events, speaks.steps) = (true, 10);
    let (ticket, mut events) = world
        .group
        .try_submit_streaming(speaks.clone(), JobOptions::default(), 2.try_into().unwrap())
        .unwrap();
    let mut other = speaks.clone();
    other.id = 2;
    other.events = false;
    assert_eq!(world.submit(other).await.unwrap(), 2);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let paused_at = world.log.steps().len();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(world.log.steps().len(), paused_at, "no step is taken for a paused job alone");
    let mut heard = Vec::new();
    while let Some(event) = events.recv().await {
        heard.push(event);
    }
    assert_eq!(heard, (1..=10).collect::<Vec<_>>(), "nothing is lost by pausing");
    assert_eq!(ticket.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_model_hears_of_a_pause_even_when_nothing_else_is_to_be_done() {
    let world = World::new().await;
    let mut speaks = ask(1);
    (speaks.events, speaks.steps) = (true, 10);
    let (ticket, mut events) =
        world.group.try_submit_streaming(speaks, JobOptions::default(), 2.try_into().unwrap()).unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(*world.log.paused.lock().unwrap(), [1]);
    // Two events have room, the third has none, and one more step tells the model.
    assert_eq!(world.log.steps().len(), 4);
    while events.recv().await.is_some() {}
    assert_eq!(ticket.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_never_reads_is_ended() {
    let world = World::new().await;
    let mut speaks = ask(1);
    (speaks.events, speaks.steps) = (true, 1000);
    let (ticket, events) =
        world.group.try_submit_streaming(speaks, JobOptions::default(), 2.try_into().unwrap()).unwrap();
    let end = ticket.await.unwrap_err();
    assert!(matches!(end, Error::SlowConsumer { .. }), "{end}");
    drop(events);
    // The model has let go of it, and the worker serves on.
    assert_eq!(world.submit(ask(2)).await.unwrap(), 2);
    assert_eq!(world.log.steps().last(), Some(&vec![2]));
}

#[tokio::test(start_paused = true)]
async fn a_paused_job_that_is_cancelled_makes_room_at_once() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |_| {},
        |loader| loader.room = Room::jobs(1),
    )
    .await;
    let mut speaks = ask(1);
    (speaks.events, speaks.steps) = (true, 1000);
    let (ticket, events) =
        world.group.try_submit_streaming(speaks, JobOptions::default(), 2.try_into().unwrap()).unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let waits = world.submit(ask(2));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.group.stats().queue.waiting, 1, "the paused job keeps its place");
    drop(ticket);
    assert_eq!(tokio::time::timeout(Duration::from_secs(1), waits).await.unwrap().unwrap(), 2);
    // Nobody has read anything, and the channel is still there.
    drop(events);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_leaves_still_gets_the_end() {
    let world = World::new().await;
    let mut speaks = ask(1);
    (speaks.events, speaks.steps) = (true, 50);
    let (ticket, events) =
        world.group.try_submit_streaming(speaks, JobOptions::default(), 2.try_into().unwrap()).unwrap();
    drop(events);
    assert_eq!(ticket.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn events_that_nobody_asked_for_are_not_kept() {
    let world = World::new().await;
    let mut speaks = ask(1);
    (speaks.events, speaks.steps) = (true, 50);
    assert_eq!(world.submit(speaks).await.unwrap(), 1);
}
