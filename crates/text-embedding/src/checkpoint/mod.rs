//! What a model's folder says it is: configuration read and checked, tokenizer made ready, weights' headers looked at.
//!
//! Every field that changes the mathematics is obeyed or refused by name. Blocks; runs in the io lane.

mod bert_config;
mod cross_encoder;
mod encoder;
mod limits;
mod modules;
mod sentence_config;

pub(crate) use cross_encoder::{CrossEncoder, LoadedCrossEncoder};
pub(crate) use encoder::{Encoder, Head, LoadedEncoder, Network};
pub(crate) use sentence_config::is_cross_encoder;

use crate::error::Error;

/// A field or module that is not supported.
fn unsupported(place: impl Into<String>, what: impl Into<String>, supported: impl Into<String>) -> Error {
    Error::Unsupported { place: place.into(), what: what.into(), supported: supported.into() }
}

/// A contradiction.
fn contradiction(place: impl Into<String>, reason: impl Into<String>) -> Error {
    Error::Checkpoint { place: place.into(), reason: reason.into() }
}
