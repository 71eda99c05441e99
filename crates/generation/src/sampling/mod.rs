//! From a row of logits to a token.
//!
//! In this order: penalties and bias, the grammar's mask, temperature, top-k, top-p, min-p, and one draw. The draw's
//! randomness is a function of the seed, the position and the choice, so that it depends on no other sequence.

mod logprobs;
mod params;
mod random;
mod sampler;
#[cfg(test)]
mod tests;
mod truncation;

pub(crate) use logprobs::logprobs;
pub use params::SamplingParams;
pub(crate) use sampler::{Sampler, Unsampled};
