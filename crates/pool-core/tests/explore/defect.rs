//! A defect of the orchestrator's own: a group's task that panics as it counts its loads.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;

use metrics::{Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use pool_core::metrics::LOADS;

#[derive(Debug)]
struct Defect;

impl CounterFn for Defect {
    fn increment(&self, _: u64) {
        panic!("a defect, told to be there");
    }
    fn absolute(&self, _: u64) {}
}

impl Recorder for Defect {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() == LOADS { Counter::from_arc(Arc::new(Self)) } else { Counter::noop() }
    }
    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }
    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Runs a future; a group that it adds ends by a panic as soon as its model is loaded.
pub(crate) async fn with_defect<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| metrics::with_local_recorder(&Defect, || future.as_mut().poll(context))).await
}
