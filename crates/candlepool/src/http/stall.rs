//! Clients that do not read their answers: given up after a while.
//!
//! HTTP's own timeouts watch what comes in. An answer that nobody reads would hold its memory and its connection's place
//! for as long as the client likes. Answers are also counted while they are written: a shutdown waits for these.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A connection that fails once nothing could be written for so long.
#[derive(Debug)]
pub(super) struct StallGuard<S> {
    stream: S,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    is_stalled: bool,
    answers: TaskTracker,
    /// Held from the first byte of an answer until the system has all of it.
    answering: Option<TaskTrackerToken>,
}

impl<S> StallGuard<S> {
    /// Guards a connection whose answers are counted while they are being written.
    pub(super) fn new(stream: S, limit: Duration, answers: TaskTracker) -> Self {
        Self { stream, limit, timer: Box::pin(sleep(limit)), is_stalled: false, answers, answering: None }
    }

    /// The connection without its guard.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    fn begin_to_answer(&mut self) {
        if self.answering.is_none() {
            self.answering = Some(self.answers.token());
        }
    }

    /// Passes on how a write went, and watches the time while it does not go on.
    fn watch<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_stalled = false;
            return written;
        }
        if !self.is_stalled {
            self.is_stalled = true;
            self.timer.as_mut().reset(Instant::now() + self.limit);
        }
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StallGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StallGuard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.begin_to_answer();
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.begin_to_answer();
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.watch(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.answering = None;
        }
        self.watch(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(shut, context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reader_may_be_slow_but_not_gone() {
        let (mut reader, writer) = tokio::io::duplex(4);
        let answers = TaskTracker::new();
        let mut guarded = StallGuard::new(writer, Duration::from_secs(10), answers.clone());
        let slow = async {
            for _ in 0..5 {
                tokio::time::sleep(Duration::from_secs(9)).await;
                reader.read_exact(&mut [0; 4]).await.unwrap();
            }
            reader
        };
        let (written, kept) = tokio::join!(guarded.write_all(&[1; 24]), slow);
        written.unwrap();
        assert_eq!(answers.len(), 1, "what is written may not have been sent");
        guarded.flush().await.unwrap();
        assert!(answers.is_empty());
        let began = Instant::now();
        let error = guarded.write_all(&[1; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed().as_secs(), 10);
        drop(kept);
    }
}
