//! The real binary: its command line, its server over sockets, its signals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on panics")]

mod bad_input;
mod chat;
mod commands;
mod decoder;
mod describe;
mod embed;
mod embed_image;
mod generate;
mod imagine;
mod process;
mod server;
mod shutdown;
mod slow_clients;
#[cfg(target_os = "linux")]
mod terminal;
#[path = "../../../llava-vision/tests/it/tiny.rs"]
#[allow(dead_code, reason = "its own crate's tests ask more of it")]
mod vision_models;
