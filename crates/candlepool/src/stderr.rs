//! Standard error: lines go there through one task, so that a reader who does not read holds up nobody.
//!
//! Owns the way of log lines and of what a command or a drain has to say. Log lines are dropped and counted where they find
//! no room; what must be said waits for its room and is written before the process ends. Beside it write only progress
//! bars, on a terminal, and the panic that ends the process.

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing_subscriber::fmt::MakeWriter;

/// How many lines wait at most: some 2 MB of ordinary ones. A reader who is this far behind reads no more today.
const ROOM: usize = 8192;
/// So many lines at most are taken at once,
const BATCH: usize = 256;
/// and about so many bytes written. Whoever waits hears of each such piece.
const PIECE: usize = 4096;
/// What must be written waits as long as somebody reads. Where nothing is read for so long, the process ends without it.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many log lines found no room; also a metric.
pub(crate) const DROPPED_LINES: &str = "candlepool_log_lines_dropped_total";

#[derive(Debug)]
enum Message {
    /// Of the log.
    Line(Vec<u8>),
    /// One that must be written.
    Told(Vec<u8>),
    /// Everything sent before this was written.
    Written(oneshot::Sender<()>),
}

/// Where lines are handed over. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    sender: mpsc::Sender<Message>,
    /// Changes with each piece that is written.
    progress: watch::Receiver<()>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Log lines that wait are passed over, as something after them has no more time.
    hurry: AtomicBool,
    /// Log lines that were dropped and not told of yet.
    dropped: AtomicU64,
}

impl Shared {
    fn drop_line(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(DROPPED_LINES).increment(1);
    }
}

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
    let (written, progress) = watch::channel(());
    let shared = Arc::<Shared>::default();
    let lines = Lines { sender, progress, shared: Arc::clone(&shared) };
    (lines, StderrWriter { receiver, written, shared, output })
}

/// Writes a line that must not be lost; gives it up only where nobody reads.
pub(crate) async fn tell(line: &str) {
    if let Some(lines) = OF_PROCESS.get() {
        lines.tell(line, None).await;
    }
}

/// As [`tell`], and passes over the log lines that still wait at the deadline, or a little later if that is near.
pub(crate) async fn tell_by(line: &str, deadline: Instant) {
    if let Some(lines) = OF_PROCESS.get() {
        lines.tell(line, Some(deadline)).await;
    }
}

/// Waits until everything is written, the log included; not for longer than somebody reads.
pub(crate) async fn flush() {
    if let Some(lines) = OF_PROCESS.get() {
        lines.while_read(lines.all_written()).await;
    }
}

/// The log's way out, once the process has one.
pub(crate) fn log() -> Option<Lines> {
    OF_PROCESS.get().cloned()
}

impl Lines {
    async fn tell(&self, line: &str, deadline: Option<Instant>) {
        let line = [line.as_bytes(), b"\n"].concat();
        let mut sent = pin!(async {
            if self.sender.send(Message::Told(line)).await.is_ok() {
                self.written().await;
            }
        });
        if let Some(deadline) = deadline {
            let deadline = deadline.max(Instant::now() + PATIENCE);
            if tokio::time::timeout_at(deadline, self.while_read(sent.as_mut())).await.is_ok() {
                return;
            }
            self.shared.hurry.store(true, Ordering::Relaxed);
        }
        self.while_read(sent).await;
    }

    async fn written(&self) {
        let (told, heard) = oneshot::channel();
        if self.sender.send(Message::Written(told)).await.is_ok() {
            // The writer ends with the process only.
            let _ = heard.await;
        }
    }

    /// And that lines were dropped, if any were: that is said once there is nothing else to write.
    async fn all_written(&self) {
        while self.shared.dropped.load(Ordering::Acquire) > 0 && !self.sender.is_closed() {
            self.written().await;
        }
        self.written().await;
    }

    /// Waits until it is done, or until nothing was written for a while.
    async fn while_read(&self, done: impl Future<Output = ()>) {
        let mut progress = self.progress.clone();
        let mut done = pin!(done);
        loop {
            tokio::select! {
                biased;
                () = &mut done => return,
                moved = tokio::time::timeout(PATIENCE, progress.changed()) => {
                    if !matches!(moved, Ok(Ok(()))) {
                        return;
                    }
                }
            }
        }
    }
}

/// Each write is one whole line of the log: its formatter hands over no less.
impl io::Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Message::Line(line.to_vec())).is_err() {
            self.shared.drop_line();
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
    written: watch::Sender<()>,
    shared: Arc<Shared>,
    output: W,
}

