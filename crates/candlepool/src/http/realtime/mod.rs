//! WebSockets: `GET /v1/realtime` and `GET /rooms/{name}`.
//!
//! Owns the transport: who may open a socket, how long a message may be, heartbeats, close codes, and the end of all of it in a
//! shutdown. What is said is the business of `chat-realtime`, whose connections are carried here.

mod admission;
mod embedder;
mod handshake;
mod pump;
mod query;
mod responder;
mod rooms;
mod sessions;
mod talk;

use std::time::Duration;

use axum::response::Response;
use chat_realtime::delivery::{CloseCode, Connection, Limits as OutboxLimits, outbox};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) use admission::AdmissionLimits;
pub(super) use admission::Admitted;
use admission::{Admission, Client, Refusal};
use embedder::PoolEmbedder;
pub(super) use handshake::Upgrade;
pub(crate) use pump::SocketLimits;
use responder::PoolResponder;
pub(super) use rooms::join;
pub(super) use sessions::open;
pub(crate) use talk::Talk;

use super::envelope::Terms;
use super::errors::ApiError;

/// Whether a path is answered by a WebSocket.
pub(super) fn is_socket(path: &str) -> bool {
    path == "/v1/realtime" || path.starts_with("/rooms/")
}

/// After the drain's deadline, what carries sockets gets so long to notice.
const LAST_TURN: Duration = Duration::from_millis(250);

/// Every WebSocket of the server.
#[derive(Debug)]
pub(crate) struct Sockets {
    limits: SocketLimits,
    admission: Admission,
    tasks: TaskTracker,
    /// Sessions end what they do, and close.
    closing: CancellationToken,
    /// The drain's deadline has passed: sockets are let go of.
    over: CancellationToken,
}

impl Sockets {
    pub(crate) fn new(limits: SocketLimits, admission: AdmissionLimits) -> Self {
        Self {
            limits,
            admission: Admission::new(admission),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            over: CancellationToken::new(),
        }
    }

    /// Cancelled when sessions are to end.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.closing.clone()
    }

    /// The longest message of a client, in bytes.
    fn longest_message(&self) -> usize {
        self.limits.message
    }

    /// Lets a client in, or answers it.
    ///
    /// # Errors
    ///
    /// The answer: 429 and 503 before there is a socket; a socket that is closed with its reason for a client that has too many,
    /// which a web page could not be told otherwise.
    pub(super) fn admit(
        &self,
        terms: &Terms,
        upgrade: Upgrade,
    ) -> Result<(Upgrade, Admitted), Box<Response>> {
        use axum::response::IntoResponse as _;
        let client = Client::of(&terms.caller, upgrade.peer());
        let refusal = match self.admission.admit(client, Instant::now()) {
            Ok(admitted) => return Ok((upgrade, admitted)),
            Err(refusal) => refusal,
        };
        Err(Box::new(match refusal {
            Refusal::TooFast { retry_after } => ApiError::overloaded(
                "too many connections were opened a second; open them less often, and keep them",
                retry_after,
            )
            .into_response(),
            Refusal::Server => ApiError::unavailable(
                "too_many_connections",
                "the server has as many WebSockets as it takes (realtime.max_connections); come back later",
                Duration::from_secs(5),
            )
            .into_response(),
            Refusal::Client => self.carry(upgrade, None, closed(CloseCode::TooManyConnections)),
        }))
    }

    /// Answers a handshake, and carries the connection over the socket that follows. A socket that is not counted is one that
    /// is closed at once.
    pub(super) fn carry(
        &self,
        upgrade: Upgrade,
        admitted: Option<Admitted>,
        connection: Connection,
    ) -> Response {
        let response = upgrade.response();
        let limits = self.limits;
        let over = self.over.clone();
        self.tasks.spawn(async move {
            let _admitted = admitted;
            let carried = async {
                match upgrade.socket(&limits).await {
                    Ok(socket) => pump::pump(socket, connection, limits).await,
                    Err(error) => tracing::debug!(%error, "a WebSocket's handshake did not end"),
                }
            };
            tokio::select! {
                () = carried => {}
                () = over.cancelled() => tracing::debug!("a WebSocket was let go of at the drain's deadline"),
            }
        });
        response
    }

    /// Runs what owns the other end of a connection, until it ends.
    pub(super) fn own(&self, owner: impl Future<Output = CloseCode> + Send + 'static) {
        self.tasks.spawn(async move {
            let code = owner.await;
            tracing::debug!(%code, "a session ended");
        });
    }

    /// Has every session end and waits for all of them and their sockets, until the deadline.
    pub(crate) async fn close(&self, deadline: Instant) {
        self.closing.cancel();
        self.tasks.close();
        if tokio::time::timeout_at(deadline, self.tasks.wait()).await.is_ok() {
            return;
        }
        tracing::warn!(sockets = self.tasks.len(), "WebSockets are still open at the drain's deadline");
        self.over.cancel();
        let _ = tokio::time::timeout(LAST_TURN, self.tasks.wait()).await;
    }

    /// Tasks that have not ended.
    #[cfg(test)]
    pub(super) fn tasks(&self) -> usize {
        self.tasks.len()
    }
}

/// A connection that says nothing but why it is closed.
fn closed(code: CloseCode) -> Connection {
    let (sender, outgoing) = outbox(OutboxLimits::default());
    sender.close(code);
    // Nobody reads: what comes is not waited for.
    let (incoming, _) = mpsc::channel(1);
    Connection { incoming, outgoing }
}
