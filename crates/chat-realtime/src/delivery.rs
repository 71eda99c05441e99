//! What a connection is, whoever carries it: client's messages in, server's messages out, and a close code.
//!
//! Whoever owns a session or a room never waits for a reader: [`Sender::send`] returns at once, and a reader that falls too far
//! behind is closed. What may be lost without anybody missing it (somebody types, somebody is there) is merged with what came
//! before under the same key, and given up first.

mod close;
mod outbox;

pub use close::CloseCode;
pub use outbox::{Class, Closed, Frame, Limits, Out, Receiver, Sender, outbox};

use bytes::Bytes;
use tokio::sync::mpsc;

/// A message as it comes from a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Inbound {
    /// Text, which should be a JSON document.
    Text(Bytes),
    /// Binary data of so many bytes, which no protocol here has.
    Binary {
        /// How many.
        bytes: usize,
    },
    /// Text that is no UTF-8.
    NotUtf8,
    /// A message that is longer than one may be: it was not kept.
    TooLong {
        /// How long one may be, in bytes.
        limit: usize,
    },
}

/// Both ends that a transport holds. Dropping either ends the connection.
#[derive(Debug)]
pub struct Connection {
    /// Client's messages, to the session or room. The bound holds a client that sends faster than is read.
    pub incoming: mpsc::Sender<Inbound>,
    /// Server's messages, to the client.
    pub outgoing: Receiver,
}
