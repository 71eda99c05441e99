//! The mathematics: encoders, pooling, heads, static tables. Blocks; runs in steps and loads only.
//!
//! Owns weights; never a tokenizer, a queue or a file's name in a message of its own.

mod activation;
mod attention;
mod bert;
mod classifier;
mod dense;
mod layers;
mod pooling;
mod static_table;
mod vector;

pub(crate) use activation::Activation;
pub(crate) use bert::{Bert, BertConfig};
pub(crate) use classifier::{Classifier, ClassifierKind};
pub(crate) use dense::{Dense, DenseConfig};
pub(crate) use layers::Reader;
pub(crate) use pooling::pool;
pub(crate) use static_table::StaticTable;
pub(crate) use vector::normalize;
