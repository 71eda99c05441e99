use std::num::NonZeroUsize;
use std::sync::atomic::AtomicUsize;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::compute::{BlockingCompute, Scripted, ScriptedCompute};

const SECOND: Duration = Duration::from_secs(1);

fn one_slot() -> LanesConfig {
    LanesConfig { ageing: Duration::MAX, ..LanesConfig::for_cores(NonZeroUsize::MIN) }
}

fn claim(model: &str) -> Claim {
    Claim::new(ModelId::new(model))
}

/// Polls once: enough for a claim to start or to get in line.
fn poll_once<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Waits for what must come within a (virtual) day, so that what never comes fails a test instead of hanging it.
async fn in_time<F: Future>(future: F) -> F::Output {
    let day = Duration::from_secs(86_400);
    tokio::time::timeout(day, future).await.expect("an answer was lost")
}

/// Sets its flag when it is dropped, for what closures own.
struct Owned(Arc<AtomicUsize>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn a_free_slot_is_taken_at_once_and_a_result_comes_back() {
    let compute = ScriptedCompute::taking(SECOND);
    let lanes = Lanes::new(one_slot(), compute.clone());
    let start = Instant::now();
    let text = String::from("moved in");
    assert_eq!(lanes.step(&claim("m"), move || text).await, Ok("moved in".to_owned()));
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(lanes.computed(&ModelId::new("m")), SECOND);
    assert_eq!(compute.executed(Lane::Step), 1);
    assert_eq!(lanes.stats().step, Occupancy { slots: 1, ..Occupancy::default() });
}

#[tokio::test(start_paused = true)]
async fn nothing_happens_before_the_first_poll() {
    let compute = ScriptedCompute::instant();
    let lanes = Lanes::new(one_slot(), compute.clone());
    drop(lanes.step(&claim("m"), || ()));
    assert_eq!(compute.executed(Lane::Step), 0);
}

#[tokio::test(start_paused = true)]
async fn steps_wait_for_each_other_and_preparation_does_not_wait_for_steps() {
    let lanes = Lanes::new(one_slot(), ScriptedCompute::taking(SECOND));
    let start = Instant::now();
    let ended = || start.elapsed();
    let step = |model: &'static str| {
        let lanes = lanes.clone();
        async move {
            lanes.step(&claim(model), || ()).await.unwrap();
            ended()
        }
    };
    let prepare = async {
        lanes.prepare(&claim("c"), || ()).await.unwrap();
        ended()
    };
    let io = async {
        tokio::join!(lanes.io(|| ()), lanes.io(|| ()), lanes.io(|| ())).2.unwrap();
        ended()
    };
    let (a, b, c, io) = tokio::join!(step("a"), step("b"), prepare, io);
    assert_eq!((a, b, c, io), (SECOND, 2 * SECOND, SECOND, 2 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_while_it_waits_takes_its_work_along() {
    let compute = ScriptedCompute::taking(SECOND);
    let lanes = Lanes::new(one_slot(), compute.clone());
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut first = Box::pin(lanes.step(&claim("a"), || 1));
    assert!(poll_once(&mut first).is_pending());
    let owned = Owned(Arc::clone(&dropped));
    let mut second = Box::pin(lanes.step(&claim("b"), move || drop(owned)));
    assert!(poll_once(&mut second).is_pending());
    assert_eq!(lanes.stats().step, Occupancy { slots: 1, busy: 1, waiting: 1, lost: 0 });
    drop(second);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    assert_eq!(lanes.stats().step.waiting, 0);
    assert_eq!(in_time(first).await, Ok(1));
    assert_eq!(compute.executed(Lane::Step), 1, "what was cancelled never ran");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_while_its_work_runs_leaves_the_slot_with_the_work() {
    let lanes = Lanes::new(one_slot(), ScriptedCompute::taking(SECOND));
    let dropped = Arc::new(AtomicUsize::new(0));
    let owned = Owned(Arc::clone(&dropped));
    let start = Instant::now();
    let mut first = Box::pin(lanes.step(&claim("a"), move || owned));
    assert!(poll_once(&mut first).is_pending());
    drop(first);
    assert_eq!(lanes.stats().step.busy, 1);
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
    in_time(lanes.step(&claim("b"), || ())).await.unwrap();
    assert_eq!(start.elapsed(), 2 * SECOND, "the next one starts when the first has really ended");
    assert_eq!(dropped.load(Ordering::SeqCst), 1, "a result that nobody wants is dropped");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_when_its_work_has_just_been_started_loses_no_slot() {
    let compute = ScriptedCompute::new(|_, _| Scripted::Hang);
    let lanes = Lanes::new(one_slot(), compute.clone());
    let mut first = Box::pin(lanes.step(&claim("a"), || ()));
    let mut second = Box::pin(lanes.step(&claim("b"), || ()));
    let mut third = Box::pin(lanes.step(&claim("c"), || 3));
    assert!(poll_once(&mut first).is_pending());
    assert!(poll_once(&mut second).is_pending());
    assert!(poll_once(&mut third).is_pending());
    assert!(compute.release());
    in_time(first).await.unwrap();
    assert_eq!(
        compute.held(),
        1,
        "the second has been started by the first's end, and has not been polled since"
    );
    drop(second);
    assert!(compute.release());
    tokio::task::yield_now().await;
    assert!(compute.release());
    assert_eq!(in_time(third).await, Ok(3));
    assert_eq!(lanes.stats().step.busy, 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_error_and_frees_the_slot() {
    let lanes = Lanes::new(one_slot(), ScriptedCompute::instant());
    let dropped = Arc::new(AtomicUsize::new(0));
    let owned = Owned(Arc::clone(&dropped));
    let panics = lanes.step(&claim("m"), move || -> u8 {
        let _owned = owned;
        panic!("no such\n  layer: {}", 7)
    });
    assert_eq!(panics.await, Err(ComputeError::Panicked { message: "no such layer: 7".to_owned() }));
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
    let literal = lanes.step(&claim("m"), || -> u8 { panic!("static") });
    assert_eq!(literal.await, Err(ComputeError::Panicked { message: "static".to_owned() }));
    let odd = lanes.step(&claim("m"), || -> u8 { std::panic::panic_any(7_u8) });
    assert_eq!(odd.await, Err(ComputeError::Panicked { message: "a value that is no text".to_owned() }));
    assert_eq!(lanes.stats().step.busy, 0);
    assert_eq!(lanes.step(&claim("m"), || 1).await, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn work_that_hangs_is_given_up_and_replaced_once() {
    let compute = ScriptedCompute::new(|_, ordinal| if ordinal < 2 { Scripted::Hang } else { Scripted::NOW });
    let lanes = Lanes::new(one_slot(), compute.clone());
    let start = Instant::now();
    let hung = ModelId::new("hung");
    let (first, second, queued, other) = tokio::join!(
        lanes.step(&claim("hung"), || ()),
        lanes.step(&claim("hung"), || ()),
        lanes.step(&claim("hung"), || ()),
        async {
            // It comes when the replacement hangs as well, and before that is known.
            tokio::time::sleep(Duration::from_secs(45)).await;
            lanes.step(&claim("other"), move || start.elapsed()).await
        },
    );
    let limit = Duration::from_secs(30);
    assert_eq!(first, Err(ComputeError::Unresponsive { after: limit }));
    assert_eq!(second, Err(ComputeError::Unresponsive { after: limit }));
    assert_eq!(queued, Err(ComputeError::Refused { model: hung.clone() }));
    assert_eq!(other, Ok(2 * limit));
    assert_eq!((lanes.stats().lost_threads(), lanes.lost(&hung)), (2, 2));
    let refused = lanes.step(&claim("hung"), || ()).await;
    assert_eq!(refused, Err(ComputeError::Refused { model: hung.clone() }));

    // The first returns after all: its result goes nowhere, its slot is gone, and the model may compute again.
    assert!(compute.release());
    tokio::task::yield_now().await;
    assert_eq!((lanes.stats().lost_threads(), lanes.lost(&hung)), (1, 1));
    lanes.step(&claim("hung"), || ()).await.unwrap();
    assert!(compute.release());
    tokio::task::yield_now().await;
    assert_eq!(lanes.stats().step, Occupancy { slots: 1, ..Occupancy::default() });
}

#[tokio::test(start_paused = true)]
async fn an_estimate_lengthens_patience_and_waiting_does_not_count() {
    let compute = ScriptedCompute::taking(Duration::from_secs(70));
    let lanes = Lanes::new(one_slot(), compute);
    let patient = claim("m").estimate(Duration::from_secs(8));
    let (first, second, third) =
        tokio::join!(lanes.step(&patient, || 1), lanes.step(&patient, || 2), lanes.step(&claim("m"), || 3));
    assert_eq!((first, second), (Ok(1), Ok(2)), "80 s are allowed, and 70 s were spent in the queue");
    assert_eq!(third, Err(ComputeError::Unresponsive { after: Duration::from_secs(30) }));
}

#[tokio::test(start_paused = true)]
async fn hanging_work_whose_caller_has_gone_is_found_by_those_who_wait() {
    let compute =
        ScriptedCompute::new(|_, ordinal| if ordinal == 0 { Scripted::Hang } else { Scripted::NOW });
    let lanes = Lanes::new(one_slot(), compute);
    let start = Instant::now();
    let mut gone = Box::pin(lanes.prepare(&claim("a"), || ()));
    assert!(poll_once(&mut gone).is_pending());
    drop(gone);
    tokio::time::sleep(SECOND).await;
    lanes.prepare(&claim("b"), || ()).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    assert_eq!(lanes.lost(&ModelId::new("a")), 1);
}

#[tokio::test(start_paused = true)]
async fn reading_may_take_for_ever() {
    let lanes = Lanes::new(one_slot(), ScriptedCompute::taking(Duration::from_secs(86_400)));
    assert_eq!(lanes.io(|| 1).await, Ok(1));
    assert_eq!(lanes.stats().lost_threads(), 0);
}

#[tokio::test(start_paused = true)]
async fn work_dropped_unrun_tells_its_caller_and_starts_the_next() {
    let compute =
        ScriptedCompute::new(|_, ordinal| if ordinal == 0 { Scripted::Hang } else { Scripted::NOW });
    let lanes = Lanes::new(one_slot(), compute.clone());
    let mut first = Box::pin(lanes.step(&claim("m"), || 1));
    let mut second = Box::pin(lanes.step(&claim("m"), || 2));
    assert!(poll_once(&mut first).is_pending());
    assert!(poll_once(&mut second).is_pending());
    assert_eq!(compute.abandon(), 1);
    assert_eq!(in_time(first).await, Err(ComputeError::Gone));
    assert_eq!(in_time(second).await, Ok(2));
    assert_eq!(lanes.stats().step.busy, 0);
}

/// Drops all work, as a runtime does once it is shut down.
#[derive(Debug)]
struct DropsAll;

impl Compute for DropsAll {
    fn execute(&self, _: Lane, work: Work) {
        drop(work);
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_in_front_of_a_dead_runtime_ends_without_deep_recursion() {
    let compute = Arc::new(KeepsFirst::default());
    let lanes = Lanes::new(one_slot(), compute.clone());
    let mut waiting: Vec<_> = (0..100_000).map(|_| Box::pin(lanes.step(&claim("m"), || ()))).collect();
    for future in &mut waiting {
        assert!(poll_once(future).is_pending());
    }
    let first = lock(&compute.held).take();
    drop(first);
    for future in waiting {
        assert_eq!(in_time(future).await, Err(ComputeError::Gone));
    }
    assert_eq!(lanes.stats().step, Occupancy { slots: 1, ..Occupancy::default() });
    let dead = Lanes::new(one_slot(), Arc::new(DropsAll));
    assert_eq!(dead.step(&claim("m"), || ()).await, Err(ComputeError::Gone));
}

/// Keeps the first work and drops all that follow.
#[derive(Default)]
struct KeepsFirst {
    executed: AtomicUsize,
    held: Mutex<Option<Work>>,
}

impl fmt::Debug for KeepsFirst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeepsFirst")
    }
}

impl Compute for KeepsFirst {
    fn execute(&self, _: Lane, work: Work) {
        if self.executed.fetch_add(1, Ordering::SeqCst) == 0 {
            *lock(&self.held) = Some(work);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_real_threads_never_more_than_the_slots_run_and_every_claim_ends_once() {
    let slots = 3;
    let config = LanesConfig {
        cores: NonZeroUsize::new(slots).unwrap(),
        threads_per_step: NonZeroUsize::MIN,
        ..LanesConfig::default()
    };
    let lanes = Lanes::new(config, Arc::new(BlockingCompute::try_current().unwrap()));
    let (running, most, ran) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let counts = Arc::new((running, most, ran));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..32_u64 {
        let (lanes, counts) = (lanes.clone(), Arc::clone(&counts));
        callers.spawn(async move {
            let mut answered = 0_u64;
            for round in 0..200_u64 {
                let priority = Priority::ALL[(caller + round) as usize % 4];
                let claim = claim(if caller % 3 == 0 { "a" } else { "b" }).priority(priority);
                let counts = Arc::clone(&counts);
                let work = move || {
                    let (running, most, ran) = &*counts;
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    ran.fetch_add(1, Ordering::SeqCst);
                    for _ in 0..(caller + round) % 7 * 50 {
                        std::hint::spin_loop();
                    }
                    running.fetch_sub(1, Ordering::SeqCst);
                    if round % 17 == 0 {
                        panic!("on purpose");
                    }
                    round
                };
                let mut step = Box::pin(lanes.step(&claim, work));
                // A fifth of the callers go: before, while or after their work runs.
                if (caller + round) % 5 == 0 {
                    if poll_once(&mut step).is_pending() {
                        for _ in 0..round % 4 {
                            tokio::task::yield_now().await;
                        }
                    }
                    continue;
                }
                match step.await {
                    Ok(value) => assert_eq!(value, round),
                    Err(error) => {
                        assert_eq!(error, ComputeError::Panicked { message: "on purpose".to_owned() })
                    }
                }
                answered += 1;
            }
            answered
        });
    }
    let mut answered = 0;
    while let Some(count) = callers.join_next().await {
        answered += count.unwrap();
    }
    // What was started for callers that have gone still ends.
    while lanes.stats().step.busy > 0 {
        tokio::task::yield_now().await;
    }
    let (running, most, ran) = &*counts;
    assert_eq!(running.load(Ordering::SeqCst), 0);
    assert!((1..=slots).contains(&most.load(Ordering::SeqCst)));
    let ran = ran.load(Ordering::SeqCst) as u64;
    assert!((answered..=32 * 200).contains(&ran), "{answered} answered, {ran} ran");
    assert_eq!(lanes.stats().step, Occupancy { slots, ..Occupancy::default() });
    let both = [ModelId::new("a"), ModelId::new("b")];
    assert!(both.iter().all(|model| lanes.computed(model) > Duration::ZERO && lanes.forget(model)));
}

#[test]
fn work_left_by_a_runtime_that_is_shut_down_is_gone() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let compute = BlockingCompute::on(runtime.handle().clone());
    drop(runtime);
    let lanes =
        Lanes::new(LanesConfig { unresponsive_after: Duration::MAX, ..one_slot() }, Arc::new(compute));
    let mut step = Box::pin(lanes.step(&claim("m"), || ()));
    assert_eq!(poll_once(&mut step), Poll::Ready(Err(ComputeError::Gone)));
    assert_eq!(lanes.stats().step.busy, 0);
    assert!(BlockingCompute::try_current().is_err());
}

#[test]
fn slots_follow_from_cores() {
    let config = |cores: usize, threads: usize| LanesConfig {
        threads_per_step: NonZeroUsize::new(threads).unwrap(),
        ..LanesConfig::for_cores(NonZeroUsize::new(cores).unwrap())
    };
    assert_eq!(config(8, 2).step_slots().get(), 4);
    assert_eq!(config(2, 4).step_slots().get(), 1);
    for cores in 1..64 {
        let slots = LanesConfig::for_cores(NonZeroUsize::new(cores).unwrap()).step_slots().get();
        assert!((1..=3).contains(&slots), "{slots} slots on {cores} cores");
    }
}
