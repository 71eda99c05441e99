//! Properties of the queue's pure parts.

mod admission;
mod conviction;
mod core;
mod cut;
mod door;
mod lease;
mod measures;
mod order;
