//! The crate through its public face: against Pillow and transformers, and against what nobody should send.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod config;
mod damage;
mod data_url;
mod decoding;
mod drawing;
mod drawn;
mod fixture;
mod header;
mod processing;
mod progressive;
mod resizing;
