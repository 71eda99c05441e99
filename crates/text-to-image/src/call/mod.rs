//! The call: a builder that can be awaited or streamed. It checks what it was told against the model, submits, and waits
//! for its ticket; dropping it cancels its job.

mod imagine;
mod options;
mod stream;

pub use imagine::Imagine;
pub(crate) use options::CallOptions;
pub use stream::DrawingStream;
