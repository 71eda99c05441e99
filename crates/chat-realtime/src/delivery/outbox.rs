use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::CloseCode;

#[cfg(test)]
mod tests;

/// How far a reader may fall behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Frames that wait. Default: 4,096.
    pub frames: usize,
    /// Bytes of frames that wait. Default: 4 MiB.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { frames: 4096, bytes: 4 << 20 }
    }
}

impl Limits {
    /// Beyond this, noise is dropped.
    const fn quiet(self) -> Self {
        Self { frames: self.frames / 4, bytes: self.bytes / 4 }
    }
}

/// A message to clients. Everybody who is sent the same one shares its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// A JSON document.
    pub text: Arc<str>,
    /// What may become of it under pressure.
    pub class: Class,
}

/// What may become of a frame where its reader is slow.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    /// It arrives, or the connection is closed.
    Kept,
    /// It replaces a waiting one of the same key, which moves it to the end, and is dropped where much is waiting.
    Noise {
        /// What it is about.
        key: Arc<str>,
    },
}

/// What a reader is given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Out {
    /// Send this.
    Frame(Arc<str>),
    /// Close with this; nothing follows.
    Close(CloseCode),
}

/// The connection is closed: nothing can be sent any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the connection is closed: {0}")]
pub struct Closed(pub CloseCode);

/// The owner's end: never waits.
#[derive(Clone, Debug)]
pub struct Sender {
    shared: Arc<Shared>,
}

/// The transport's end.
#[derive(Debug)]
pub struct Receiver {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    state: Mutex<State>,
    arrived: Notify,
    /// The reader has gone.
    left: Notify,
}

#[derive(Default, Debug)]
struct State {
    waiting: VecDeque<Frame>,
    bytes: usize,
    /// Noise that was given up or merged.
    dropped: u64,
    closed: Option<CloseCode>,
    /// The reader has gone.
    gone: bool,
    /// The reader has been told of the close.
    told: bool,
}

/// Both ends of what goes out to one client.
pub fn outbox(limits: Limits) -> (Sender, Receiver) {
    let shared =
        Arc::new(Shared { limits, state: Mutex::default(), arrived: Notify::new(), left: Notify::new() });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

impl Sender {
    /// Hands a frame over, in order, at once.
    ///
    /// # Errors
    ///
    /// The connection is closed, which this frame may have been the cause of: its reader was too slow ([`CloseCode::Slow`]).
    /// What waited is then given up, as the reader must come back for it anyway.
    pub fn send(&self, frame: Frame) -> Result<(), Closed> {
        let outcome = self.shared.lock().take(frame, self.shared.limits);
        self.shared.arrived.notify_one();
        outcome
    }

    /// Closes the connection once what waits has been read. The first close counts.
    pub fn close(&self, code: CloseCode) {
        self.shared.lock().closed.get_or_insert(code);
        self.shared.arrived.notify_one();
    }

    /// Why the connection is closed, once it is.
    pub fn closed(&self) -> Option<CloseCode> {
        self.shared.lock().closed
    }

    /// Resolves once the reader has gone.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn left(&self) {
        let mut left = pin!(self.shared.left.notified());
        // Asked for before it is looked at: a reader that goes in between is not missed.
        left.as_mut().enable();
        if !self.shared.lock().gone {
            left.await;
        }
    }

    /// Frames of noise that were merged or given up so far.
    pub fn dropped(&self) -> u64 {
        self.shared.lock().dropped
    }
}

impl Receiver {
    /// What is to be sent next; `None` after the close.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Out> {
        loop {
            let arrived = self.shared.arrived.notified();
            {
                let mut state = self.shared.lock();
                if let Some(frame) = state.waiting.pop_front() {
                    state.bytes -= frame.text.len();
                    return Some(Out::Frame(frame.text));
                }
                if let Some(code) = state.closed {
                    return (!std::mem::replace(&mut state.told, true)).then_some(Out::Close(code));
                }
            }
            arrived.await;
        }
    }

    /// How many frames wait, and how many bytes they have.
    pub fn waiting(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.waiting.len(), state.bytes)
    }
}

/// A reader that goes closes the connection.
impl Drop for Receiver {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.shared.lock();
            state.closed.get_or_insert(CloseCode::Normal);
            state.gone = true;
            state.give_up()
        };
        self.shared.left.notify_waiters();
        drop(waiting);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self, frame: Frame, limits: Limits) -> Result<(), Closed> {
        if let Some(code) = self.closed {
            return Err(Closed(code));
        }
        if let Class::Noise { .. } = frame.class {
            if let Some(at) = self.waiting.iter().position(|waiting| waiting.class == frame.class)
                && let Some(before) = self.waiting.remove(at)
            {
                self.bytes -= before.text.len();
                self.dropped += 1;
            }
            if self.exceeds(&frame, limits.quiet()) {
                self.dropped += 1;
                return Ok(());
            }
        } else if self.exceeds(&frame, limits) {
            self.quieten();
            if self.exceeds(&frame, limits) {
                self.closed = Some(CloseCode::Slow);
                self.give_up();
                return Err(Closed(CloseCode::Slow));
            }
        }
        self.bytes += frame.text.len();
        self.waiting.push_back(frame);
        Ok(())
    }

    /// A single frame is taken however long it is.
    fn exceeds(&self, frame: &Frame, limits: Limits) -> bool {
        !self.waiting.is_empty()
            && (self.waiting.len() >= limits.frames || self.bytes + frame.text.len() > limits.bytes)
    }

    /// Gives up all noise.
    fn quieten(&mut self) {
        let before = self.waiting.len();
        self.waiting.retain(|frame| frame.class == Class::Kept);
        self.dropped += (before - self.waiting.len()) as u64;
        self.bytes = self.waiting.iter().map(|frame| frame.text.len()).sum();
    }

    fn give_up(&mut self) -> VecDeque<Frame> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}
