use std::time::Duration;

use crate::error::Error;
use crate::request_queue::QueueLimits;
use crate::types::ModelId;

/// How many workers a group has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Workers {
    /// So many even when there is nothing to do. With 0 the model is loaded on demand.
    pub min: usize,
    /// So many at most, however long the queue: one at least, and no fewer than `min`.
    pub max: usize,
}

impl Default for Workers {
    /// None until there is demand, then one.
    fn default() -> Self {
        Self { min: 0, max: 1 }
    }
}

/// How a model group is run.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupConfig {
    /// The group's name.
    pub model: ModelId,
    /// How many workers it has.
    pub workers: Workers,
    /// What its queue holds.
    pub limits: QueueLimits,
    /// A group without a job for so long is evicted. `None`: only for memory's sake.
    pub idle_evict_after: Option<Duration>,
    /// A waiting job rises one priority class after each such interval.
    pub ageing: Duration,
    /// A job whose events are not read for so long is ended.
    pub stall_limit: Duration,
    /// Whether equal jobs of one principal are joined.
    pub coalesce: bool,
    /// After a first failure the model is loaded again no sooner than this; each further failure doubles it, up to 5
    /// minutes.
    pub first_backoff: Duration,
}

impl GroupConfig {
    /// The defaults: loaded on demand, one worker, a queue of 1,024 jobs.
    pub fn new(model: impl Into<ModelId>) -> Self {
        Self {
            model: model.into(),
            workers: Workers::default(),
            limits: QueueLimits::default(),
            idle_evict_after: None,
            ageing: Duration::from_secs(10),
            stall_limit: Duration::from_secs(30),
            coalesce: true,
            first_backoff: Duration::from_secs(1),
        }
    }

    /// Whether a group can be run like this.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Workers { min, max } = self.workers;
        let wrong = if self.model.as_str().is_empty() {
            "it has no name: give it one".to_owned()
        } else if max == 0 {
            "workers.max is 0, so nothing would ever be computed: set it to 1 or more".to_owned()
        } else if min > max {
            format!(
                "workers.min is {min} and workers.max is {max}: set min to {max} or less, or max to {min} or more"
            )
        } else {
            return Ok(());
        };
        Err(Error::InvalidConfig { model: self.model.clone(), message: wrong.into() })
    }
}
