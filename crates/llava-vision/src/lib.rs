//! LLaVA as an async pool: conversations about pictures.
//!
//! [`LlavaVision`] runs LLaVA 1.5 and LLaVA-NeXT (1.6) models with Llama, Mistral and Qwen 2 language models. It is a language
//! model in every respect: sequences are batched token by token, streamed, cancelled, drawn and preempted as
//! `text-to-text`'s are. A picture takes the place of some hundred tokens in a prompt. Its tower computes it piece by piece
//! between the steps of those who write, so a large picture holds up nobody; a picture seen before is not computed again, and
//! what follows it in the cache is shared only by prompts with the very same picture.
//!
//! ```no_run
//! use futures::StreamExt as _;
//! use llava_vision::{LlavaVision, Message, Picture};
//! use serde_json::json;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), llava_vision::Error> {
//! let pool = LlavaVision::load("hf:llava-hf/llava-1.5-7b-hf").await?;
//! let photo = Picture::open("photo.jpg").await?;
//! println!("{}", pool.describe(&photo, "What is in this picture?").max_tokens(128).await?.text());
//!
//! let mut stream = pool.describe(&photo, "Where was it taken?").stream().await?;
//! while let Some(delta) = stream.next().await {
//!     print!("{}", delta?.text);
//! }
//!
//! // Several pictures: one for each part of type image, in their order.
//! let parts = json!([{"type": "image"}, {"type": "image"}, {"type": "text", "text": "What differs?"}]);
//! let other = Picture::open("other.png").await?;
//! let answer = pool.chat([Message::user(parts)]).pictures([&photo, &other]).await?;
//! # let _ = answer;
//! # Ok(())
//! # }
//! ```
//!
//! # What is understood
//!
//! - Checkpoints in the layout of transformers 4 and 5 (`llava-hf/...`), towers of CLIP and SigLIP, one or several of their
//!   layers with or without the class token, safetensors in f32, f16 or bf16.
//! - Language models in GGUF files, with what reads pictures from an mmproj file (llama.cpp's name for the tower and the
//!   projector) or from a checkpoint's folder: the source may be a folder that holds the language model and one
//!   `*mmproj*.gguf`, or [`Load::vision`](language_model::Load::vision) says where the rest is. Without a
//!   `preprocessor_config.json`, pictures are padded to a square as llama.cpp does.
//! - JPEG, PNG, WebP, GIF, BMP and TIFF pictures, resized as transformers' processors do it.
//!
//! # What never happens here
//!
//! Nothing is fetched from a network but the model. No configuration field that changes the mathematics is ignored: what is
//! not supported is refused by name. A text cannot take a picture's place: one that spells the image token is refused.

mod config;
mod grid;
mod llava_vision;
mod mmproj;
mod picture;
mod reader;
#[cfg(test)]
mod tests;
mod tower;
mod weights;

pub use imaging::{EncodedImage, Limits as PictureLimits};
pub use language_model::{
    Bytes, Choice, Deadline, Defaults, Delta, DeviceChoice, Dtype, Engine, Error, FinishReason, Generation,
    GenerationStream, GroupConfig, GroupStats, HubOptions, IntoSource, Logprobs, Message, ModelId, ModelInfo,
    Occupancy, Principal, Priority, Progress, Prompt, ResponseFormat, Source, SourceError, Tool, ToolCall,
    ToolChoice, ToolFormat, Usage, Written,
};
pub use llava_vision::{Chat, Complete, CompleteAll, Llava, LlavaModel, LlavaRequest, LlavaVision, Load};
pub use picture::Picture;
pub use reader::PictureReader;
pub use tower::{PicturePass, PictureTower};
