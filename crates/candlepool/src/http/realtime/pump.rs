//! A socket and a connection, and what goes between them.
//!
//! One task a socket, which waits for nobody but its own client: the owner at the other end hands frames over without waiting,
//! and is told by the connection's ends being dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chat_realtime::delivery::{CloseCode, Connection, Inbound, Out, Receiver};
use futures::FutureExt as _;
use futures::sink::{Sink, SinkExt as _};
use futures::stream::{Stream, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};

#[cfg(test)]
mod tests;

/// What a socket may take, in bytes and in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SocketLimits {
    /// The longest message of a client, in bytes.
    pub(crate) message: usize,
    /// A client is asked whether it is there so often.
    pub(crate) ping_interval: Duration,
    /// And has so long to answer.
    pub(crate) pong_timeout: Duration,
    /// How long a client may take to read what is sent at once.
    pub(crate) write_timeout: Duration,
}

/// What is read at once, for each socket: there may be thousands, most of which say little.
const READ_BUFFER: usize = 4 << 10;
/// So much is handed to the system at once, if so much waits.
const BATCH: usize = 64 << 10;
/// A client that is told of the end has so long to hear it; one that reads slowly, as long as for a write.
const FAREWELL: Duration = Duration::from_secs(2);
/// Of a message that was too long, so much more is read, for the client to hear why it is closed: one that is still sending
/// does not read.
const MOST_READ_AWAY: u64 = 64 << 20;
/// What fits a close frame beside its code.
const LONGEST_REASON: usize = 123;

impl SocketLimits {
    pub(super) fn socket(&self) -> WebSocketConfig {
        WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(BATCH / 2)
            .max_message_size(Some(self.message))
            .max_frame_size(Some(self.message))
    }
}

/// Why a socket has come to its end.
#[derive(Debug)]
enum End {
    /// Nobody is at its other end any more.
    Gone,
    /// It is closed from here, in order.
    Closed(CloseCode),
    /// The client has broken the protocol: nothing it sends can be read any more.
    Broken { code: u16, reason: String },
}

impl End {
    fn of(error: &Error, longest: usize) -> Self {
        match error {
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                Self::Broken { code: 1009, reason: format!("a message may have {longest} bytes") }
            }
            Error::Utf8(_) => Self::Broken { code: 1007, reason: "text must be UTF-8".to_owned() },
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Gone,
            Error::Protocol(error) => {
                let mut reason = error.to_string();
                reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
                Self::Broken { code: 1002, reason }
            }
            _ => Self::Gone,
        }
    }
}

/// Carries a connection until one of its ends is gone.
pub(super) async fn pump<S>(socket: WebSocketStream<S>, connection: Connection, limits: SocketLimits)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Connection { incoming, mut outgoing } = connection;
    let (mut sink, mut stream) = socket.split();
    let heard = AtomicBool::new(true);
    let end = {
        let reading = read(&mut stream, &incoming, &heard, limits.message);
        let writing = write(&mut sink, &mut outgoing, &incoming, &heard, limits);
        tokio::select! {
            end = reading => end,
            end = writing => end,
        }
    };
    tracing::debug!(?end, "a WebSocket ended");
    // The owner hears of it before the client has heard all.
    drop((incoming, outgoing));
    let Ok(socket) = sink.reunite(stream) else { return };
    let farewell = match end {
        End::Closed(CloseCode::Slow) => FAREWELL.max(limits.write_timeout),
        _ => FAREWELL,
    };
    let told = async {
        match end {
            End::Gone => {}
            End::Closed(code) => take_leave(socket, code.number(), code.reason(), false).await,
            End::Broken { code, reason } => take_leave(socket, code, &reason, true).await,
        }
    };
    // Who does not listen does not hear why.
    let _ = timeout(farewell, told).await;
}

