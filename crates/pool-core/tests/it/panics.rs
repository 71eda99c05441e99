//! Panics of a modality's own code outside of its steps: what it drops on a runtime thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pool_core::compute::ScriptedCompute;
use pool_core::worker_state::GroupState;
use pool_core::{
    Bytes, Cost, GroupConfig, JobOptions, LoadError, Loader, Model, ModelError, Preparation, Prepared, Room,
    Step, StepError,
};

use crate::scripted::engine;

/// Panics where it is dropped, if it is told to.
#[derive(Debug)]
struct Bomb(bool);

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.0, "told to, as it is dropped");
    }
}

#[derive(Debug)]
struct Fragile;

impl Model for Fragile {
    type Request = Bomb;
    type Prepared = ();
    type Output = ();
    type Event = Bomb;

    fn estimate(_: &Bomb) -> Cost {
        Cost::new(1, 1)
    }

    fn room(&self) -> Room {
        Room::jobs(8)
    }

    fn step(&mut self, step: &mut Step<Self>) -> Result<(), StepError> {
        for job in step.take_joined() {
            step.finish(job.id(), Ok(()));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct FragileLoader(Arc<AtomicUsize>);

impl Loader for FragileLoader {
    type Model = Fragile;

    fn load(&self) -> Result<Fragile, LoadError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Fragile)
    }

    fn prepare(&self, _: &Bomb) -> Result<Prepared<()>, ModelError> {
        Ok(Prepared { value: (), cost: Cost::new(1, 1) })
    }

    fn preparation(&self, _: Cost) -> Preparation {
        Preparation::Lane
    }
}

/// The preparer's task panics at the very moment at which a worker has ended: each is told from the other.
#[tokio::test(start_paused = true)]
async fn a_preparer_that_panics_is_not_taken_for_a_worker() {
    let loads = Arc::new(AtomicUsize::new(0));
    let engine = engine(&ScriptedCompute::taking(Duration::from_millis(100)), Bytes(1 << 20));
    let group = engine.add(GroupConfig::new("fragile"), FragileLoader(Arc::clone(&loads))).await.unwrap();
    group.warm().await.unwrap();
    // Nobody waits for it when it has been prepared, so that it is dropped by the preparer. The worker unloads meanwhile.
    let unwanted = group.try_submit(Bomb(true), JobOptions::default()).unwrap();
    tokio::task::yield_now().await;
    group.evict();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(unwanted);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(group.stats().state, GroupState::Absent);
    assert_eq!(group.stats().last_error, None, "no worker died");
    let next = group.try_submit(Bomb(false), JobOptions::default()).unwrap();
    tokio::time::timeout(Duration::from_secs(60), next).await.expect("it is prepared").unwrap();
    assert_eq!(loads.load(Ordering::SeqCst), 2);
}
