//! UNets against diffusers, and against themselves.

mod fixture;
mod parity;
mod pauses;
mod refusals;
mod weights;
