//! The variational autoencoder between pictures and latents (diffusers' `AutoencoderKL`).

mod attention;
mod autoencoder;
mod config;
mod memory;
mod pass;
mod plan;
mod stack;
mod tiles;

pub use self::autoencoder::{Vae, VaeParts};
pub use self::config::VaeConfig;
pub use self::pass::VaePass;
