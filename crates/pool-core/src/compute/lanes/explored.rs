//! Lanes under a schedule explorer: callers that wait, go and are given up, in every order it can think of.

use std::num::NonZeroUsize;
use std::sync::atomic::AtomicUsize;

use shuttle::rand::Rng;
use shuttle::{check_pct, check_random};

use super::*;
use crate::compute::{Scripted, ScriptedCompute};

const ITERATIONS: usize = 2_000;

fn explore(test: fn()) {
    check_random(test, ITERATIONS);
    check_pct(test, ITERATIONS, 3);
}

fn config(slots: usize, unresponsive_after: Duration) -> LanesConfig {
    LanesConfig {
        threads_per_step: NonZeroUsize::MIN,
        unresponsive_after,
        ..LanesConfig::for_cores(NonZeroUsize::new(slots).unwrap())
    }
}

/// Counts what is at work at the same time.
#[derive(Default)]
struct Gauge {
    running: AtomicUsize,
    most: AtomicUsize,
    ran: AtomicUsize,
}

impl Gauge {
    fn work(self: &Arc<Self>) -> impl FnOnce() -> usize + Send + use<> {
        let gauge = Arc::clone(self);
        move || {
            let running = gauge.running.fetch_add(1, Ordering::SeqCst) + 1;
            gauge.most.fetch_max(running, Ordering::SeqCst);
            // Anything may happen elsewhere while this runs.
            shuttle::thread::yield_now();
            gauge.running.fetch_sub(1, Ordering::SeqCst);
            gauge.ran.fetch_add(1, Ordering::SeqCst)
        }
    }
}

/// Waits until nothing runs any more; a slot that never came back would be reported as a deadlock or a livelock.
async fn at_rest(lanes: &Lanes) {
    let stats = || lanes.stats().step;
    while stats().busy + stats().lost > 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn every_claim_ends_and_every_slot_comes_back() {
    explore(|| {
        shuttle::future::block_on(async {
            let slots = 1 + shuttle::rand::thread_rng().gen_range(0..2);
            let lanes = Lanes::new(config(slots, Duration::MAX), ScriptedCompute::instant());
            let gauge = Arc::new(Gauge::default());
            let callers: Vec<_> = (0..4)
                .map(|caller| {
                    let (lanes, gauge) = (lanes.clone(), Arc::clone(&gauge));
                    tokio::spawn(async move {
                        let claim = Claim::new(ModelId::new(if caller % 2 == 0 { "a" } else { "b" }));
                        let goes = shuttle::rand::thread_rng().gen_range(0..3) == 0;
                        let step = lanes.step(&claim, gauge.work());
                        if goes {
                            tokio::select! {
                                result = step => usize::from(result.is_ok()),
                                () = tokio::task::yield_now() => 0,
                            }
                        } else {
                            step.await.unwrap();
                            1
                        }
                    })
                })
                .collect();
            let mut answered = 0;
            for caller in callers {
                answered += caller.await.unwrap();
            }
            at_rest(&lanes).await;
            assert_eq!(lanes.stats().step, Occupancy { slots, ..Occupancy::default() });
            assert!(gauge.most.load(Ordering::SeqCst) <= slots);
            assert!((answered..=4).contains(&gauge.ran.load(Ordering::SeqCst)));
        });
    });
}

#[test]
fn whoever_has_an_answer_finds_the_slot_free() {
    explore(|| {
        shuttle::future::block_on(async {
            let lanes = Lanes::new(config(1, Duration::MAX), ScriptedCompute::instant());
            for _ in 0..2 {
                lanes.step(&Claim::new(ModelId::new("m")), || ()).await.unwrap();
                assert_eq!(lanes.stats().step.busy, 0);
            }
        });
    });
}

/// Patience is nothing here, so that every timer may fire at any moment: before, while and after the work returns.
#[test]
fn giving_up_races_with_returning() {
    explore(|| {
        shuttle::future::block_on(async {
            let lanes = Lanes::new(config(1, Duration::ZERO), ScriptedCompute::instant());
            let gauge = Arc::new(Gauge::default());
            let callers: Vec<_> = (0..4)
                .map(|caller| {
                    let (lanes, gauge) = (lanes.clone(), Arc::clone(&gauge));
                    tokio::spawn(async move {
                        let claim = Claim::new(ModelId::new(if caller < 3 { "a" } else { "b" }));
                        match lanes.step(&claim, gauge.work()).await {
                            Ok(_) | Err(ComputeError::Unresponsive { .. }) => 1,
                            Err(ComputeError::Refused { .. }) if caller < 3 => 0,
                            Err(error) => panic!("{error}"),
                        }
                    })
                })
                .collect();
            let mut started = 0;
            for caller in callers {
                started += caller.await.unwrap();
            }
            at_rest(&lanes).await;
            assert_eq!(
                gauge.ran.load(Ordering::SeqCst),
                started,
                "what was refused never ran, all else ran once"
            );
            assert_eq!(lanes.stats().step, Occupancy { slots: 1, ..Occupancy::default() });
            assert_eq!(lanes.lost(&ModelId::new("a")), 0);
            assert!(lanes.forget(&ModelId::new("a")) && lanes.forget(&ModelId::new("b")));
        });
    });
}

#[test]
fn work_that_is_dropped_unrun_gives_its_slot_to_the_next() {
    explore(|| {
        shuttle::future::block_on(async {
            let compute =
                ScriptedCompute::new(|_, ordinal| if ordinal == 0 { Scripted::Hang } else { Scripted::NOW });
            let lanes = Lanes::new(config(1, Duration::MAX), compute.clone());
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    let lanes = lanes.clone();
                    tokio::spawn(async move { lanes.step(&Claim::new(ModelId::new("m")), || ()).await })
                })
                .collect();
            while compute.abandon() == 0 {
                tokio::task::yield_now().await;
            }
            let mut gone = 0;
            for caller in callers {
                match caller.await.unwrap() {
                    Ok(()) => {}
                    Err(error) => {
                        assert_eq!(error, ComputeError::Gone);
                        gone += 1;
                    }
                }
            }
            assert_eq!(gone, 1);
            at_rest(&lanes).await;
        });
    });
}
