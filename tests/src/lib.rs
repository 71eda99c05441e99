//! Whole-system tests of Candlepool through its public face: the `candlepool` binary, its command line, its HTTP
//! routes and its signals. The tests are in `tests/it`; this library is empty, as they need nothing from it.
//!
//! * `openai_client`: the official Python client against `candlepool serve`.
//! * `drawings`: the official Python client has pictures drawn and edited.
//! * `load`: many clients, a third of whom leave half-way, and a shutdown among them; every request is accounted for.
//! * `hub`: `hf:` sources against a local server that speaks the hub's routes, and Python's `huggingface_hub`.
//! * `bad_input`: checkpoints, lines and requests that are wrong in every way a seeded generator can think of.
//!
//! `cargo test -p e2e` builds the binary by itself. What needs Python makes its environment under `target/`.