impl<W: AsyncWrite + Unpin> StderrWriter<W> {
    /// Writes until every [`Lines`] is gone.
    pub(crate) async fn run(mut self) {
        let mut messages = Vec::with_capacity(BATCH);
        let mut text = Vec::new();
        while self.receiver.recv_many(&mut messages, BATCH).await > 0 {
            for message in messages.drain(..) {
                match message {
                    Message::Line(_) if self.shared.hurry.load(Ordering::Relaxed) => self.shared.drop_line(),
                    Message::Line(line) | Message::Told(line) => {
                        text.extend_from_slice(&line);
                        if text.len() >= PIECE {
                            self.write(&mut text).await;
                        }
                    }
                    Message::Written(told) => {
                        self.write(&mut text).await;
                        let _ = told.send(());
                    }
                }
            }
            self.write(&mut text).await;
            if self.receiver.is_empty() {
                self.shared.hurry.store(false, Ordering::Relaxed);
                self.tell_of_dropped();
            }
        }
    }

    /// Where standard error is closed there is nobody to tell.
    async fn write(&mut self, text: &mut Vec<u8>) {
        for piece in text.chunks(PIECE) {
            let _ = self.output.write_all(piece).await;
            let _ = self.output.flush().await;
            self.written.send_replace(());
        }
        text.clear();
    }

    /// Says in the log itself, where there is room again, how much of it is missing.
    fn tell_of_dropped(&self) {
        let lines = self.shared.dropped.load(Ordering::Relaxed);
        if lines > 0 {
            tracing::warn!(lines, "log lines were dropped: standard error is read too slowly");
            // Not before it is on its way: whoever waits for all of it sees none left then.
            self.shared.dropped.fetch_sub(lines, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
    use tokio::task::JoinHandle;

    use super::*;

    /// As many lines as have room, and some more, each of 32 bytes.
    const MORE: usize = 100;

    fn fill(mut lines: &Lines) {
        for number in 0..ROOM + MORE {
            lines.write_all(format!("{number:031}\n").as_bytes()).unwrap();
        }
        assert_eq!(lines.shared.dropped.load(Ordering::Relaxed), MORE as u64);
    }

    /// Somebody who reads 6.4 kB a second, to the end.
    fn read_slowly(mut from: tokio::io::DuplexStream) -> JoinHandle<String> {
        tokio::spawn(async move {
            let mut all = Vec::new();
            let mut some = [0; 64];
            loop {
                tokio::time::sleep(Duration::from_millis(10)).await;
                match from.read(&mut some).await.unwrap() {
                    0 => return String::from_utf8(all).unwrap(),
                    read => all.extend_from_slice(&some[..read]),
                }
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_reader_and_what_is_dropped_is_counted() {
        let (reader, output) = tokio::io::duplex(64);
        let (lines, writer) = pair(output);
        let writing = tokio::spawn(writer.run());
        fill(&lines);
        // There is no room and nobody reads: given up, but not at once.
        let began = Instant::now();
        lines.tell("report", None).await;
        assert_eq!(began.elapsed(), PATIENCE);

        let mut read = BufReader::new(reader).lines();
        let telling = tokio::spawn(async move { lines.tell("report", None).await });
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

    #[tokio::test(start_paused = true)]
    async fn what_must_be_said_waits_for_a_reader_who_is_slow() {
        let (reader, output) = tokio::io::duplex(64);
        let (lines, writer) = pair(output);
        let writing = tokio::spawn(writer.run());
        fill(&lines);
        let reading = read_slowly(reader);
        let began = Instant::now();
        lines.tell("report", None).await;
        assert!(began.elapsed() > 2 * PATIENCE, "{:?}", began.elapsed());
        drop(lines);
        writing.await.unwrap();
        let read = reading.await.unwrap();
        assert_eq!((read.lines().count(), read.lines().last()), (ROOM + 1, Some("report")));
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_deadline_the_log_makes_way() {
        let (reader, output) = tokio::io::duplex(64);
        let (lines, writer) = pair(output);
        let writing = tokio::spawn(writer.run());
        fill(&lines);
        let reading = read_slowly(reader);
        let began = Instant::now();
        let within = 2 * PATIENCE;
        lines.tell("report", Some(began + within)).await;
        let took = began.elapsed();
        assert!(took >= within && took < within + PATIENCE / 2, "{took:?}");
        drop(lines);
        writing.await.unwrap();
        let read = reading.await.unwrap();
        assert_eq!(read.lines().last(), Some("report"));
        assert!(read.lines().count() < ROOM, "no line made way");
    }
}
