//! How models are seen here: something that answers, and something that makes vectors.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::Stream;
use pool_core::{Principal, Priority};

/// A model that answers conversations.
pub trait Responder: Send + Sync + fmt::Debug + 'static {
    /// The model's name, as clients are told.
    fn model(&self) -> &str;

    /// Whether turns may hold pictures.
    fn sees(&self) -> bool;

    /// Begins an answer. The future resolves once the model has accepted it or refused it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, or the stream it gives, cancels the answer.
    fn respond(&self, prompt: Prompt) -> BoxFuture<'static, Result<Answer, ModelFailure>>;
}

/// A model that makes vectors of texts.
pub trait Embedder: Send + Sync + fmt::Debug + 'static {
    /// The vectors of these texts, in order, each of length 1 and of the same number of dimensions.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels it.
    fn embed(&self, texts: Vec<String>) -> BoxFuture<'static, Result<Vec<Vec<f32>>, ModelFailure>>;

    /// What the vectors of this model can be compared with: those of the same revision.
    fn revision(&self) -> &str;
}

/// An answer as it is written: pieces of text, then one [`Piece::End`], or an error.
pub type Answer = Pin<Box<dyn Stream<Item = Result<Piece, ModelFailure>> + Send>>;

/// What an answer is asked for.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// What the model is to be and do, ahead of the conversation.
    pub instructions: Option<Arc<str>>,
    /// The conversation, oldest first.
    pub turns: Vec<Turn>,
    /// The most tokens of the answer; `None`: as many as the model's context has room for.
    pub max_output_tokens: Option<u32>,
    /// How urgent it is.
    pub priority: Priority,
    /// On whose account it is computed.
    pub principal: Principal,
}

/// One turn of a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Turn {
    /// Whose it is.
    pub role: Role,
    /// What it says, in order.
    pub parts: Vec<Part>,
}

/// Whose a turn is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// The operator.
    System,
    /// A person.
    User,
    /// The model.
    Assistant,
}

/// A part of a turn.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Part {
    /// Text.
    Text(Arc<str>),
    /// A picture: the bytes of its file.
    Image(Bytes),
}

/// A piece of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// More text; never empty.
    Text(String),
    /// The end; nothing follows.
    End {
        /// Why it ended.
        finish: Finish,
        /// What it took.
        usage: Usage,
    },
}

/// Why an answer ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finish {
    /// The model had said all.
    Stop,
    /// There was no room for more tokens.
    Length,
}

/// What an answer took, in tokens.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Usage {
    /// Of the prompt.
    pub input_tokens: u64,
    /// Of those, the ones that were found in a cache.
    pub cached_tokens: u64,
    /// Of the answer.
    pub output_tokens: u64,
}

/// Why a model gave no answer, or no more of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct ModelFailure {
    /// What the caller can do about it.
    pub kind: FailureKind,
    /// One line: what, why, and what to do.
    pub message: String,
}

/// What can be done about a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// Ask again after so long.
    Overloaded {
        /// How long.
        retry_after: Duration,
    },
    /// Ask for something else: the prompt is too long, a picture cannot be read.
    Invalid,
    /// The model is at fault.
    Failed,
    /// The server is going.
    ShuttingDown,
}
