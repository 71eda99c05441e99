//! Image embedding as an async pool: pictures as vectors, texts in the same space, and zero-shot classification.
//!
//! [`ImageEmbedding`] runs CLIP, SigLIP and DINOv2 checkpoints. Pictures are decoded and made ready on the engine's prepare
//! lane and computed on its step lane, never on a runtime thread: some hundred patches at a time share the matrix products,
//! and a large model's pass over them pauses between half layers, so that cancellation, priorities and deadlines act within
//! a step.
//!
//! ```no_run
//! use image_embedding::{EncodedImage, ImageEmbedding};
//!
//! # async fn example() -> Result<(), image_embedding::Error> {
//! let pool = ImageEmbedding::load("hf:openai/clip-vit-base-patch32").await?;
//! let cat = EncodedImage::open("cat.jpg").await?;
//! let picture = pool.embed_image(&cat).await?;
//! let text = pool.embed_text("a cat on a sofa").await?;
//! // Vectors have length 1, so their product is their cosine.
//! let cosine: f32 = picture.iter().zip(text.iter()).map(|(a, b)| a * b).sum();
//! let best = &pool.classify(&cat, ["a cat", "a dog"]).await?[0];
//! # let _ = (cosine, best);
//! # Ok(())
//! # }
//! ```
//!
//! # What is understood
//!
//! - `clip` and `siglip` checkpoints in the layout of transformers, both towers; `clip_vision_model` and
//!   `siglip_vision_model`, without texts; `dinov2` and `dinov2_with_registers`, whose vector is the normed class token.
//! - `preprocessor_config.json`, or the image processor in `processor_config.json`; `tokenizer.json`.
//! - JPEG, PNG, WebP, GIF (its first frame), BMP and TIFF.
//!
//! # What never happens here
//!
//! No configuration field that changes the mathematics is ignored: what is not supported is refused by name. Nothing heavy
//! runs on a runtime thread. Nothing is fetched for a caller. Which tensor library computes does not show.

mod call;
mod checkpoint;
mod embedding;
mod error;
mod info;
mod load;
mod model;

pub use call::{Classified, Classify, Embed, EmbedAll, Input};
pub use embedding::{Embedding, ImageEmbedding};
pub use error::Error;
pub use imaging::{EncodedImage, ImagingError, Limits};
pub use info::{Architecture, ModelInfo};
pub use load::Load;
pub use model::{EmbedRequest, ImageEmbeddingModel};
pub use model_source::{DeviceChoice, Dtype, HubOptions, IntoSource, Progress, Source, SourceError};
pub use pool_core::{Deadline, Engine, GroupConfig, GroupStats, ModelId, Principal, Priority};
