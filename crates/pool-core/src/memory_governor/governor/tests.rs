use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[derive(Clone, Debug)]
enum Op {
    Reserve(Account, u64),
    Grow(prop::sample::Index, u64),
    Shrink(prop::sample::Index, u64),
    Split(prop::sample::Index, u64),
    Merge(prop::sample::Index, prop::sample::Index),
    Reassign(prop::sample::Index, Account),
    Drop(prop::sample::Index),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let index = any::<prop::sample::Index>;
    let account = || prop::sample::select(&Account::ALL[..]);
    let bytes = || prop_oneof![8 => 0..400u64, 1 => Just(u64::MAX)];
    let op = prop_oneof![
        4 => (account(), bytes()).prop_map(|(account, bytes)| Op::Reserve(account, bytes)),
        2 => (index(), bytes()).prop_map(|(at, bytes)| Op::Grow(at, bytes)),
        2 => (index(), bytes()).prop_map(|(at, bytes)| Op::Shrink(at, bytes)),
        2 => (index(), bytes()).prop_map(|(at, bytes)| Op::Split(at, bytes)),
        1 => (index(), index()).prop_map(|(a, b)| Op::Merge(a, b)),
        1 => (index(), account()).prop_map(|(at, account)| Op::Reassign(at, account)),
        3 => index().prop_map(Op::Drop),
    ];
    prop::collection::vec(op, 0..120)
}

proptest! {
    #[test]
    fn accounts_are_exact(limit in 0..1_000u64, ops in ops()) {
        let governor = Governor::new(Bytes(limit));
        let mut held: Vec<Reservation> = Vec::new();
        let mut peak = 0;
        for op in ops {
            let used: u64 = held.iter().map(|r| r.bytes().get()).sum();
            let refusal = |needed| OutOfMemory { needed: Bytes(needed), available: Bytes(limit - used), limit: Bytes(limit) };
            match op {
                Op::Reserve(account, bytes) => match governor.try_reserve(account, Bytes(bytes)) {
                    Ok(reservation) => {
                        prop_assert!(bytes <= limit - used);
                        prop_assert_eq!((reservation.bytes(), reservation.account()), (Bytes(bytes), account));
                        held.push(reservation);
                    }
                    Err(refused) => {
                        prop_assert!(bytes > limit - used);
                        prop_assert_eq!(refused, refusal(bytes));
                    }
                },
                _ if held.is_empty() => {}
                Op::Grow(at, bytes) => {
                    let at = at.index(held.len());
                    let before = held[at].bytes();
                    match held[at].try_grow(Bytes(bytes)) {
                        Ok(()) => prop_assert_eq!(held[at].bytes(), before + Bytes(bytes)),
                        Err(refused) => {
                            prop_assert_eq!(refused, refusal(bytes));
                            prop_assert_eq!(held[at].bytes(), before);
                        }
                    }
                }
                Op::Shrink(at, bytes) => {
                    let at = at.index(held.len());
                    let before = held[at].bytes();
                    held[at].shrink_to(Bytes(bytes));
                    prop_assert_eq!(held[at].bytes(), before.min(Bytes(bytes)));
                }
                Op::Split(at, bytes) => {
                    let at = at.index(held.len());
                    let before = held[at].bytes();
                    let part = held[at].split(Bytes(bytes));
                    prop_assert_eq!(part.bytes(), before.min(Bytes(bytes)));
                    prop_assert_eq!(part.bytes() + held[at].bytes(), before);
                    held.push(part);
                }
                Op::Merge(into, from) => {
                    let from = held.swap_remove(from.index(held.len()));
                    if held.is_empty() {
                        held.push(from);
                    } else {
                        let into = into.index(held.len());
                        let sum = held[into].bytes() + from.bytes();
                        prop_assert!(held[into].merge(from).is_ok());
                        prop_assert_eq!(held[into].bytes(), sum);
                    }
                }
                Op::Reassign(at, account) => {
                    let reservation = held.swap_remove(at.index(held.len()));
                    held.push(reservation.reassign(account));
                }
                Op::Drop(at) => drop(held.swap_remove(at.index(held.len()))),
            }
            let mut accounts = BTreeMap::new();
            for reservation in &held {
                *accounts.entry(reservation.account()).or_insert(Bytes::ZERO) += reservation.bytes();
            }
            let used: Bytes = accounts.values().copied().sum();
            peak = peak.max(used.get());
            let stats = governor.stats();
            prop_assert!(used.get() <= limit);
            prop_assert_eq!((stats.used, stats.peak, stats.limit), (used, Bytes(peak), Bytes(limit)));
            prop_assert_eq!(stats.available(), Bytes(limit) - used);
            for account in Account::ALL {
                prop_assert_eq!(stats.account(account), accounts.get(&account).copied().unwrap_or_default());
            }
            // The level told is the level that holds.
            let settled = Thresholds::of(Bytes(limit)).next(stats.pressure, used.get());
            prop_assert_eq!(stats.pressure, settled);
            prop_assert_eq!(*governor.subscribe().borrow(), settled);
        }
        drop(held);
        prop_assert_eq!(governor.stats().used, Bytes::ZERO);
        prop_assert_eq!(governor.pressure(), Pressure::Low);
    }
}

