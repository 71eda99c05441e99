//! A future whose panic is an answer like any other, so that whoever joins its task knows whose it was.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use crate::compute::panic_message;

/// Runs a future to its end, or until it panics; then it gives what the panic said, and what the future held is dropped.
pub(super) async fn contained<F: Future>(future: F) -> Result<F::Output, Arc<str>> {
    let mut future = Box::pin(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
        Err(panic) => Poll::Ready(Err(panic_message(panic.as_ref()).into())),
    })
    .await
}
