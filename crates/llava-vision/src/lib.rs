//! LLaVA as an async pool: conversations about pictures.

mod config;
mod grid;
mod mmproj;
mod names;
