use std::time::Duration;

/// How often something may happen: so often at once, and once more each interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bucket {
    most: u32,
    interval: Duration,
    /// When all of them will be there again.
    full: Duration,
}

impl Bucket {
    pub(super) const fn new(most: u32, interval: Duration) -> Self {
        Self { most, interval, full: Duration::ZERO }
    }

    /// It happens: whether it may.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        let full = self.full.max(now) + self.interval;
        let may = full - now <= self.capacity();
        if may {
            self.full = full;
        }
        may
    }

    /// How long it must not happen.
    pub(super) fn wait(&self, now: Duration) -> Duration {
        (self.full.max(now) + self.interval).saturating_sub(now + self.capacity())
    }

    /// How often it may happen at once from now.
    pub(super) fn left(&self, now: Duration) -> u32 {
        let taken = self.full_in(now).as_nanos().div_ceil(self.interval.as_nanos().max(1));
        self.most.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX))
    }

    pub(super) fn full_in(&self, now: Duration) -> Duration {
        self.full.saturating_sub(now)
    }

    fn capacity(&self) -> Duration {
        self.interval.saturating_mul(self.most.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_at_once_and_one_more_each_interval() {
        let second = Duration::from_secs(1);
        let mut bucket = Bucket::new(3, second);
        assert!((0..3).all(|_| bucket.take(Duration::ZERO)));
        assert!(!bucket.take(Duration::ZERO));
        assert_eq!((bucket.left(Duration::ZERO), bucket.wait(Duration::ZERO)), (0, second));
        assert_eq!(bucket.wait(second / 4), second * 3 / 4);
        assert!(bucket.take(second), "one is back");
        assert!(!bucket.take(second));
        assert_eq!(bucket.left(second * 10), 3);
        assert_eq!(bucket.full_in(second), second * 3);
    }
}
