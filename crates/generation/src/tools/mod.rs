//! Tools a model may call: what they are, how each family of models writes a call, and how calls are read from an
//! answer.

mod definition;
mod format;
mod parser;
#[cfg(test)]
mod tests;

pub use definition::{Tool, ToolCall, ToolUse, Tools};
pub use format::ToolFormat;
pub(crate) use parser::ToolParser;
