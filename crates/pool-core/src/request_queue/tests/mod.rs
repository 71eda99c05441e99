//! Properties of the queue's pure parts.

mod admission;
mod conviction;
mod core;
mod cut;
mod door;
mod gauges;
mod lease;
mod order;
