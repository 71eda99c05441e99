//! The towers of CLIP, SigLIP and DINOv2 that see pictures: pixels in, rows and vectors out.

mod config;
mod embeddings;
mod huggingface;
mod pass;
mod pooling;
mod positions;
mod tower;

pub use self::config::{VisionArchitecture, VisionConfig};
pub(crate) use self::huggingface::{activation, check_part, finish};
pub use self::pass::{Pixels, VisionPass};
pub use self::tower::VisionTransformer;
