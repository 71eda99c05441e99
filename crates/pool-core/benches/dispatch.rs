//! What the scheduler itself costs: a model that does nothing, everything on.
//!
//! `callers/N`: N tasks, each submitting a job and awaiting its end, on and through the compute lanes of two runtime
//! threads. Coalescing, deadlines and admission are in place as they are in service, every metric goes to the recorder
//! that the server installs, and spans and events to a subscriber at the server's own level, which writes to nowhere;
//! every request is different. `dispatch`: queue, worker and reply without the hop to a compute thread.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use pool_core::compute::{Compute, Lane, Work};
use pool_core::{
    Cost, Engine, Fingerprint, Group, GroupConfig, JobOptions, LoadError, Loader, Model, ModelError,
    Prepared, Room, Step, StepError,
};
use tokio::time::Instant;

#[derive(Debug)]
struct Noop;

impl Model for Noop {
    type Request = u64;
    type Prepared = ();
    type Output = u64;
    type Event = ();

    fn estimate(_: &u64) -> Cost {
        Cost::new(1, 8)
    }

    fn fingerprint(request: &u64) -> Option<Fingerprint> {
        Some(Fingerprint::of(request))
    }

    fn room(&self) -> Room {
        Room::jobs(64)
    }

    fn step(&mut self, step: &mut Step<Self>) -> Result<(), StepError> {
        for job in step.take_joined() {
            step.finish(job.id(), Ok(*job.request()));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct NoopLoader;

impl Loader for NoopLoader {
    type Model = Noop;

    fn load(&self) -> Result<Noop, LoadError> {
        Ok(Noop)
    }

    fn prepare(&self, _: &u64) -> Result<Prepared<()>, ModelError> {
        Ok(Prepared { value: (), cost: Cost::new(1, 8) })
    }
}

/// Runs work where it is asked for: no thread, no hop.
#[derive(Debug)]
struct Here;

impl Compute for Here {
    fn execute(&self, _: Lane, work: Work) {
        work();
    }
}

/// What the server logs unless told otherwise.
const LEVELS: &str = "warn,candlepool=info,pool_core=info,text_embedding=info,model_source=info";
/// Histograms have buckets, as the server's: cheaper than the summaries they would be otherwise.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 25.0, 60.0,
];
const JOBS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// Samples are folded into their buckets this often, as in the server.
const UPKEEP: Duration = Duration::from_secs(5);

/// Gathers metrics and traces from now on, as the server does.
fn observe() -> PrometheusHandle {
    let filter = tracing_subscriber::EnvFilter::builder().parse(LEVELS).unwrap();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::sink).init();
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)
        .unwrap()
        .set_buckets_for_metric(Matcher::Full(pool_core::metrics::STEP_JOBS.to_owned()), JOBS)
        .unwrap();
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).unwrap();
    pool_core::metrics::describe();
    handle
}

async fn upkeep(metrics: PrometheusHandle) {
    let mut ticks = tokio::time::interval(UPKEEP);
    loop {
        ticks.tick().await;
        metrics.run_upkeep();
    }
}

static NEXT: AtomicU64 = AtomicU64::new(0);

async fn group(compute: Option<Arc<dyn Compute>>) -> Group<Noop> {
    let mut builder = Engine::builder();
    if let Some(compute) = compute {
        builder = builder.compute(compute);
    }
    let engine = builder.build().unwrap();
    let group = engine.add(GroupConfig::new("noop"), NoopLoader).await.unwrap();
    group.warm().await.unwrap();
    group
}

/// So many callers share so many jobs; the time it takes.
async fn run(group: &Group<Noop>, callers: u64, jobs: u64) -> Duration {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for caller in 0..callers {
        let group = group.clone();
        let share = jobs / callers + u64::from(caller < jobs % callers);
        tasks.spawn(async move {
            for _ in 0..share {
                let request = NEXT.fetch_add(1, Ordering::Relaxed);
                let options = JobOptions::default().deadline(Duration::from_secs(60));
                let answer = group.try_submit(request, options).unwrap().await.unwrap();
                assert_eq!(answer, request);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    start.elapsed()
}

/// One caller's latencies, to print their quantiles: criterion knows means only.
async fn quantiles(group: &Group<Noop>) -> [Duration; 3] {
    let mut times = Vec::with_capacity(50_000);
    for _ in 0..50_000 {
        let request = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        group.try_submit(request, JobOptions::default()).unwrap().await.unwrap();
        times.push(start.elapsed());
    }
    times.sort_unstable();
    [50, 90, 99].map(|percent| times[times.len() * percent / 100])
}

fn bench(criterion: &mut Criterion) {
    // Before the engine is built: it binds its handles then.
    let metrics = observe();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let upkeep = runtime.spawn(upkeep(metrics.clone()));
    let lanes = runtime.block_on(group(None));
    let mut callers = criterion.benchmark_group("callers");
    callers.throughput(Throughput::Elements(1));
    for count in [1, 8, 64] {
        callers.bench_with_input(BenchmarkId::from_parameter(count), &count, |bencher, &count| {
            bencher.iter_custom(|jobs| runtime.block_on(run(&lanes, count, jobs)));
        });
    }
    callers.finish();
    let [p50, p90, p99] =
        runtime.block_on(async { tokio::spawn(async move { quantiles(&lanes).await }).await.unwrap() });
    eprintln!("one caller through the lanes: p50 {p50:?}, p90 {p90:?}, p99 {p99:?}");

    let single = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let here = single.block_on(group(Some(Arc::new(Here))));
    let mut dispatch = criterion.benchmark_group("dispatch");
    dispatch.throughput(Throughput::Elements(1));
    dispatch.bench_function("without the hop", |bencher| {
        bencher.iter_custom(|jobs| single.block_on(run(&here, 1, jobs)));
    });
    dispatch.finish();
    upkeep.abort();
    let seen = metrics.render();
    let completed = format!("{}{{model=\"noop\",outcome=\"completed\"}}", pool_core::metrics::ENDED);
    assert!(seen.lines().any(|line| line.starts_with(&completed)), "the recorder has counted:\n{seen}");
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(8)).warm_up_time(Duration::from_secs(2));
    targets = bench
}
criterion_main!(benches);
