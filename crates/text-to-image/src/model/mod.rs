//! The model as the engine sees it: jobs on their way from a prompt to pictures, a piece at a time.

mod denoising;
mod edit;
mod finish;
mod loader;
mod memory;
mod preview;
mod request;
mod seed;
mod sharing;
mod text_to_image;
mod work;

pub(crate) use loader::ImagineLoader;
pub use request::ImagineRequest;
pub use text_to_image::TextToImageModel;
