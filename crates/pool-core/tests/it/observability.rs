//! What can be seen from outside: metrics through the facade, spans through tracing.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use pool_core::compute::ScriptedCompute;
use pool_core::{Bytes, GroupConfig, JobOptions};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::scripted::{Ask, Log, ScriptedLoader, World, ask, engine};

/// Remembers the last value of every counter and gauge by `name{label=value,..}`, and how often a handle was asked for.
#[derive(Clone, Default, Debug)]
struct Ledger {
    values: Arc<Mutex<BTreeMap<String, f64>>>,
    asked: Arc<Mutex<usize>>,
}

#[derive(Debug)]
struct Entry(Ledger, String);

impl Ledger {
    fn entry(&self, key: &Key) -> Arc<Entry> {
        *self.asked.lock().unwrap() += 1;
        let labels: Vec<String> =
            key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        Arc::new(Entry(self.clone(), format!("{}{{{}}}", key.name(), labels.join(","))))
    }

    fn value(&self, key: &str) -> Option<f64> {
        self.values.lock().unwrap().get(key).copied()
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

impl Entry {
    fn update(&self, change: impl FnOnce(f64) -> f64) {
        let mut values = self.0.values.lock().unwrap();
        let value = values.entry(self.1.clone()).or_default();
        *value = change(*value);
    }
}

impl CounterFn for Entry {
    fn increment(&self, by: u64) {
        self.update(|value| value + by as f64);
    }
    fn absolute(&self, to: u64) {
        self.update(|_| to as f64);
    }
}

impl GaugeFn for Entry {
    fn increment(&self, by: f64) {
        self.update(|value| value + by);
    }
    fn decrement(&self, by: f64) {
        self.update(|value| value - by);
    }
    fn set(&self, to: f64) {
        self.update(|_| to);
    }
}

impl Recorder for Ledger {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.entry(key))
    }
    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.entry(key))
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        *self.asked.lock().unwrap() += 1;
        Histogram::noop()
    }
}

#[tokio::test(start_paused = true)]
async fn gauges_and_counters_tell_how_everything_stands() {
    let ledger = Ledger::default();
    let _recorder = metrics::set_default_local_recorder(&ledger);
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(16_000));
    let log = Arc::new(Log::default());
    let group = engine.add(GroupConfig::new("m"), ScriptedLoader::new(&log)).await.unwrap();
    let failing = ScriptedLoader::new(&log);
    failing.failures.lock().unwrap().push("no such file");
    let broken = engine.add(GroupConfig::new("b"), failing).await.unwrap();
    broken.warm().await.unwrap_err();
    group.warm().await.unwrap();
    let asked = ledger.asked();
    let running = group.try_submit(Ask { steps: 20, ..ask(1) }, JobOptions::default()).unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    engine.publish_metrics().await.unwrap();
    for (key, wanted) in [
        ("candlepool_memory_limit_bytes{}", 16_000.0),
        ("candlepool_memory_reserved_bytes{account=weights}", 1_000.0),
        ("candlepool_memory_reserved_bytes{account=activations}", 100.0),
        ("candlepool_memory_reserved_bytes{account=inputs}", 10.0),
        ("candlepool_memory_pressure{level=low}", 1.0),
        ("candlepool_memory_pressure{level=critical}", 0.0),
        ("candlepool_resident_models{}", 1.0),
        ("candlepool_model_state{model=m,state=resident}", 1.0),
        ("candlepool_model_state{model=m,state=absent}", 0.0),
        ("candlepool_model_state{model=b,state=broken}", 1.0),
        ("candlepool_breaker_state{model=m,state=closed}", 1.0),
        ("candlepool_breaker_state{model=b,state=open}", 1.0),
        ("candlepool_workers{model=m,state=busy}", 1.0),
        ("candlepool_workers{model=m,state=ready}", 0.0),
        ("candlepool_model_resident_bytes{model=m}", 1_100.0),
        ("candlepool_queue_leased_jobs{model=m}", 1.0),
        ("candlepool_queue_waiting_jobs{model=m}", 0.0),
        ("candlepool_queue_waiting_tokens{model=m}", 0.0),
        ("candlepool_lane_busy_slots{lane=step}", 1.0),
        ("candlepool_lane_waiting{lane=step}", 0.0),
        ("candlepool_lane_slots{lane=io}", 2.0),
        ("candlepool_lost_threads{}", 0.0),
        ("candlepool_loads_total{model=m}", 1.0),
        ("candlepool_load_failures_total{model=b}", 1.0),
    ] {
        assert_eq!(ledger.value(key), Some(wanted), "{key}");
    }
    running.await.unwrap();
    group.evict();
    tokio::time::sleep(Duration::from_secs(1)).await;
    engine.publish_metrics().await.unwrap();
    assert_eq!(ledger.value("candlepool_evictions_total{model=m}"), Some(1.0));
    assert_eq!(ledger.value("candlepool_model_state{model=m,state=absent}"), Some(1.0));
    assert_eq!(ledger.value("candlepool_resident_models{}"), Some(0.0));
    assert_eq!(ledger.value("candlepool_workers{model=m,state=busy}"), Some(0.0));
    assert_eq!(ledger.asked(), asked, "handles are kept");
    engine.remove(group.model(), Duration::from_secs(1)).await.unwrap();
    assert_eq!(ledger.value("candlepool_model_state{model=m,state=closed}"), Some(1.0));
}

#[derive(Clone, Default, Debug)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn spans_follow_a_job_from_the_door_to_its_end() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::NEW | FmtSpan::CLOSE)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // While there is one dispatcher only, a callsite that another test's thread reaches first asks that thread's own,
    // which is none, and stays off; with two, all are asked.
    let _another = tracing::Dispatch::new(tracing_subscriber::registry());
    let world = World::new().await;
    // An odd cost is prepared in the lane.
    let one = world.submit(Ask { tokens: 11, ..ask(1) });
    let two = world.submit(ask(2));
    let (first, second) = (one.job(), two.job());
    one.await.unwrap();
    two.await.unwrap();
    drop(world.submit(ask(3)));
    world.engine.drain(Duration::from_secs(5)).await;
    let text = lines.text();
    let has = |parts: &[&str]| text.lines().any(|line| parts.iter().all(|part| line.contains(part)));
    let job = format!("job={first}");
    assert!(has(&[&job, "prepared", "tokens=11"]), "{text}");
    assert!(has(&[&job, "leased", "worker="]), "{text}");
    assert!(has(&[&job, "ended", "completed"]), "{text}");
    assert!(has(&["ended", "cancelled"]), "{text}");
    let ids = format!("ids=[{first:?}, {second:?}]");
    assert!(has(&["step{", "jobs=2", &ids]), "{ids} in {text}");
}
