//! What the queue says it holds, and what its histograms are told, through a recorder of the plainest kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

use super::lease::{queue, requests, submit};
use crate::metrics::QUEUE_SECONDS;
use crate::request_queue::Lease;

/// Histograms by how often they were told something.
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
}

impl HistogramFn for One {
    fn record(&self, _: f64) {
        *self.shown.0.lock().unwrap().get_mut(&self.name).unwrap() += 1.0;
    }
}

impl Recorder for Shown {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        Counter::noop()
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.one(key))
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_says_what_it_holds() {
    let queue = queue();
    let holds = || {
        let stats = queue.stats();
        (stats.waiting, stats.waiting_tokens.get(), stats.leased)
    };
    let tickets = [submit(&queue, 1), submit(&queue, 2), submit(&queue, 1)];
    assert_eq!(holds(), (2, 2, 0), "one of them joined another");
    let mut lease = Lease::new(Arc::clone(&queue));
    assert_eq!(requests(&mut lease), [1, 2]);
    assert_eq!(holds(), (0, 0, 2));
    drop(lease);
    assert_eq!(holds(), (2, 2, 0));
    let mut lease = Lease::new(Arc::clone(&queue));
    assert_eq!(requests(&mut lease), [1, 2]);
    lease.settle(vec![(tickets[1].0.job(), Ok(2))]);
    assert_eq!(holds(), (0, 0, 1));
    drop(tickets);
    assert_eq!(holds(), (0, 0, 0));
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
