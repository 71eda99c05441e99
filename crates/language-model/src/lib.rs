//! What the modalities that write text share: a language model's files, requests, calls, decoder and cache.
//!
//! A modality is a [`Modality`]: a name and, if it reads pictures, a [`Vision`] that does. Everything else is here and
//! generic over it: [`LanguageModel`] is what callers hold, [`Load`] brings it into an engine, [`Chat`], [`Complete`] and
//! [`CompleteAll`] are its calls. The modalities give these names of their own, and nobody else needs this crate.
//!
//! ```no_run
//! use language_model::{LanguageModel, Message, Modality, NoVision};
//!
//! #[derive(Clone, Debug)]
//! enum Poetry {}
//!
//! impl Modality for Poetry {
//!     const NAME: &'static str = "poetry";
//!     type Vision = NoVision;
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), language_model::Error> {
//! let pool = LanguageModel::<Poetry>::load("hf:HuggingFaceTB/SmolLM2-135M-Instruct").await?;
//! println!("{}", pool.chat([Message::user("A poem, please.")]).max_tokens(64).await?.text());
//! # Ok(())
//! # }
//! ```
//!
//! # What never happens here
//!
//! No configuration field that changes the mathematics is ignored: what is not supported is refused by name. Nothing
//! heavy runs on a runtime thread. No picture is decoded, resized or encoded here: that is the modality's.

mod call;
mod checkpoint;
mod error;
mod info;
mod language_model;
mod load;
mod message;
mod modality;
mod model;
mod vision;

pub use call::{Chat, Complete, CompleteAll, GenerationStream, Prompt, ResponseFormat, ToolChoice};
pub use error::Error;
pub use generation::{
    Choice, Delta, FinishReason, Generation, Logprobs, Occupancy, Tool, ToolCall, ToolFormat, Usage, Written,
};
pub use info::{Defaults, ModelInfo};
pub use language_model::LanguageModel;
pub use load::Load;
pub use message::Message;
pub use modality::{Modality, NoVision, PictureOf, ReadsPictures};
pub use model::{CachedDecoder, PooledModel, Request};
pub use model_source::{DeviceChoice, Dtype, HubOptions, IntoSource, Progress, Source, SourceError};
pub use pool_core::{Bytes, Deadline, Engine, GroupConfig, GroupStats, ModelId, Principal, Priority};
pub use vision::{Picture, RenderedSpecial, TowerError, Vision, VisionFiles, VisionTower};
