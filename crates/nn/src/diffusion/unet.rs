//! The UNet of Stable Diffusion: UNet2DConditionModel of diffusers.
//!
//! A plan of steps, each done in pieces of about a tenth of a second on two cores, with a stack of the maps that the way up
//! wants of the way down.

mod config;
mod diffusers;
mod memory;
mod model;
mod pass;
mod plan;

pub use self::config::{AddedConfig, UnetConfig, UnetLevel, UnetMiddle, Waves};
pub use self::model::{AddedConditions, Unet, UnetInput};
pub use self::pass::UnetPass;