proptest! {
    /// However models and inputs come and go: models leave inputs their share, inputs always have it, and at the critical
    /// level or under a squeeze they have no more.
    #[test]
    fn inputs_have_their_share(
        limit in 16..2_000u64,
        part in 1..8u64,
        ops in prop::collection::vec((any::<bool>(), 0..600u64, any::<bool>(), any::<prop::sample::Index>()), 0..80),
        squeezed in any::<bool>(),
    ) {
        let share = limit / (part + 1);
        let governor = Governor::reserving(Bytes(limit), Bytes(share));
        let _squeeze = squeezed.then(|| governor.squeeze());
        let mut held: Vec<Reservation> = Vec::new();
        for (inputs, bytes, frees, which) in ops {
            let before = governor.stats();
            let used = before.used.get();
            let in_share = before.account(Account::Inputs).get();
            let tight = squeezed || before.pressure == Pressure::Critical;
            let account = if inputs { Account::Inputs } else { Account::Cache };
            let granted = governor.try_reserve(account, Bytes(bytes));
            let expected = if inputs {
                used + bytes <= limit && (!tight || bytes == 0 || in_share + bytes <= share)
            } else {
                used + bytes <= limit && used - in_share + bytes <= limit - share
            };
            prop_assert_eq!(granted.is_ok(), expected);
            if inputs && in_share + bytes <= share {
                prop_assert!(granted.is_ok(), "their share is theirs");
            }
            if let Err(refused) = &granted {
                prop_assert!(bytes > refused.available.get(), "what it says is left would not have done");
            }
            held.extend(granted.ok());
            if frees && !held.is_empty() {
                drop(held.swap_remove(which.index(held.len())));
            }
            let stats = governor.stats();
            prop_assert!(stats.used.get() <= limit);
            prop_assert!(stats.account(Account::Cache).get() <= limit - share);
        }
    }
}

#[test]
fn a_squeeze_that_ends_is_heard_of_and_refused_inputs_say_what_they_lack() {
    let governor = Governor::reserving(Bytes(1_000), Bytes(100));
    let squeeze = governor.squeeze();
    assert!(governor.try_reserve(Account::Inputs, Bytes(101)).is_err());
    assert!(poll(pin!(governor.lacking())).is_pending(), "no model's memory would help");
    let mut freed = pin!(governor.freed());
    assert!(poll(freed.as_mut()).is_pending());
    drop(squeeze);
    assert!(poll(freed.as_mut()).is_ready());
    let models = governor.try_reserve(Account::Weights, Bytes(900)).unwrap();
    assert!(governor.try_reserve(Account::Inputs, Bytes(101)).is_err());
    assert!(governor.try_reserve(Account::Inputs, Bytes(600)).is_err());
    // To leave the critical level takes 51 bytes less; to make room for the larger, 500.
    assert_eq!(poll(pin!(governor.lacking())), Poll::Ready(Bytes(500)));
    assert!(poll(pin!(governor.lacking())).is_pending(), "told once");
    drop(models);
    assert!(governor.try_reserve(Account::Inputs, Bytes(600)).is_ok());
}

#[test]
fn reservations_of_two_governors_do_not_mix() {
    let (one, two) = (Governor::new(Bytes(10)), Governor::new(Bytes(10)));
    let mut mine = one.try_reserve(Account::Cache, Bytes(4)).unwrap();
    let theirs = two.try_reserve(Account::Cache, Bytes(5)).unwrap();
    let back = mine.merge(theirs).unwrap_err();
    assert_eq!((back.bytes(), mine.bytes()), (Bytes(5), Bytes(4)));
    drop(back);
    assert_eq!((one.stats().used, two.stats().used), (Bytes(4), Bytes::ZERO));
}

#[test]
fn a_refusal_is_one_line_with_the_numbers() {
    let governor = Governor::new(Bytes(10));
    let _held = governor.try_reserve(Account::Weights, Bytes(7)).unwrap();
    let refused = governor.try_reserve(Account::Weights, Bytes(4)).unwrap_err();
    assert_eq!(refused.to_string(), "out of memory: 4 bytes needed, 3 bytes of 10 bytes left");
}

