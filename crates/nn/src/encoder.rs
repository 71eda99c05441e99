//! A stack of transformer layers with norms before their halves, on rows of f32: what the towers of CLIP, SigLIP and DINOv2
//! have in common.
//!
//! It computes piece by piece, and every piece treats each row, or each sequence, by itself: results depend neither on
//! where it paused nor on what is computed beside.

mod activation;
mod attention;
mod config;
mod feed_forward;
mod layer;
mod linear;
mod norm;
mod run;

pub use self::activation::TowerActivation;
pub use self::config::{HiddenState, TowerOutputs};

pub(crate) use self::activation::geglu;
pub(crate) use self::attention::{Heads, Memory};
pub(crate) use self::config::{EncoderConfig, MOST_LAYERS, MOST_NUMBERS, Names, above_zero, check_size};
pub(crate) use self::feed_forward::FeedForward;
pub(crate) use self::layer::Loading;
pub(crate) use self::linear::{PackedLinear, table};
pub(crate) use self::norm::LayerNorm;
pub(crate) use self::run::{Encoder, Run};
