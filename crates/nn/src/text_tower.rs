//! The towers of CLIP and SigLIP that read texts: token ids in, rows and vectors out.

mod config;
mod huggingface;
mod pass;
mod tower;

pub use self::config::{TextArchitecture, TextPooling, TextTowerConfig};
pub use self::pass::TextPass;
pub use self::tower::TextTower;
