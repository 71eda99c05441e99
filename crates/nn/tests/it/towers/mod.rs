//! The towers of CLIP, SigLIP and DINOv2.

mod fixture;
mod parity;
mod pauses;
mod refusals;
mod weights;
