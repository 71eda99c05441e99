use std::fmt;

/// Why a connection is closed, in the ranges that Centrifugo uses: below 3500 a client should connect again, from 3500 on it
/// should not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CloseCode {
    /// The server is shutting down: 3001.
    ShuttingDown,
    /// Something failed here that is not the client's fault: 3004.
    Internal,
    /// The client's position is of another history; it should connect without one: 3005.
    Unrecoverable,
    /// The client does not read what it is sent: 3008.
    Slow,
    /// The client has not answered a ping: 3012.
    NoPong,
    /// The client's protocol is broken beyond what an error event can mend: 3501.
    BadRequest,
    /// The client may have no more connections: 3509.
    TooManyConnections,
    /// The client keeps sending what is refused, or too much of it: 3510.
    TooManyErrors,
    /// The conversation was ended for good: 3511.
    Ended,
    /// The other end closed: 1000.
    Normal,
}

impl CloseCode {
    /// Every code, by number.
    pub const ALL: [Self; 10] = [
        Self::Normal,
        Self::ShuttingDown,
        Self::Internal,
        Self::Unrecoverable,
        Self::Slow,
        Self::NoPong,
        Self::BadRequest,
        Self::TooManyConnections,
        Self::TooManyErrors,
        Self::Ended,
    ];

    /// The number as WebSocket has it.
    pub const fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::ShuttingDown => 3001,
            Self::Internal => 3004,
            Self::Unrecoverable => 3005,
            Self::Slow => 3008,
            Self::NoPong => 3012,
            Self::BadRequest => 3501,
            Self::TooManyConnections => 3509,
            Self::TooManyErrors => 3510,
            Self::Ended => 3511,
        }
    }

    /// The reason that goes with it; at most 123 bytes, as WebSocket allows.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Normal => "closed",
            Self::ShuttingDown => "the server is shutting down",
            Self::Internal => "internal error",
            Self::Unrecoverable => "unrecoverable position",
            Self::Slow => "slow reader",
            Self::NoPong => "no pong",
            Self::BadRequest => "bad request",
            Self::TooManyConnections => "too many connections",
            Self::TooManyErrors => "too many errors",
            Self::Ended => "ended",
        }
    }

    /// Whether a client should connect again.
    pub const fn reconnects(self) -> bool {
        matches!(self.number(), 3000..3500)
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number(), self.reason())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_reasons_fit_a_close_frame() {
        let mut numbers: Vec<u16> = CloseCode::ALL.map(CloseCode::number).to_vec();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), CloseCode::ALL.len());
        assert!(CloseCode::ALL.iter().all(|code| code.reason().len() <= 123));
    }
}
