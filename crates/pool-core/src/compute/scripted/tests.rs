use super::*;
use tokio::time::Instant;

fn counting() -> (Arc<AtomicU64>, impl Fn() -> Work) {
    let ran = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&ran);
    let work = move || -> Work {
        let counter = Arc::clone(&counter);
        Box::new(move || {
            counter.fetch_add(1, Ordering::SeqCst);
        })
    };
    (ran, work)
}

#[tokio::test(start_paused = true)]
async fn the_script_decides_by_lane_and_ordinal() {
    let (ran, work) = counting();
    let compute = ScriptedCompute::new(|lane, ordinal| match (lane, ordinal) {
        (Lane::Io, _) => Scripted::NOW,
        (_, 0) => Scripted::Hang,
        _ => Scripted::Run { after: Duration::from_secs(5) },
    });
    compute.execute(Lane::Step, work());
    compute.execute(Lane::Step, work());
    compute.execute(Lane::Io, work());
    let start = Instant::now();
    tokio::task::yield_now().await;
    assert_eq!(ran.load(Ordering::SeqCst), 1, "the one that reads");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((ran.load(Ordering::SeqCst), compute.held()), (2, 1));
    assert!(compute.release());
    assert!(!compute.release());
    tokio::task::yield_now().await;
    assert_eq!(ran.load(Ordering::SeqCst), 3);
    assert_eq!(start.elapsed(), Duration::from_secs(6));
    assert_eq!((compute.executed(Lane::Step), compute.executed(Lane::Io)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn ended_tasks_are_forgotten() {
    let (ran, work) = counting();
    let compute = ScriptedCompute::instant();
    for _ in 0..100 {
        compute.execute(Lane::Step, work());
        tokio::task::yield_now().await;
    }
    assert_eq!(ran.load(Ordering::SeqCst), 100);
    assert!(lock(&compute.tasks).len() < 10);
}

#[test]
fn without_a_runtime_work_is_dropped_unrun() {
    let (ran, work) = counting();
    let compute = ScriptedCompute::instant();
    compute.execute(Lane::Step, work());
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}
