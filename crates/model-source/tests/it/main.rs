//! Sources, files, weights and the hub, through the public face.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should panic")]

mod folder;
mod gguf;
mod gguf_files;
mod hub;
mod hub_server;
mod language_tokenizer;
mod minilm;
mod models;
mod safetensors_files;
mod source;
mod weights;
