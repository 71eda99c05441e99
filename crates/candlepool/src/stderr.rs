//! Standard error: lines go there through one task, so that a reader who does not read holds up nobody.
//!
//! Owns the only writes to it while the runtime runs. Log lines are dropped and counted where they find no room; what a
//! command or a drain has to say waits for its room and is written before the process ends.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tracing_subscriber::fmt::MakeWriter;

/// How many lines wait at most: some 2 MB of ordinary ones. A reader who is this far behind reads no more today.
const ROOM: usize = 8192;
/// So many lines at most are written at once.
const BATCH: usize = 256;
/// What must be written waits so long for a reader who does not read; then the process ends without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many log lines found no room; also a metric.
pub(crate) const DROPPED_LINES: &str = "candlepool_log_lines_dropped_total";

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Everything sent before this was written.
    Written(oneshot::Sender<()>),
}

/// Where lines are handed over. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    sender: mpsc::Sender<Message>,
}

/// Log lines that were dropped and not told of yet, in the whole process.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The process's own, once its writer is made.
static OF_PROCESS: OnceLock<Lines> = OnceLock::new();

/// The process's way to standard error, and the task behind it; to be called once.
pub(crate) fn of_process() -> StderrWriter<tokio::io::Stderr> {
    let (lines, writer) = pair(tokio::io::stderr());
    OF_PROCESS.get_or_init(|| lines);
    writer
}

fn pair<W: AsyncWrite + Unpin>(output: W) -> (Lines, StderrWriter<W>) {
    let (sender, receiver) = mpsc::channel(ROOM);
    (Lines { sender }, StderrWriter { receiver, output })
}

/// Writes a line that must not be lost; gives it up only where nobody reads for so long.
pub(crate) async fn tell(line: &str) {
    if let Some(lines) = OF_PROCESS.get() {
        lines.tell(line).await;
    }
}

/// Waits until everything is written, the log included; not for longer than somebody reads.
pub(crate) async fn flush() {
    if let Some(lines) = OF_PROCESS.get() {
        lines.flush().await;
    }
}

/// The log's way out, once the process has one.
pub(crate) fn log() -> Option<Lines> {
    OF_PROCESS.get().cloned()
}

impl Lines {
    async fn tell(&self, line: &str) {
        let line = [line.as_bytes(), b"\n"].concat();
        let sent = async {
            if self.sender.send(Message::Line(line)).await.is_ok() {
                self.written().await;
            }
        };
        let _ = tokio::time::timeout(PATIENCE, sent).await;
    }

    async fn flush(&self) {
        let _ = tokio::time::timeout(PATIENCE, self.written()).await;
    }

    async fn written(&self) {
        let (told, heard) = oneshot::channel();
        if self.sender.send(Message::Written(told)).await.is_ok() {
            // The writer ends with the process only.
            let _ = heard.await;
        }
    }
}

/// Each write is one whole line of the log: its formatter hands over no less.
impl io::Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Message::Line(line.to_vec())).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            metrics::counter!(DROPPED_LINES).increment(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

/// The task that writes. Nothing is written unless it runs.
#[derive(Debug)]
pub(crate) struct StderrWriter<W> {
    receiver: mpsc::Receiver<Message>,
    output: W,
}

impl<W: AsyncWrite + Unpin> StderrWriter<W> {
    /// Writes until every [`Lines`] is gone.
    pub(crate) async fn run(mut self) {
        let mut messages = Vec::with_capacity(BATCH);
        while self.receiver.recv_many(&mut messages, BATCH).await > 0 {
            let mut text = Vec::new();
            let mut waiting = Vec::new();
            for message in messages.drain(..) {
                match message {
                    Message::Line(line) => text.extend_from_slice(&line),
                    Message::Written(told) => waiting.push(told),
                }
            }
            // Where standard error is closed there is nobody to tell.
            let _ = self.output.write_all(&text).await;
            let _ = self.output.flush().await;
            if self.receiver.is_empty() {
                tell_of_dropped();
            }
            for told in waiting {
                let _ = told.send(());
            }
        }
    }
}

/// Says in the log itself, where there is room again, how much of it is missing.
fn tell_of_dropped() {
    let lines = DROPPED.swap(0, Ordering::Relaxed);
    if lines > 0 {
        tracing::warn!(lines, "log lines were dropped: standard error is read too slowly");
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::io::{AsyncBufReadExt as _, BufReader};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_reader_and_what_is_dropped_is_counted() {
        let (reader, output) = tokio::io::duplex(64);
        let (lines, writer) = pair(output);
        let writing = tokio::spawn(writer.run());
        let before = DROPPED.load(Ordering::Relaxed);
        let more = 100;
        for number in 0..ROOM + more {
            (&lines).write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        assert_eq!(DROPPED.load(Ordering::Relaxed) - before, more as u64);
        // There is no room and nobody reads: given up, but not at once.
        let began = tokio::time::Instant::now();
        lines.tell("report").await;
        assert_eq!(began.elapsed(), PATIENCE);

        let mut read = BufReader::new(reader).lines();
        let telling = tokio::spawn(async move { lines.tell("report").await });
        let mut last = String::new();
        let mut count = 0;
        while last != "report" {
            last = read.next_line().await.unwrap().unwrap();
            count += 1;
        }
        assert_eq!(count, ROOM + 1);
        telling.await.unwrap();
        writing.await.unwrap();
    }
}
