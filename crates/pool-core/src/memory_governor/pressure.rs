use std::fmt;
use std::time::Duration;

use crate::types::Bytes;

#[cfg(test)]
mod tests;

/// How full the budget is. A level is entered at its threshold and left only five percent of the budget below it,
/// so that a single reservation that comes and goes does not make it flap.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Pressure {
    /// Less than half is used.
    #[default]
    Low,
    /// Half is used.
    Normal,
    /// Three quarters are used: models nobody uses go after a quarter of the time they would else be kept
    /// ([`Pressure::keeps_idle`]).
    High,
    /// Nine tenths are used: new inputs have the share reserved for them and no more, and for those refused the least
    /// recently used idle models go.
    Critical,
}

impl Pressure {
    /// Every level, the least first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// The position in [`Pressure::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name as metrics and `/pools` spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// For how long a model that nobody uses is kept, where it is to be kept for `usual` without need.
    pub fn keeps_idle(self, usual: Duration) -> Duration {
        match self {
            Self::Low | Self::Normal => usual,
            Self::High | Self::Critical => usual / 4,
        }
    }

    pub(super) const fn from_index(index: u8) -> Self {
        match index {
            0 => Self::Low,
            1 => Self::Normal,
            2 => Self::High,
            _ => Self::Critical,
        }
    }
}

impl fmt::Display for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where levels begin and end, in bytes of one budget.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Thresholds {
    enter: [u64; Pressure::ALL.len()],
    leave: [u64; Pressure::ALL.len()],
}

impl Thresholds {
    pub(super) fn of(limit: Bytes) -> Self {
        let percent = |percent: u64| {
            let bytes = u128::from(limit.get()) * u128::from(percent) / 100;
            u64::try_from(bytes).unwrap_or(u64::MAX)
        };
        // At least one byte, so that an empty budget of any size is `Low`.
        Self {
            enter: [0, 50, 75, 90].map(|p| if p == 0 { 0 } else { percent(p).max(1) }),
            leave: [0, 45, 70, 85].map(percent),
        }
    }

    /// A level is left where less than this is used.
    pub(super) const fn left_below(&self, level: Pressure) -> u64 {
        self.leave[level.index()].saturating_sub(1)
    }

    /// The level after `current` where so much is used.
    pub(super) fn next(&self, current: Pressure, used: u64) -> Pressure {
        let mut next = Pressure::Low;
        for level in Pressure::ALL {
            let holds = used >= self.enter[level.index()]
                || (level <= current && used >= self.leave[level.index()] && used > 0);
            if holds {
                next = level;
            }
        }
        next
    }
}
