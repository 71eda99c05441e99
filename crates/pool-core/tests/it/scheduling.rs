//! Steps, batches, priorities.

use std::time::Duration;

use pool_core::compute::ScriptedCompute;
use pool_core::{JobOptions, Priority, Room, Tokens};

use crate::scripted::{World, ask};

#[tokio::test(start_paused = true)]
async fn jobs_join_and_leave_at_every_step() {
    let world = World::new().await;
    world.group.warm().await.unwrap();
    let mut long = ask(1);
    long.steps = 6;
    let long = world.submit(long);
    tokio::time::sleep(Duration::from_millis(150)).await;
    let short = world.submit(ask(2));
    assert_eq!(short.await.unwrap(), 2);
    assert_eq!(long.await.unwrap(), 1);
    let steps = world.log.steps();
    assert_eq!(steps, [vec![1], vec![1], vec![1, 2], vec![1], vec![1], vec![1]], "continuous batching");
}

#[tokio::test(start_paused = true)]
async fn a_batch_keeps_the_models_room() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |_| {},
        |loader| loader.room = Room::new(3, Tokens(50)),
    )
    .await;
    let mut tickets: Vec<_> = (0..7).map(|id| world.submit(ask(id))).collect();
    let mut large = ask(7);
    large.tokens = 400;
    tickets.push(world.submit(large));
    for ticket in tickets {
        ticket.await.unwrap();
    }
    assert_eq!(world.log.steps(), [vec![0, 1, 2], vec![3, 4, 5], vec![6], vec![7]]);
}

#[tokio::test(start_paused = true)]
async fn urgent_jobs_overtake_waiting_ones() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |_| {},
        |loader| {
            loader.room = Room::jobs(1);
        },
    )
    .await;
    let mut tickets = Vec::new();
    for (id, priority) in Priority::ALL.into_iter().enumerate() {
        for copy in 0..2 {
            let options = JobOptions::default().priority(priority);
            tickets.push(world.group.try_submit(ask(id as u32 * 10 + copy), options).unwrap());
        }
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let order: Vec<u32> = world.log.steps().into_iter().flatten().collect();
    assert_eq!(order, [30, 31, 20, 21, 10, 11, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn principals_take_turns() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |_| {},
        |loader| {
            loader.room = Room::jobs(1);
        },
    )
    .await;
    let mut tickets = Vec::new();
    for (base, name) in [(0, "greedy"), (100, "modest")] {
        for id in 0..4 {
            let options = JobOptions::default().principal(name.into());
            tickets.push(world.group.try_submit(ask(base + id), options).unwrap());
        }
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let order: Vec<u32> = world.log.steps().into_iter().flatten().collect();
    assert_eq!(order, [0, 100, 1, 101, 2, 102, 3, 103]);
}

#[tokio::test(start_paused = true)]
async fn what_was_cancelled_is_not_charged() {
    let world = World::with(
        ScriptedCompute::taking(Duration::from_millis(100)),
        |_| {},
        |loader| {
            loader.room = Room::jobs(1);
        },
    )
    .await;
    let submit = |id, name: &str| {
        world.group.try_submit(ask(id), JobOptions::default().principal(name.into())).unwrap()
    };
    let mut fickle: Vec<_> = (0..4).map(|id| submit(id, "fickle")).collect();
    let steady = [submit(100, "steady"), submit(101, "steady")];
    let last = fickle.pop().unwrap();
    drop(fickle);
    assert_eq!(last.await.unwrap(), 3);
    for (ticket, id) in steady.into_iter().zip([100, 101]) {
        assert_eq!(ticket.await.unwrap(), id);
    }
    let order: Vec<u32> = world.log.steps().into_iter().flatten().collect();
    assert_eq!(order, [3, 100, 101], "as if it had asked for nothing else");
}
