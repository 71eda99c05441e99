use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::compute::{LanesConfig, ScriptedCompute};
use crate::memory_governor::Governor;
use crate::model::{LoadError, Loader, ModelError, Prepared, Room, Step, StepError};
use crate::request_queue::QueueConfig;
use crate::types::Cost;

/// A model that is never stepped here.
#[derive(Debug)]
struct Still;

impl Model for Still {
    type Request = ();
    type Prepared = ();
    type Output = ();
    type Event = ();

    fn estimate(_: &()) -> Cost {
        Cost::ZERO
    }

    fn room(&self) -> Room {
        Room::NONE
    }

    fn step(&mut self, _: &mut Step<Self>) -> Result<(), StepError> {
        Ok(())
    }
}

struct StillLoader;

impl Loader for StillLoader {
    type Model = Still;

    fn load(&self) -> Result<Still, LoadError> {
        Ok(Still)
    }

    fn prepare(&self, _: &()) -> Result<Prepared<()>, ModelError> {
        Ok(Prepared { value: (), cost: Cost::ZERO })
    }
}

fn shared() -> Arc<Shared<Still>> {
    let config = GroupConfig::new("still");
    let queue = Queue::new(
        QueueConfig {
            model: config.model.clone(),
            limits: config.limits,
            ageing: config.ageing,
            coalesce: config.coalesce,
        },
        Arc::new(StillLoader),
        Governor::new(Bytes(1_000)),
        Arc::new(AtomicU64::new(1)),
    );
    let lanes = Lanes::new(LanesConfig::for_cores(NonZeroUsize::MIN), ScriptedCompute::instant());
    Shared::new(config, queue, lanes)
}

#[tokio::test(start_paused = true)]
async fn who_was_told_to_leave_is_no_candidate_and_its_memory_is_coming() {
    let group = shared();
    group.evict();
    assert_eq!(group.leaving(), Bytes::ZERO, "it holds nothing");
    group.apply(GroupEvent::Demand);
    group.apply(GroupEvent::Loaded);
    group.set_resident(Bytes(100));
    assert_eq!(group.candidate().map(|candidate| candidate.bytes), Some(Bytes(100)));
    assert_eq!(group.leaving(), Bytes::ZERO);
    // Its task has not heard of it yet.
    group.evict();
    assert_eq!(group.candidate(), None);
    assert_eq!(group.leaving(), Bytes(100));
    group.apply(GroupEvent::Evict);
    assert_eq!((group.candidate(), group.leaving()), (None, Bytes(100)));
    group.set_resident(Bytes::ZERO);
    group.apply(GroupEvent::Evicted);
    assert_eq!((group.candidate(), group.leaving()), (None, Bytes::ZERO));
    // The next time it is resident, it is as any other.
    group.apply(GroupEvent::Demand);
    group.apply(GroupEvent::Loaded);
    group.set_resident(Bytes(100));
    assert!(group.candidate().is_some());
}

#[tokio::test(start_paused = true)]
async fn of_several_orders_to_end_the_first_reason_and_the_earliest_deadline_hold() {
    let group = shared();
    let start = Instant::now();
    let after = |seconds| Deadline::at(start + Duration::from_secs(seconds));
    group.close(Closing::Removed, Deadline::NONE);
    group.closing().await;
    let due = Arc::clone(&group);
    let due = tokio::spawn(async move { due.closing_is_due().await });
    tokio::task::yield_now().await;
    group.close(Closing::ShuttingDown, after(5));
    tokio::task::yield_now().await;
    group.close(Closing::ShuttingDown, after(9));
    due.await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert!(matches!(group.closing_error(), Error::Removed { .. }));
}
