//! What the embed command writes: one JSON document, one JSON object a line, or a NumPy array.
//!
//! Owns formats and the way out; each format writes as results come and holds none of them back.

mod json;
mod jsonl;
mod npy;
mod sink;

use std::path::Path;

use clap::ValueEnum;
use serde_json::value::RawValue;

pub(crate) use sink::Sink;

use json::JsonDocument;
use jsonl::JsonLines;
use npy::NpyArray;

/// How embeddings are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// One document: {"model": "...", "embeddings": [[...]]}
    Json,
    /// One object a line, as results come.
    Jsonl,
    /// A NumPy array of f32, one row a text.
    Npy,
}

/// One result.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    /// Its position in the input, from 0.
    pub(crate) index: u64,
    /// What the input calls it.
    pub(crate) id: Option<&'a RawValue>,
    /// The vector, or why there is none.
    pub(crate) values: Result<&'a [f32], &'a str>,
}

/// A format with its way out.
#[derive(Debug)]
pub(crate) enum Output {
    Json(JsonDocument),
    Jsonl(JsonLines),
    Npy(NpyArray),
}

impl Output {
    /// Opens the file, or standard output where none is named, and writes what comes first.
    ///
    /// # Errors
    ///
    /// The file cannot be written, or the format needs one that can be gone back in.
    pub(crate) async fn open(format: Format, model: &str, out: Option<&Path>) -> anyhow::Result<Self> {
        Ok(match format {
            Format::Json => Self::Json(JsonDocument::begin(Sink::open(out).await?, model).await?),
            Format::Jsonl => Self::Jsonl(JsonLines::new(Sink::open(out).await?)),
            Format::Npy => Self::Npy(NpyArray::begin(Sink::open_seekable(out).await?).await?),
        })
    }

    /// Writes one result. Results come in the order of their input.
    ///
    /// # Errors
    ///
    /// The output cannot be written, or nobody reads it any more.
    pub(crate) async fn write(&mut self, record: Record<'_>) -> anyhow::Result<()> {
        match self {
            Self::Json(output) => output.write(record).await,
            Self::Jsonl(output) => output.write(record).await,
            Self::Npy(output) => output.write(record).await,
        }
    }

    /// Passes on what is buffered, where a reader can do something with it.
    ///
    /// # Errors
    ///
    /// As [`Output::write`].
    pub(crate) async fn flush(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Jsonl(output) => output.flush().await,
            Self::Json(_) | Self::Npy(_) => Ok(()),
        }
    }

    /// Writes what comes last, and everything buffered.
    ///
    /// # Errors
    ///
    /// As [`Output::write`].
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Json(output) => output.end().await,
            Self::Jsonl(output) => output.end().await,
            Self::Npy(output) => output.end().await,
        }
    }
}

/// A vector as a JSON array. Each number is the shortest text that reads back as the same f32.
fn append_values(line: &mut Vec<u8>, values: &[f32]) -> anyhow::Result<()> {
    Ok(serde_json::to_writer(line, values)?)
}
