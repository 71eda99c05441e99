//! Language tokenizers: against the reference implementations, on small vocabularies, and by their properties.

mod byte_pair;
mod properties;
mod reference;
mod sentence_piece;

use std::path::Path;

use model_source::{Gguf, HubOptions, LanguageTokenizer, ModelFiles, Source, SourceError, Wanted};

use crate::gguf_files::GgufFile;
use crate::models::model;

/// The files of a model's folder, without weights.
async fn files(folder: &Path) -> ModelFiles {
    let wanted = Wanted::without_weights("text-to-text");
    Source::Folder(folder.to_owned()).resolve(&wanted, &HubOptions::new("unused"), &()).await.unwrap()
}

/// The tokenizer of a folder with `tokenizer.json`.
async fn published(folder: &Path) -> LanguageTokenizer {
    LanguageTokenizer::from_files(&files(folder).await).unwrap()
}

/// The trained models that are GGUF files.
const GGUF: [(&str, &str); 2] = [
    ("SmolLM2-135M-Instruct", "SmolLM2-135M-Instruct.Q4_1.gguf"),
    ("gemma-3-270m", "gemma-3-270m-q4_k_m.gguf"),
];

/// The tokenizers of those that are there.
fn trained() -> impl Iterator<Item = (&'static str, LanguageTokenizer)> {
    GGUF.into_iter().filter_map(|(name, file)| {
        let opened = Gguf::open_path(&model(name)?.join(file)).unwrap();
        Some((name, LanguageTokenizer::from_gguf(&opened).unwrap()))
    })
}

/// The tokenizer of a file that was put together.
fn opened(file: &GgufFile) -> Result<LanguageTokenizer, SourceError> {
    let (_folder, path) = file.written();
    LanguageTokenizer::from_gguf(&Gguf::open_path(&path).unwrap())
}

/// Why a file has no tokenizer, without its name.
fn refusal(file: &GgufFile) -> String {
    let error = opened(file).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error.split_once("model.gguf ").unwrap().1.to_owned()
}
