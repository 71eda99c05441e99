//! The real binary: its command line, its server over sockets, its signals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on panics")]

mod bad_input;
mod commands;
mod embed;
mod process;
mod server;
mod shutdown;
mod slow_clients;