/// Reads what the client sends. Pings are answered by the socket itself.
async fn read(
    stream: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
    incoming: &mpsc::Sender<Inbound>,
    heard: &AtomicBool,
    longest: usize,
) -> End {
    loop {
        let message = match stream.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => return End::of(&error, longest),
            None => return End::Gone,
        };
        heard.store(true, Ordering::Relaxed);
        let inbound = match message {
            Message::Text(text) => Inbound::Text(Bytes::from(text)),
            Message::Binary(bytes) => Inbound::Binary { bytes: bytes.len() },
            // After a close, the next read answers it and finds the end.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_) => continue,
        };
        // An owner that has gone has said why, or the writer does.
        let _ = incoming.send(inbound).await;
    }
}

/// Writes what the owner sends, and asks now and then whether the client is there.
async fn write(
    sink: &mut (impl Sink<Message, Error = Error> + Unpin),
    outgoing: &mut Receiver,
    incoming: &mpsc::Sender<Inbound>,
    heard: &AtomicBool,
    limits: SocketLimits,
) -> End {
    let mut beat = Instant::now() + limits.ping_interval;
    let mut asked = false;
    loop {
        let out = tokio::select! {
            out = next(outgoing, incoming) => out,
            () = sleep_until(beat) => {
                if !asked {
                    heard.store(false, Ordering::Relaxed);
                    match timeout(limits.write_timeout, sink.send(Message::Ping(Bytes::new()))).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => return End::of(&error, limits.message),
                        Err(_) => return End::Closed(CloseCode::Slow),
                    }
                    beat = Instant::now() + limits.pong_timeout;
                } else if heard.load(Ordering::Relaxed) || incoming.capacity() == 0 {
                    // Where the owner is behind, the client's answer may wait to be read.
                    beat = Instant::now() + limits.ping_interval;
                } else {
                    return End::Closed(CloseCode::NoPong);
                }
                asked = !asked;
                continue;
            }
        };
        let text = match out {
            Out::Frame(text) => text,
            Out::Close(code) => return End::Closed(code),
        };
        match timeout(limits.write_timeout, send(sink, text, outgoing)).await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(code))) => return End::Closed(code),
            Ok(Err(error)) => return End::of(&error, limits.message),
            Err(_) => return End::Closed(CloseCode::Slow),
        }
    }
}

/// What is to be sent next. An owner that goes without a word, as after a panic, has failed.
async fn next(outgoing: &mut Receiver, incoming: &mpsc::Sender<Inbound>) -> Out {
    tokio::select! {
        biased;
        out = outgoing.next() => out,
        () = incoming.closed() => outgoing.next().now_or_never().flatten(),
    }
    .unwrap_or(Out::Close(CloseCode::Internal))
}

/// Sends a frame, and those that wait behind it, up to a batch; gives the close that comes next, if one does.
async fn send(
    sink: &mut (impl Sink<Message, Error = Error> + Unpin),
    first: Arc<str>,
    outgoing: &mut Receiver,
) -> Result<Option<CloseCode>, Error> {
    let mut sent = first.len();
    let mut closed = None;
    sink.feed(Message::text(&*first)).await?;
    while sent < BATCH {
        match outgoing.next().now_or_never().flatten() {
            Some(Out::Frame(text)) => {
                sent += text.len();
                sink.feed(Message::text(&*text)).await?;
            }
            Some(Out::Close(code)) => {
                closed = Some(code);
                break;
            }
            None => break,
        }
    }
    sink.flush().await?;
    Ok(closed)
}

/// Says why it is over, and waits for the client to have heard it.
async fn take_leave<S>(mut socket: WebSocketStream<S>, code: u16, reason: &str, broken: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame { code: code.into(), reason: reason.into() };
    if socket.close(Some(frame)).await.is_err() {
        return;
    }
    if broken {
        // Where its messages begin and end is not known any more.
        let stream = socket.get_mut();
        if stream.shutdown().await.is_ok() {
            let _ = tokio::io::copy(&mut stream.take(MOST_READ_AWAY), &mut tokio::io::sink()).await;
        }
        return;
    }
    while let Some(Ok(_)) = socket.next().await {}
}
