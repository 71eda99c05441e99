//! The autoencoder of diffusers' pipelines.

mod fixture;
mod parity;
mod pauses;
mod refusals;
mod weights;
