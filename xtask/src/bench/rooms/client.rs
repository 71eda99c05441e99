//! One person in a room: says something now and then, is cut off and comes back, and keeps a log.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::log::{Event, Log};

/// After the end, a client that is sent nothing for so long has been sent everything.
const QUIET: Duration = Duration::from_secs(3);
/// How long a connection, an acknowledgement or the rest may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a slow reader's socket takes before the server's fills, in bytes.
const SLOW_BUFFER: u32 = 16 << 10;

/// What all clients are told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Course {
    /// Which round of cutting off it is.
    pub(super) round: u64,
    /// Nobody says anything any more.
    pub(super) over: bool,
}

/// Who somebody is.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) number: u64,
    pub(super) address: String,
    pub(super) room: String,
    pub(super) kind: Kind,
    /// In each round one person of so many is cut off.
    pub(super) cut_one_in: u64,
    /// The clock that messages tell the time by.
    pub(super) began: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Says something of so many bytes, so often.
    Speaks { every: Duration, bytes: usize },
    /// Reads one event a second, and all the rest after the end.
    Slow,
}

/// What came of somebody.
#[derive(Debug, Default)]
pub(super) struct Stay {
    pub(super) log: Log,
    /// Of each message, from when it was said to when it was read here, in microseconds; without those sent again.
    pub(super) delays: Vec<u32>,
    pub(super) said: u64,
    pub(super) resumed: u64,
    /// Frames of any kind.
    pub(super) frames: u64,
    /// Why the server closed, where it did.
    pub(super) closed: Option<u16>,
}

impl Person {
    pub(super) fn name(&self) -> String {
        format!("p{}", self.number)
    }

    /// Stays until the end.
    pub(super) async fn stay(self, course: watch::Receiver<Course>) -> Result<Stay> {
        let (name, room) = (self.name(), self.room.clone());
        let stay = match self.kind {
            Kind::Speaks { every, bytes } => self.speak(course, every, bytes).await,
            Kind::Slow => self.dawdle(course).await,
        };
        stay.with_context(|| format!("{name} in {room}"))
    }

    /// One in so many is cut off in a round, another one in the next.
    const fn is_cut(&self, round: u64) -> bool {
        // Mixed, as the people of one room have numbers alike.
        let mixed = self.number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (mixed + round).is_multiple_of(self.cut_one_in)
    }

    async fn connect(&self, log: &Log) -> Result<WebSocketStream<TcpStream>> {
        let socket = TcpSocket::new_v4()?;
        if self.kind == Kind::Slow {
            socket.set_recv_buffer_size(SLOW_BUFFER)?;
        }
        let position =
            log.position().map_or_else(String::new, |(epoch, seq)| format!("&epoch={epoch}&seq={seq}"));
        let url = format!("ws://{}/rooms/{}?client={}{position}", self.address, self.room, self.name());
        let connecting = async {
            let stream = socket.connect(self.address.parse()?).await?;
            stream.set_nodelay(true)?;
            anyhow::Ok(client_async(&url, stream).await?.0)
        };
        timeout(PATIENCE, connecting).await.context("no connection in time")?.with_context(|| url.clone())
    }

