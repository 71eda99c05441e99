use crate::delivery;

/// What one session may take. A client that wants more is told so by an `error` event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionLimits {
    /// Items of the conversation, and of the `input` of one response. Default: 4,096.
    pub items: usize,
    /// Bytes of the conversation, pictures included, and of the `input` of one response. Default: 32 MiB.
    pub bytes: usize,
    /// Bytes of the texts of one item, of an answer and of instructions. Default: 256 KiB.
    ///
    /// An answer says its text six times, piece by piece and at its end, and control characters take six bytes each in JSON: so
    /// much fits into the bytes that may wait for a reader, and no single answer makes a reader slow that reads.
    pub text_bytes: usize,
    /// Bytes of one message. Default: 16 MiB, for a picture.
    pub message_bytes: usize,
    /// Events a second that are read for long; a client that sends faster is read slower. Default: 100.
    pub events_a_second: u32,
    /// Events that are read at once. Default: 1,000, so that a past conversation can be told without a pause.
    pub events_at_once: u32,
    /// Refusals at once after which the session is closed; one more is forgiven each second. Default: 64.
    pub errors: u32,
    /// How far the reader may fall behind. Default: 8,192 frames and 12 MiB.
    pub outgoing: delivery::Limits,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            items: 4096,
            bytes: 32 << 20,
            text_bytes: 256 << 10,
            message_bytes: 16 << 20,
            events_a_second: 100,
            events_at_once: 1000,
            errors: 64,
            outgoing: delivery::Limits { frames: 8192, bytes: 12 << 20 },
        }
    }
}
