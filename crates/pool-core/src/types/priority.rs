use std::fmt;
use std::str::FromStr;

/// How urgent a job is. A waiting job rises one class after each ageing interval, so none starves.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Priority {
    /// Batch work that may wait.
    Low,
    /// What callers get who ask for nothing else.
    #[default]
    Normal,
    /// A person is waiting.
    High,
    /// The system itself: health probes, an operator's request.
    Critical,
}

impl Priority {
    /// Every class, the least urgent first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// The position in [`Priority::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The next more urgent class, if there is one.
    pub const fn raised(self) -> Option<Self> {
        match self {
            Self::Low => Some(Self::Normal),
            Self::Normal => Some(Self::High),
            Self::High => Some(Self::Critical),
            Self::Critical => None,
        }
    }

    /// The name as configuration, headers and metrics spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no priority.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown priority {0:?}: use low, normal, high or critical")]
pub struct UnknownPriority(String);

impl FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|priority| text.eq_ignore_ascii_case(priority.as_str()))
            .ok_or_else(|| UnknownPriority(text.chars().take(40).collect()))
    }
}
