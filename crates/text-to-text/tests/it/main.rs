//! Language models through the public face: tiny ones with random weights, and a trained one where it has been fetched.

mod bad_input;
mod bad_model;
mod concurrency;
mod models;
mod reference;
mod smollm;
