//! Jobs among jobs: cancelled, expired, joined, watched, waiting for room.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pool_core::{Group, JobOptions};

use crate::schedules::explore;
use crate::scripted::{Ask, Scripted, add, ask, engine, world};
use crate::seen::{Seen, caller};

#[test]
fn jobs_end_once_while_others_are_cancelled() {
    explore(600, || async {
        let (engine, group) = world(0, |_| {}).await;
        let one = tokio::spawn(caller(group.clone(), 0));
        let other = tokio::spawn(caller(group.clone(), 10));
        let seen = one.await.unwrap().add(other.await.unwrap());
        assert_eq!(seen.failed + seen.refused, 0);
        seen.assert_equals(&engine.drain(Duration::MAX).await);
    });
}

#[test]
fn a_job_may_expire_at_any_moment() {
    explore(600, || async {
        let (engine, group) = world(0, |_| {}).await;
        let one = tokio::spawn(caller(group.clone(), 0));
        let mut seen = Seen::default();
        for id in 20..23 {
            let options = JobOptions::default().deadline(Duration::from_secs(3600));
            match group.try_submit(ask(id), options) {
                Ok(ticket) => seen.note(ticket.await, id),
                Err(_) => seen.refused += 1,
            }
        }
        let seen = seen.add(one.await.unwrap());
        seen.assert_equals(&engine.drain(Duration::MAX).await);
    });
}

#[test]
fn events_arrive_in_order_however_slowly_they_are_read() {
    explore(400, || async {
        let (engine, group) = world(0, |config| config.stall_limit = Duration::from_secs(400 * 86_400)).await;
        let speaks = Ask { events: true, steps: 4, ..ask(2) };
        let (ticket, mut events) =
            group.try_submit_streaming(speaks, JobOptions::default(), 1.try_into().unwrap()).unwrap();
        let reader = tokio::spawn(async move {
            let mut heard = Vec::new();
            while let Some(event) = events.recv().await {
                heard.push(event);
                tokio::task::yield_now().await;
            }
            heard
        });
        let one = tokio::spawn(caller(group, 0));
        assert_eq!(ticket.await.unwrap(), 2);
        assert_eq!(reader.await.unwrap(), [1, 2, 3, 4]);
        let mut seen = one.await.unwrap();
        seen.completed += 1;
        seen.assert_equals(&engine.drain(Duration::MAX).await);
    });
}

#[test]
fn a_paused_job_that_is_cancelled_at_any_moment_makes_room() {
    explore(400, || async {
        let (engine, group) = world(0, |config| config.stall_limit = Duration::from_secs(400 * 86_400)).await;
        let speaks = |id| {
            let speaks = Ask { events: true, steps: 4, ..ask(id) };
            group.try_submit_streaming(speaks, JobOptions::default(), 1.try_into().unwrap()).unwrap()
        };
        // Two that nobody reads take up all the room.
        let (one, other) = (speaks(2), speaks(4));
        let waits = group.try_submit(ask(6), JobOptions::default()).unwrap();
        tokio::task::yield_now().await;
        drop(one.0);
        let mut seen = Seen { dropped: 2, ..Seen::default() };
        seen.note(waits.await, 6);
        drop(other.0);
        seen.assert_equals(&engine.drain(Duration::MAX).await);
        drop((one.1, other.1));
    });
}

#[test]
fn waiting_for_room_never_misses_it() {
    explore(400, || async {
        let (engine, group) = world(0, |config| config.limits.jobs = 1).await;
        let mut tasks = Vec::new();
        for id in 0..3 {
            let group = group.clone();
            tasks.push(tokio::spawn(async move {
                let ticket = group.submit(ask(id), JobOptions::default()).await.unwrap();
                assert_eq!(ticket.await.unwrap(), id);
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(engine.drain(Duration::MAX).await.total.completed, 3);
    });
}

/// Submits a job that equals others', and awaits it.
async fn equal(group: Group<Scripted>, options: JobOptions) -> Seen {
    let mut seen = Seen::default();
    match group.try_submit(Ask { known: true, ..ask(7) }, options) {
        Ok(ticket) => seen.note(ticket.await, 7),
        Err(_) => seen.refused += 1,
    }
    seen
}

/// Submits a job that equals others', and loses interest at some moment.
async fn equal_and_dropped(group: Group<Scripted>) -> Seen {
    let ticket = group.try_submit(Ask { known: true, ..ask(7) }, JobOptions::default()).unwrap();
    tokio::task::yield_now().await;
    drop(ticket);
    Seen { dropped: 1, ..Seen::default() }
}

#[test]
fn of_equal_jobs_one_may_be_cancelled_and_the_others_are_answered() {
    explore(600, || async {
        let engine = engine(1 << 20);
        let (group, log) = add(&engine, "scripted", 0..0, |_| {}).await;
        let gone = tokio::spawn(equal_and_dropped(group.clone()));
        let stays = tokio::spawn(equal(group.clone(), JobOptions::default()));
        let other = equal(group, JobOptions::default()).await;
        let seen = gone.await.unwrap().add(stays.await.unwrap()).add(other);
        assert_eq!((seen.completed, seen.dropped), (2, 1));
        let finished = log.finished.load(Ordering::SeqCst);
        assert!((1..=3).contains(&finished), "{finished} computed for three callers");
        seen.assert_equals(&engine.drain(Duration::MAX).await);
    });
}

#[test]
fn equal_jobs_that_are_all_cancelled_leave_nothing_behind() {
    explore(400, || async {
        let (engine, group) = world(0, |config| config.limits.jobs = 2).await;
        let one = tokio::spawn(equal_and_dropped(group.clone()));
        let seen = equal_and_dropped(group.clone()).await.add(one.await.unwrap());
        // The room of both is free again.
        let seen = seen.add(caller_of_two(group).await);
        assert_eq!((seen.completed, seen.dropped), (2, 2));
        seen.assert_equals(&engine.drain(Duration::MAX).await);
    });
}

async fn caller_of_two(group: Group<Scripted>) -> Seen {
    let mut seen = Seen::default();
    let tickets = [20, 21].map(|id| (id, group.try_submit(ask(id), JobOptions::default()).unwrap()));
    for (id, ticket) in tickets {
        seen.note(ticket.await, id);
    }
    seen
}

#[test]
fn of_equal_jobs_one_may_expire_and_the_other_is_answered() {
    explore(600, || async {
        let (engine, group) = world(0, |_| {}).await;
        let hasty = JobOptions::default().deadline(Duration::from_secs(3600));
        let hasty = tokio::spawn(equal(group.clone(), hasty));
        let patient = equal(group, JobOptions::default()).await;
        assert_eq!(patient.completed, 1);
        let seen = patient.add(hasty.await.unwrap());
        seen.assert_equals(&engine.drain(Duration::MAX).await);
    });
}
