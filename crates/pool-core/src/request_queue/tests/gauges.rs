//! What the queue's gauges and histograms show, through a recorder of the plainest kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};

use super::lease::{queue, requests, submit};
use crate::metrics::{QUEUE_LEASED_JOBS, QUEUE_SECONDS, QUEUE_WAITING_JOBS, QUEUE_WAITING_TOKENS};
use crate::request_queue::Lease;

/// Gauges by their values, histograms by how often they were told something.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<BTreeMap<String, f64>>>);

struct One {
    name: String,
    shown: Shown,
}

impl Shown {
    fn one(&self, key: &Key) -> Arc<One> {
        let name = key.name().to_owned();
        self.0.lock().unwrap().insert(name.clone(), 0.0);
        Arc::new(One { name, shown: self.clone() })
    }

    fn get(&self, name: &str) -> f64 {
        self.0.lock().unwrap()[name]
    }

    fn queue(&self) -> [f64; 3] {
        [QUEUE_WAITING_JOBS, QUEUE_WAITING_TOKENS, QUEUE_LEASED_JOBS].map(|name| self.get(name))
    }
}

impl One {
    fn add(&self, value: f64) {
        *self.shown.0.lock().unwrap().get_mut(&self.name).unwrap() += value;
    }
}

impl GaugeFn for One {
    fn increment(&self, value: f64) {
        self.add(value);
    }

    fn decrement(&self, value: f64) {
        self.add(-value);
    }

    fn set(&self, _: f64) {
        panic!("two threads that set a gauge leave either's value");
    }
}

impl HistogramFn for One {
    fn record(&self, _: f64) {
        self.add(1.0);
    }
}

impl Recorder for Shown {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.one(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key))
    }
}

#[tokio::test(start_paused = true)]
async fn the_gauges_show_what_the_queue_holds() {
    let shown = Shown::default();
    let queue = metrics::with_local_recorder(&shown, queue);
    let tickets = [submit(&queue, 1), submit(&queue, 2), submit(&queue, 1)];
    assert_eq!(shown.queue(), [2.0, 2.0, 0.0], "one of them joined another");
    let mut lease = Lease::new(Arc::clone(&queue));
    assert_eq!(requests(&mut lease), [1, 2]);
    assert_eq!(shown.queue(), [0.0, 0.0, 2.0]);
    drop(lease);
    assert_eq!(shown.queue(), [2.0, 2.0, 0.0]);
    let mut lease = Lease::new(Arc::clone(&queue));
    assert_eq!(requests(&mut lease), [1, 2]);
    lease.settle(vec![(tickets[1].0.job(), Ok(2))]);
    assert_eq!(shown.queue(), [0.0, 0.0, 1.0]);
    drop(tickets);
    assert_eq!(shown.queue(), [0.0; 3]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_run_again_has_waited_once() {
    let shown = Shown::default();
    let queue = metrics::with_local_recorder(&shown, queue);
    let ticket = submit(&queue, 1);
    for _ in 0..3 {
        let mut lease = Lease::new(Arc::clone(&queue));
        assert_eq!(requests(&mut lease), [1]);
        lease.give_back_alone(&[ticket.0.job()]);
    }
    assert_eq!(shown.get(QUEUE_SECONDS), 1.0);
}
