//! What latent diffusion computes: convolutions and norms of feature maps, and what is built of them.
//!
//! Numbers of maps stand channels-last, `[maps, height, width, channels]`: what is computed of a position is then a product
//! with rows, and a map is a sequence of rows for attention. Work goes piece by piece; results depend neither on where it
//! paused nor on the maps beside.

mod conv;
mod group_norm;
mod maps;
mod resnet;
mod sampling;
mod time;
mod transformer;
mod unet;
mod vae;

pub(crate) use self::conv::{Conv2d, ConvShape, Padding, Start};
pub(crate) use self::group_norm::GroupNorm;
pub(crate) use self::maps::{MapSize, Part};
pub(crate) use self::resnet::{NormShape, NormedConv, NormedRun, ResnetBlock, ResnetRun, ResnetShape};
pub(crate) use self::sampling::{ConvRun, Resampler};
pub use self::time::guidance_embedding;
pub use self::unet::{
    AddedConditions, AddedConfig, Unet, UnetConfig, UnetInput, UnetLevel, UnetMiddle, UnetPass, Waves,
};
pub use self::vae::{Vae, VaeConfig, VaeParts, VaePass};