#[test]
fn what_is_freed_after_the_call_and_before_the_first_poll_is_heard_of() {
    let governor = Governor::new(Bytes(10));
    let held = governor.try_reserve(Account::Cache, Bytes(10)).unwrap();
    let mut freed = pin!(governor.freed());
    let mut other = pin!(governor.freed());
    drop(held);
    assert!(poll(freed.as_mut()).is_ready());
    assert!(poll(other.as_mut()).is_ready(), "each hears of it");
    let mut late = pin!(governor.freed());
    assert!(poll(late.as_mut()).is_pending(), "that was before this call");
    drop(governor.try_reserve(Account::Cache, Bytes::ZERO).unwrap());
    assert!(poll(late.as_mut()).is_pending(), "nothing was freed");
    let mut held = governor.try_reserve(Account::Cache, Bytes(2)).unwrap();
    held.shrink_to(Bytes(1));
    assert!(poll(late.as_mut()).is_ready());
}

#[test]
fn whoever_keeps_count_hears_of_each_time_once() {
    let governor = Governor::new(Bytes(10));
    let mut frees = governor.frees();
    assert!(poll(pin!(frees.next())).is_pending());
    for _ in 0..2 {
        drop(governor.try_reserve(Account::Cache, Bytes(1)).unwrap());
    }
    assert!(poll(pin!(frees.next())).is_ready(), "though nobody polled meanwhile");
    assert!(poll(pin!(frees.next())).is_pending());
    drop(governor.try_reserve(Account::Cache, Bytes(1)).unwrap());
    drop(frees.next());
    assert!(poll(pin!(frees.next())).is_ready(), "a future that was dropped took nothing along");
}

#[test]
fn futures_that_are_dropped_are_no_longer_counted() {
    let governor = Governor::new(Bytes(10));
    let unpolled = governor.freed();
    {
        let mut polled = pin!(governor.freed());
        assert!(poll(polled.as_mut()).is_pending());
        assert_eq!(governor.shared.awaiting.load(Ordering::SeqCst), 1);
    }
    drop(unpolled);
    assert_eq!(governor.shared.awaiting.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn subscribers_hear_of_changes_only() {
    let governor = Governor::new(Bytes(100));
    let mut pressure = governor.subscribe();
    let half = governor.try_reserve(Account::Cache, Bytes(60)).unwrap();
    assert!(pressure.has_changed().unwrap());
    assert_eq!(*pressure.borrow_and_update(), Pressure::Normal);
    let little = governor.try_reserve(Account::Inputs, Bytes(10)).unwrap();
    drop(little);
    assert!(!pressure.has_changed().unwrap());
    let more = governor.try_reserve(Account::Cache, Bytes(35)).unwrap();
    assert_eq!(*pressure.borrow_and_update(), Pressure::Critical);
    drop((half, more));
    assert_eq!(*pressure.borrow_and_update(), Pressure::Low);
}

/// Many threads reserve, grow, shrink and free at random: never more than the limit, exact in the end, and whoever waits
/// for room gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn accounts_are_exact_under_concurrency() {
    const LIMIT: u64 = 1_000;
    let governor = Governor::new(Bytes(LIMIT));
    // Counted by the test itself, within what the governor has granted.
    let truth = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8_u64 {
        let (governor, truth) = (governor.clone(), Arc::clone(&truth));
        tasks.spawn(async move {
            let mut random = task.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            for _ in 0..5_000 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                let bytes = random % 400;
                let account = Account::ALL[(random >> 32) as usize % 4];
                let mut reservation = loop {
                    let freed = governor.freed();
                    match governor.try_reserve(account, Bytes(bytes)) {
                        Ok(reservation) => break reservation,
                        // Others only hold memory between two of these loops, so some will be freed.
                        Err(_) => tokio::time::timeout(Duration::from_secs(30), freed)
                            .await
                            .expect("a wake-up was lost"),
                    }
                };
                let held = truth.fetch_add(bytes, Ordering::SeqCst) + bytes;
                assert!(held <= LIMIT, "{held} bytes held");
                if random & 1 == 0 && reservation.try_grow(Bytes(50)).is_ok() {
                    assert!(truth.fetch_add(50, Ordering::SeqCst) + 50 <= LIMIT);
                }
                if random & 2 == 0 {
                    tokio::task::yield_now().await;
                }
                let half = reservation.bytes().get() / 2;
                truth.fetch_sub(reservation.bytes().get() - half, Ordering::SeqCst);
                reservation.shrink_to(Bytes(half));
                truth.fetch_sub(half, Ordering::SeqCst);
                drop(reservation);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let stats = governor.stats();
    assert_eq!(stats.used, Bytes::ZERO);
    assert!(Account::ALL.into_iter().all(|account| stats.account(account) == Bytes::ZERO));
    assert!(stats.peak <= stats.limit && stats.peak > Bytes(LIMIT / 2));
    assert_eq!((stats.pressure, *governor.subscribe().borrow()), (Pressure::Low, Pressure::Low));
}
