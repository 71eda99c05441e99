//! Bodies that nobody wants: read on for a while after the answer.
//!
//! A client that is still sending does not read. Were the connection closed at once, the answer that says why would be
//! lost with it: the system throws away what was sent to a peer whose data was not read. So what is left of a refused
//! body is read and thrown away, within bounds, while the answer is on its way.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// For so long at most.
const LONGEST: Duration = Duration::from_secs(10);
/// And so much.
const MOST: usize = 256 << 20;

/// A request's body whose rest is read when it is dropped.
pub(crate) struct LingeringBody {
    body: Body,
    tracker: TaskTracker,
}

impl LingeringBody {
    pub(crate) fn new(body: Body, tracker: TaskTracker) -> Self {
        Self { body, tracker }
    }
}

impl HttpBody for LingeringBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for LingeringBody {
    fn drop(&mut self) {
        let body = std::mem::take(&mut self.body);
        if body.is_end_stream() {
            return;
        }
        // Outside of the runtime there is no connection left either.
        if let Ok(runtime) = Handle::try_current() {
            self.tracker.spawn_on(read_away(body), &runtime);
        }
    }
}

/// Reads until the end, the client's departure, or a bound.
async fn read_away(mut body: Body) {
    let read = async {
        let mut left = MOST;
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                break;
            }
        }
    };
    // Past the bound, the connection is closed with whatever is still coming.
    let _ = tokio::time::timeout(LONGEST, read).await;
}