    async fn speak(self, mut course: watch::Receiver<Course>, every: Duration, bytes: usize) -> Result<Stay> {
        let mut stay = Stay::default();
        // Everybody at another moment of the interval.
        let phase = every.mul_f64((self.number.wrapping_mul(7919) % 1000) as f64 / 1000.0);
        let mut ticks = interval_at(Instant::now() + phase, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut unheard: VecDeque<(String, String)> = VecDeque::new();
        loop {
            let mut socket = self.connect(&stay.log).await?;
            // Said again under the same name, as it may have been lost; the server knows those that were not.
            for (_, text) in &unheard {
                socket.send(Message::text(text.clone())).await?;
            }
            let mut replayed = u64::MAX;
            loop {
                let now = *course.borrow();
                let patience = if now.over && unheard.is_empty() { QUIET } else { PATIENCE };
                tokio::select! {
                    frame = timeout(patience, socket.next()) => {
                        let Ok(frame) = frame else {
                            ensure!(now.over && unheard.is_empty(), "nothing came for {PATIENCE:?}");
                            socket.close(None).await?;
                            return Ok(stay);
                        };
                        match frame.context("the server ended the connection without a close")?? {
                            Message::Text(text) => {
                                self.read(&text, &mut stay, &mut unheard, &mut replayed)?;
                            }
                            Message::Close(frame) => bail!("the server closed: {frame:?}"),
                            _ => {}
                        }
                    }
                    _ = ticks.tick(), if !now.over => {
                        let id = format!("{}-{}", self.name(), stay.said);
                        let time = self.began.elapsed().as_micros();
                        let text = format!("{time} {}", "x".repeat(bytes));
                        let said = json!({"type": "message.create", "event_id": id, "id": id, "text": text, "assistant": false});
                        let said = said.to_string();
                        unheard.push_back((id, said.clone()));
                        stay.said += 1;
                        socket.send(Message::text(said)).await?;
                    }
                    changed = course.changed() => {
                        changed.context("the run was given up")?;
                        let Course { round, over } = *course.borrow_and_update();
                        if !over && self.is_cut(round) {
                            break;
                        }
                    }
                }
            }
            // Without a word, as a network does it.
            drop(socket);
            stay.log.dropped();
            stay.resumed += 1;
            sleep(Duration::from_millis(self.number % 200)).await;
        }
    }

    fn read(
        &self,
        text: &str,
        stay: &mut Stay,
        unheard: &mut VecDeque<(String, String)>,
        replayed: &mut u64,
    ) -> Result<()> {
        let event: Event = serde_json::from_str(text).with_context(|| format!("not an event: {text}"))?;
        stay.log.take(&event, text)?;
        stay.frames += 1;
        match &*event.kind {
            "room.joined" => *replayed = event.last.unwrap_or(event.seq),
            "error" => bail!("refused: {}", event.error.unwrap_or_default()),
            "ack" => unheard.retain(|(id, _)| Some(id) != event.event_id.as_ref()),
            "message.created" if event.seq > *replayed => {
                let said = event
                    .message
                    .as_ref()
                    .and_then(|message| message["text"].as_str())
                    .and_then(|text| text.split_once(' ')?.0.parse::<u128>().ok());
                let said = said.context("a message without its time")?;
                let delay = self.began.elapsed().as_micros().saturating_sub(said);
                stay.delays.push(u32::try_from(delay).unwrap_or(u32::MAX));
            }
            _ => {}
        }
        Ok(())
    }

    async fn dawdle(self, mut course: watch::Receiver<Course>) -> Result<Stay> {
        let mut stay = Stay::default();
        let mut socket = self.connect(&stay.log).await?;
        loop {
            let Ok(frame) = timeout(PATIENCE, socket.next()).await else {
                bail!("a slow reader was not closed: nothing came for {PATIENCE:?}");
            };
            match frame.context("the server ended the connection without a close")? {
                Ok(Message::Text(text)) => {
                    let event: Event = serde_json::from_str(&text)?;
                    stay.log.take(&event, &text)?;
                    stay.frames += 1;
                }
                Ok(Message::Close(frame)) => {
                    stay.closed = Some(frame.context("closed without a code")?.code.into());
                    return Ok(stay);
                }
                Ok(_) => {}
                Err(error) => return Err(error).context("a slow reader was cut off without a code"),
            }
            let wait = async { while !course.borrow_and_update().over && course.changed().await.is_ok() {} };
            // The end of the slowness is no failure.
            let _ = timeout(Duration::from_secs(1), wait).await;
        }
    }
}

#[cfg(test)]
mod tests;
