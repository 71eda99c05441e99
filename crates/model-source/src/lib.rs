//! Where a model's files come from: the Hugging Face hub, a folder, a `.safetensors` or `.gguf` file, or the program
//! itself; and the tokenizer, the weights, the device and the number type that follow from them.
//!
//! A [`Source`] is a string that names a model. [`Source::resolve`] finds its files, downloading what the cache shared
//! with Python's `huggingface_hub` lacks, and gives [`ModelFiles`]: configuration and tokenizer by name. [`Weights`]
//! maps the safetensors files after checking their headers, [`Gguf`] does the same for a GGUF file, and
//! [`LanguageTokenizer`] turns text to tokens and back as either kind of model defines it.
//!
//! Resolving is asynchronous and light. Everything on [`ModelFiles`], [`Weights`], [`Gguf`] and [`LanguageTokenizer`]
//! that reads a file or works on a long text blocks, and is meant for a compute lane; this crate starts no thread and no
//! task.
//!
//! ```
//! use model_source::{HubOptions, Source, Wanted};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), model_source::SourceError> {
//! let source: Source = "no/such/folder".parse()?;
//! let wanted = Wanted::model("text-embedding");
//! let error = source.resolve(&wanted, &HubOptions::new("cache"), &()).await.unwrap_err();
//! assert!(error.to_string().starts_with("no/such/folder does not exist"));
//! # Ok(())
//! # }
//! ```

mod builtin;
mod device;
mod dtype;
mod error;
mod files;
mod folder;
mod gguf;
mod hub;
mod into_source;
mod json;
mod language_tokenizer;
mod mapped;
mod resolve;
mod shared_weights;
mod source;
mod wanted;
mod weights;

pub use device::DeviceChoice;
pub use dtype::Dtype;
pub use error::SourceError;
pub use files::{FileData, ModelFile, ModelFiles};
pub use gguf::{Gguf, GgufTensor};
pub use hub::{Freshness, HubOptions, Progress, Token, verify_blob};
pub use into_source::IntoSource;
pub use language_tokenizer::{LanguageTokenizer, Special, SpecialTokens};
pub use shared_weights::SharedWeights;
pub use source::{HubModel, RepoId, Source};
pub use wanted::Wanted;
pub use weights::{Piece, StoredDtype, StoredTensor, Weights, WeightsView};
