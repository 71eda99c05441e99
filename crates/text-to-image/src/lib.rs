//! Text to image as an async pool: Stable Diffusion, queued, scheduled, streamed, cancellable in the middle of a pass.
//!
//! [`TextToImage`] runs pipelines in the layout of diffusers. Prompts are tokenised and pictures decoded on the engine's prepare
//! lane; text encoders, UNet and VAE are computed on its step lane in pieces of a tenth of a second, never on a runtime thread. A
//! picture that was begun is finished before another is begun, unless that one is more urgent.
//!
//! ```no_run
//! use futures::StreamExt as _;
//! use text_to_image::{DrawingEvent, EncodedImage, TextToImage};
//!
//! # async fn example() -> Result<(), text_to_image::Error> {
//! let pool = TextToImage::load("hf:stable-diffusion-v1-5/stable-diffusion-v1-5").await?;
//! let drawing = pool.imagine("a red fox in the snow").steps(20).seed(1).await?;
//! drawing.pictures[0].save("fox.png").await?;
//!
//! let fox = EncodedImage::open("fox.png").await?;
//! let mut stream = pool.edit(&fox, "a blue fox in the snow").strength(0.6).previews(true).stream().await?;
//! while let Some(event) = stream.next().await {
//!     match event? {
//!         DrawingEvent::Step(step) => println!("{} of {}", step.step, step.steps),
//!         DrawingEvent::Done(drawing) => drawing.pictures[0].save("blue.png").await?,
//!         _ => {}
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is understood
//!
//! - Stable Diffusion 1.x and 2.x (epsilon and v-prediction), SDXL, the turbo and consistency (LCM) models made of them, and
//!   their inpainting models; image-to-image and inpainting with all of them. Weights in f32, f16 or bf16 safetensors, by
//!   component or in one file of the original naming beside the pipeline's configurations; computed in f32.
//! - `scheduler_config.json` of DDIM, PNDM, Euler, Euler ancestral, DPM-Solver multistep, LCM and UniPC.
//! - Tokenizers as `tokenizer.json` or as `vocab.json` and `merges.txt`.
//!
//! The same seed gives the picture that diffusers gives with a generator on the CPU, to one level of 255.
//!
//! # What never happens here
//!
//! No configuration field that changes the mathematics is ignored: what is not supported is refused by name. Pickle files
//! are never read. Finished pictures are neither judged nor marked: a pipeline's safety checker is not run. Which tensor library
//! computes does not show.

mod call;
mod checkpoint;
mod drawing;
mod error;
#[cfg(test)]
mod fixture;
mod info;
mod load;
mod model;
mod noise;
mod picture;
mod prompt;
mod scheduler;
mod text_to_image;

pub use call::{DrawingStream, Imagine};
pub use drawing::{Drawing, DrawingEvent, DrawingStep, Parameters};
pub use error::Error;
pub use imaging::{EncodedImage, ImagingError, Limits};
pub use info::{Architecture, ModelInfo};
pub use load::{Load, usual_limits};
pub use model::{ImagineRequest, TextToImageModel};
pub use model_source::{DeviceChoice, Dtype, HubOptions, IntoSource, Progress, Source, SourceError};
pub use noise::NoiseDtype;
pub use picture::{Picture, PictureFormat, UnknownFormat};
pub use pool_core::{Deadline, Engine, GroupConfig, GroupStats, ModelId, Principal, Priority};
pub use text_to_image::TextToImage;
