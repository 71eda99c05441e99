//! Connections: accepting them within a bound, and ending them in good order.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::stall::StallGuard;

/// After an accept that failed for want of something (files, memory), it is tried again after so long.
const PAUSE: Duration = Duration::from_millis(100);

/// So much of a connection's data is read at once, and so long may a request's head be. By default it would be three times that:
/// longer than it should take before others have a turn.
const MOST_BUFFERED: usize = 128 << 10;

/// Who is at the other end of a request's connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// A listener that is bound.
#[derive(Debug)]
pub(crate) struct Listening {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listening {
    /// Binds to an address, or a host's name, and a port.
    ///
    /// # Errors
    ///
    /// The address is none, is taken, or is not this machine's.
    pub(crate) async fn bind(address: &str) -> anyhow::Result<Self> {
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok::<_, io::Error>(Self { listener, address })
        };
        bound.await.map_err(|error| {
            let advice = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "another process listens there; choose another port with --listen"
                }
                io::ErrorKind::PermissionDenied => {
                    "ports below 1024 need privileges; choose another with --listen"
                }
                _ => "write HOST:PORT, such as 127.0.0.1:8080",
            };
            let told = format!("cannot listen on {address}: {error}; {advice}");
            anyhow!(error).context(told)
        })
    }

    /// Where it listens; the port is a real one even if 0 was asked for.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Every connection of the server.
///
/// HTTP/1.1 alone: clients speak HTTP/2 over TLS only, which a proxy ends.
#[derive(Debug)]
pub(crate) struct Connections {
    room: Arc<Semaphore>,
    header_timeout: Duration,
    /// How long a client may not read its answer.
    write_timeout: Duration,
    tasks: TaskTracker,
    /// Answers that are being written.
    answers: TaskTracker,
    /// Connections finish the request at hand and close.
    closing: CancellationToken,
}

impl Connections {
    pub(crate) fn new(most: usize, header_timeout: Duration, write_timeout: Duration) -> Self {
        Self {
            room: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            header_timeout,
            write_timeout,
            tasks: TaskTracker::new(),
            answers: TaskTracker::new(),
            closing: CancellationToken::new(),
        }
    }

    /// Accepts until it is dropped. A connection too many waits in the system's queue.
    ///
    /// # Cancel safety
    ///
    /// A connection that is accepted is served, whenever this is dropped.
    pub(crate) async fn accept(&self, listening: &Listening, router: Router) {
        loop {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
                return;
            };
            match listening.listener.accept().await {
                Ok((stream, peer)) => self.serve(stream, Peer(peer), router.clone(), permit),
                // The client has gone before it was accepted.
                Err(error) if is_clients(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream, peer: Peer, router: Router, permit: OwnedSemaphorePermit) {
        // Answers are written whole; waiting for more would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set a connection up");
        }
        let stream = StallGuard::new(stream, self.write_timeout, self.answers.clone());
        let mut http = http1::Builder::new();
        // Also how long a connection may be idle: the wait for the next head is the wait for a head.
        http.timer(TokioTimer::new()).header_read_timeout(self.header_timeout);
        http.max_buf_size(MOST_BUFFERED);
        let router = TowerToHyperService::new(router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.call(request)
        });
        // A WebSocket goes its own way from here, and is counted there.
        let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let closing = self.closing.clone();
        self.tasks.spawn(async move {
            let _permit = permit;
            let mut connection = pin!(connection);
            let ended = if closing.is_cancelled() {
                // It comes late, and is to hear why it is refused; that answer closes it.
                connection.await
            } else {
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = closing.cancelled() => {
                        connection.as_mut().graceful_shutdown();
                        connection.await
                    }
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection did not end well");
            }
        });
    }

    /// Lets every connection finish the request at hand: for so long whatever it does, and until the deadline while an
    /// answer is on its way to a client who reads slowly.
    pub(crate) async fn close(&self, within: Duration, deadline: Instant) {
        self.closing.cancel();
        self.tasks.close();
        self.answers.close();
        if tokio::time::timeout(within, self.tasks.wait()).await.is_ok() {
            return;
        }
        if tokio::time::timeout_at(deadline, self.answers.wait()).await.is_err() {
            tracing::warn!(answers = self.answers.len(), "answers are still being read; cutting them off");
        }
    }
}

fn is_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
