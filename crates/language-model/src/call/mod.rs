//! The calls: builders that can be awaited. Each submits what it was told, and waits for its tickets; dropping one
//! cancels its jobs.

mod chat;
mod complete;
mod complete_all;
mod options;
mod prompt;
mod response_format;
mod stream;

pub use chat::{Chat, ToolChoice};
pub use complete::Complete;
pub use complete_all::CompleteAll;
pub(crate) use options::{CallOptions, call_options};
pub use prompt::Prompt;
pub use response_format::ResponseFormat;
pub use stream::GenerationStream;
