//! Whole-system tests through the public face.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on panics")]

mod bad_input;
mod binary;
mod chat_clients;
mod chat_load;
mod connection;
mod drawings;
mod hub;
#[path = "../../../crates/model-source/tests/it/hub_server.rs"]
#[allow(dead_code, reason = "its own crate's tests ask more of it")]
mod hub_server;
#[cfg(unix)]
mod load;
#[cfg(target_os = "linux")]
mod memory;
mod models;
mod node;
mod openai_client;
mod page;
mod pictures;
mod python;
mod random;
#[cfg(unix)]
mod realtime;
mod server;
mod turns;
mod vision_models;
