use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use pool_core::ModelId;
use pool_core::compute::{Claim, ComputeError, Lanes};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::machine::{Effect, Ids, Machine, Setting};
use super::protocol::client::ClientMessage;
use super::protocol::refusal::Refusal;
use super::protocol::server::{Numbered, ServerEvent};
use super::{SessionLimits, SessionOptions};
use crate::context::{Citations, Passage, Progress};
use crate::delivery::{Class, CloseCode, Closed, Connection, Frame, Inbound, Sender, outbox};
use crate::model::{Answer, FailureKind, ModelFailure, Piece, Prompt, Responder};

#[cfg(test)]
mod tests;

/// Messages that may wait to be read. Few, as each may hold a picture: a client that sends faster waits in its transport.
const WAITING: usize = 4;
/// Longer messages are parsed in a lane.
const PARSED_HERE: usize = 64 << 10;
/// Passages that are cited in one answer, at most.
const PASSAGES: usize = 4;

/// Opens a session: its connection, and the task that is the session, for the caller to spawn and join.
///
/// The task ends when either end of the connection is dropped, when the client must be closed, or when
/// [`SessionOptions::closing`] is cancelled; with the code that the connection is closed with. An answer in progress is
/// cancelled first, and the client told so.
pub fn session(
    options: SessionOptions,
    responder: Arc<dyn Responder>,
) -> (Connection, impl Future<Output = CloseCode> + Send + 'static) {
    let SessionOptions { model, instructions, principal, priority, limits, context, lanes, closing } =
        options;
    let (incoming, inbox) = mpsc::channel(WAITING);
    let (sender, outgoing) = outbox(limits.outgoing);
    let setting = Setting {
        model: model.as_str().into(),
        instructions: instructions.filter(|text| !text.is_empty()).map(Into::into),
        principal,
        priority,
        limits,
        sees: responder.sees(),
        cites: context.is_some(),
    };
    let progress = context.as_ref().map(|context| {
        let mut updates = context.updates();
        // The client is told how far it is at the beginning, too.
        updates.mark_changed();
        updates
    });
    let task = Task {
        machine: Machine::new(setting, Ids::new(RandomState::new().hash_one(0))),
        limits,
        began: Instant::now(),
        inbox,
        sender,
        responder,
        context,
        lanes,
        claim: Claim::new(ModelId::new(model)).priority(priority),
        closing,
        reading: None,
        work: None,
        progress,
        ended: None,
    };
    (Connection { incoming, outgoing }, task.run())
}

struct Task {
    machine: Machine,
    limits: SessionLimits,
    began: Instant,
    inbox: mpsc::Receiver<Inbound>,
    sender: Sender,
    responder: Arc<dyn Responder>,
    context: Option<Arc<dyn Citations>>,
    lanes: Lanes,
    /// On whose account long messages are parsed.
    claim: Claim,
    closing: CancellationToken,
    /// A long message that is being parsed. None is read meanwhile: they are obeyed in order.
    reading: Option<BoxFuture<'static, Result<ClientMessage, ComputeError>>>,
    /// What is under way for the response in progress.
    work: Option<Work>,
    progress: Option<watch::Receiver<Progress>>,
    ended: Option<CloseCode>,
}

/// What is under way for a response.
struct Work {
    response: Arc<str>,
    stage: Stage,
}

