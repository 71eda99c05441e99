//! The governor under a schedule explorer.

use shuttle::{check_pct, check_random};

use super::*;

const ITERATIONS: usize = 2_000;

fn explore(test: fn()) {
    check_random(test, ITERATIONS);
    check_pct(test, ITERATIONS, 3);
}

/// Whoever waits for memory is woken by whoever frees it: a lost wake-up would be a deadlock, which the explorer reports.
#[test]
fn nobody_waits_for_memory_that_is_free() {
    explore(|| {
        shuttle::future::block_on(async {
            let governor = Governor::new(Bytes(10));
            let tasks: Vec<_> = [6, 5, 7]
                .map(|bytes| {
                    let governor = governor.clone();
                    tokio::spawn(async move {
                        let reservation = loop {
                            let freed = governor.freed();
                            match governor.try_reserve(Account::Weights, Bytes(bytes)) {
                                Ok(reservation) => break reservation,
                                Err(_) => freed.await,
                            }
                        };
                        assert!(governor.stats().used <= Bytes(10));
                        tokio::task::yield_now().await;
                        drop(reservation);
                    })
                })
                .into();
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(governor.stats().used, Bytes::ZERO);
            assert_eq!(governor.pressure(), Pressure::Low);
        });
    });
}

/// However reservations cross, the level that was told last is the one that holds.
#[test]
fn the_level_told_last_is_the_level_that_holds() {
    explore(|| {
        shuttle::future::block_on(async {
            let governor = Governor::new(Bytes(100));
            let mut told = governor.subscribe();
            let tasks: Vec<_> = [30, 25, 40]
                .map(|bytes| {
                    let governor = governor.clone();
                    tokio::spawn(async move {
                        let kept = governor.try_reserve(Account::Cache, Bytes(bytes)).unwrap();
                        let mut passing = governor.try_reserve(Account::Inputs, Bytes(1)).unwrap();
                        passing.shrink_to(Bytes::ZERO);
                        (bytes != 40).then_some(kept)
                    })
                })
                .into();
            let mut kept = Vec::new();
            for task in tasks {
                kept.push(task.await.unwrap());
            }
            let used = governor.stats().used;
            assert_eq!(used, Bytes(55));
            let level = governor.pressure();
            assert_eq!(governor.shared.thresholds.next(level, used.get()), level);
            assert_eq!(*told.borrow_and_update(), level);
            drop(kept);
            assert_eq!((governor.pressure(), *told.borrow_and_update()), (Pressure::Low, Pressure::Low));
        });
    });
}
