//! What goes over the wire, with OpenAI's names.

pub(super) mod client;
pub(super) mod fields;
pub(super) mod item;
pub(super) mod refusal;
pub(super) mod server;
pub(super) mod settings;

#[cfg(test)]
mod tests;