enum Stage {
    Citing(BoxFuture<'static, Result<Vec<Passage>, ModelFailure>>),
    Asking(BoxFuture<'static, Result<Answer, ModelFailure>>),
    Writing(Answer),
}

/// What came of it.
enum Step {
    Cited(Result<Vec<Passage>, ModelFailure>),
    Piece(Piece),
    Failed(ModelFailure),
}

enum Happening {
    Closing,
    ReaderLeft,
    Inbound(Option<Inbound>),
    Read(Result<ClientMessage, ComputeError>),
    Worked(Arc<str>, Step),
    Progress(Option<Progress>),
}

impl Task {
    async fn run(mut self) -> CloseCode {
        let opened = self.machine.open();
        self.carry_out(opened);
        loop {
            if let Some(code) = self.ended {
                return code;
            }
            let happening = self.next().await;
            let effects = self.take_in(happening);
            self.carry_out(effects);
        }
    }

    /// Waits for what happens next. A client comes before its model: it can cancel what is written too fast to read.
    async fn next(&mut self) -> Happening {
        let pause = self.machine.pause(self.began.elapsed());
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Happening::Closing,
            () = self.sender.left() => Happening::ReaderLeft,
            read = parsed(&mut self.reading) => Happening::Read(read),
            message = received(&mut self.inbox, pause), if self.reading.is_none() => Happening::Inbound(message),
            (response, step) = worked(&mut self.work) => Happening::Worked(response, step),
            progress = changed(&mut self.progress) => Happening::Progress(progress),
        }
    }

    fn take_in(&mut self, happening: Happening) -> Vec<Effect> {
        let now = self.began.elapsed();
        match happening {
            Happening::Closing => self.machine.close(CloseCode::ShuttingDown),
            Happening::ReaderLeft | Happening::Inbound(None) => self.machine.close(CloseCode::Normal),
            Happening::Inbound(Some(inbound)) => match self.readable(inbound) {
                Ok(text) if text.len() > PARSED_HERE => {
                    let parsing = self.lanes.prepare(&self.claim, move || ClientMessage::read(&text));
                    self.reading = Some(Box::pin(parsing));
                    Vec::new()
                }
                Ok(text) => self.machine.message(ClientMessage::read(&text), now),
                Err(refusal) => self.machine.message(ClientMessage::refused(refusal), now),
            },
            Happening::Read(read) => {
                self.reading = None;
                match read {
                    Ok(message) => self.machine.message(message, now),
                    Err(error) => {
                        let message = format!("the message could not be read: {error}; send it again");
                        self.machine.unread(Refusal::server("unread", message), now)
                    }
                }
            }
            Happening::Worked(response, Step::Cited(found)) => self.machine.cited(&response, found),
            Happening::Worked(response, Step::Piece(piece)) => {
                if matches!(piece, Piece::End { .. }) {
                    self.work = None;
                }
                self.machine.piece(&response, piece)
            }
            Happening::Worked(response, Step::Failed(failure)) => {
                self.work = None;
                self.machine.failed(&response, failure)
            }
            Happening::Progress(Some(progress)) => self.machine.progress(progress),
            Happening::Progress(None) => {
                self.progress = None;
                Vec::new()
            }
        }
    }

    /// The text of a message, if it has one that may be read.
    fn readable(&self, inbound: Inbound) -> Result<Bytes, Refusal> {
        let too_long = |limit: usize, length: &str| {
            let message =
                format!("the message {length}; one may have at most {limit} bytes: send less at once");
            Err(Refusal::new("message_too_long", message))
        };
        match inbound {
            Inbound::Text(text) if text.len() > self.limits.message_bytes => {
                too_long(self.limits.message_bytes, &format!("has {} bytes", text.len()))
            }
            Inbound::Text(text) => Ok(text),
            Inbound::TooLong { limit } => too_long(limit, "is too long"),
            Inbound::Binary { bytes } => {
                let message = format!(
                    "a binary message of {bytes} bytes: events are JSON in text messages; send them so"
                );
                Err(Refusal::new("binary_message", message))
            }
            Inbound::NotUtf8 => {
                let message = "the message is no UTF-8, as every text message must be; encode it so";
                Err(Refusal::new("invalid_utf8", message))
            }
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(event) => self.send(&event),
                Effect::Cite { response, question } => {
                    let found = self.context.as_ref().map(|context| context.find(question, PASSAGES));
                    let found = found.unwrap_or_else(|| Box::pin(async { Ok(Vec::new()) }));
                    self.work = Some(Work { response, stage: Stage::Citing(found) });
                }
                Effect::Respond { response, prompt } => self.work = Some(self.ask(response, prompt)),
                Effect::Stop => self.work = None,
                Effect::Close(code) => {
                    self.sender.close(code);
                    self.ended.get_or_insert(code);
                }
            }
        }
    }

    fn ask(&self, response: Arc<str>, prompt: Prompt) -> Work {
        Work { response, stage: Stage::Asking(self.responder.respond(prompt)) }
    }

    fn send(&mut self, event: &Numbered) {
        let class = match event.event {
            ServerEvent::ContextUpdated { .. } => Class::Noise { key: "context".into() },
            _ => Class::Kept,
        };
        let sent = match serde_json::to_string(event) {
            Ok(text) => self.sender.send(Frame { text: text.into(), class }),
            Err(error) => {
                tracing::error!(%error, ?event, "an event cannot be written as JSON");
                self.sender.close(CloseCode::Internal);
                Err(Closed(CloseCode::Internal))
            }
        };
        if let Err(Closed(code)) = sent {
            self.ended.get_or_insert(code);
        }
    }
}

/// The message that was being parsed.
async fn parsed<T>(reading: &mut Option<BoxFuture<'static, T>>) -> T {
    match reading {
        Some(reading) => reading.await,
        None => pending().await,
    }
}

/// The next message, not before the pause is over.
async fn received(inbox: &mut mpsc::Receiver<Inbound>, pause: Duration) -> Option<Inbound> {
    if !pause.is_zero() {
        sleep(pause).await;
    }
    inbox.recv().await
}

/// What comes of the work that is under way, which is kept wherever it is when this is dropped.
async fn worked(work: &mut Option<Work>) -> (Arc<str>, Step) {
    let Some(Work { response, stage }) = work else { return pending().await };
    loop {
        let step = match stage {
            Stage::Citing(found) => Step::Cited(found.await),
            Stage::Asking(answer) => match answer.await {
                Ok(answer) => {
                    *stage = Stage::Writing(answer);
                    continue;
                }
                Err(failure) => Step::Failed(failure),
            },
            Stage::Writing(answer) => match answer.next().await {
                Some(Ok(piece)) => Step::Piece(piece),
                Some(Err(failure)) => Step::Failed(failure),
                None => Step::Failed(ModelFailure {
                    kind: FailureKind::Failed,
                    message: "the model's answer broke off before its end; ask again".to_owned(),
                }),
            },
        };
        return (Arc::clone(response), step);
    }
}

/// How far the reading of files has come, when that changes; `None` once nothing reads any more.
async fn changed(progress: &mut Option<watch::Receiver<Progress>>) -> Option<Progress> {
    match progress {
        None => pending().await,
        Some(updates) => {
            updates.changed().await.ok()?;
            Some(updates.borrow_and_update().clone())
        }
    }
}
