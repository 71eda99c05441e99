//! `candlepool rerank`: texts in, the most relevant to a query first.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use model_source::{Dtype, Source};
use pool_core::{Engine, GroupConfig};
use serde::Serialize;
use text_embedding::Ranking;

use super::input::{Input, InputFormat, Item};
use crate::failure::one_line;
use crate::output::Sink;
use crate::progress::DownloadBar;
use crate::served::{Loading, Served};

/// The arguments of `rerank`.
#[derive(Args, Debug)]
pub(super) struct RerankArgs {
    /// The model: a cross-encoder, or an embedding model, which ranks by likeness
    #[arg(long, value_name = "SOURCE", default_value = "builtin", value_parser = clap::value_parser!(Source))]
    model: Source,
    /// The numbers to compute with: auto, f32, f16, bf16 or int8
    #[arg(long, value_name = "DTYPE", default_value = "auto", value_parser = clap::value_parser!(Dtype))]
    dtype: Dtype,
    /// What the texts should be relevant to
    #[arg(long, value_name = "TEXT")]
    query: String,
    /// Tell only the most relevant so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top_n: Option<u32>,
    /// How the ranking is written
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Read texts from this file, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// What a line of the input is; jsonl for files so named, else lines
    #[arg(long, value_enum)]
    input_format: Option<InputFormat>,
    /// Texts to rank
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
}

/// How a ranking is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Format {
    /// A line each: score, index and text, with tabs between
    Text,
    /// One document: {"model": "...", "results": [{"index", "relevance_score", "document"}]}
    Json,
}

/// The document of `--format json`.
#[derive(Serialize)]
struct Document<'a> {
    model: &'a str,
    results: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a serde_json::Value>,
    relevance_score: f32,
    document: &'a str,
}

/// A ranking needs all its texts at once, so that these are too many.
const MOST_BYTES: usize = 1 << 30;

pub(super) async fn run(arguments: RerankArgs) -> anyhow::Result<()> {
    let mut input = Input::open(arguments.texts, arguments.input.as_deref(), arguments.input_format).await?;
    let engine = Engine::builder().build()?;
    let (ids, texts) = read_all(&engine, &mut input).await?;
    let name = arguments.model.to_string();
    let mut group = GroupConfig::new(name.as_str());
    // One caller, who waits as long as it takes.
    group.limits.max_wait = None;
    let loading = Loading {
        source: arguments.model,
        dtype: arguments.dtype,
        group,
        lazy: false,
        progress: Arc::new(DownloadBar::new()),
    };
    let served = Box::pin(Served::load(&engine, loading)).await?;
    let top = arguments.top_n.map_or(usize::MAX, |top| top as usize);
    let ranking: Ranking = match served {
        Served::Embedding(pool) => {
            pool.rerank(arguments.query, texts.iter().cloned()).top(top).wait(true).await?
        }
        Served::Reranker(pool) => {
            pool.rerank(arguments.query, texts.iter().cloned()).top(top).wait(true).await?
        }
    };
    let rows: Vec<Row<'_>> = ranking
        .iter()
        .map(|ranked| Row {
            index: ranked.index,
            id: ids[ranked.index].as_ref(),
            relevance_score: ranked.score,
            document: &texts[ranked.index],
        })
        .collect();
    let written = match arguments.format {
        Format::Json => {
            let mut document = serde_json::to_vec(&Document { model: &name, results: rows })?;
            document.push(b'\n');
            document
        }
        Format::Text => rows.iter().flat_map(|row| line(row).into_bytes()).collect(),
    };
    let mut sink = Sink::open(None).await?;
    sink.write(&written).await?;
    sink.flush().await
}

fn line(row: &Row<'_>) -> String {
    format!("{:.6}\t{}\t{}\n", row.relevance_score, row.index, one_line(row.document))
}

type Texts = (Vec<Option<serde_json::Value>>, Vec<Arc<str>>);

/// All texts of the input; one that cannot be read fails the ranking, which would be wrong without it.
async fn read_all(engine: &Engine, input: &mut Input) -> anyhow::Result<Texts> {
    let (mut ids, mut texts) = (Vec::new(), Vec::<Arc<str>>::new());
    let mut bytes = 0;
    while let Some((raw, _)) = input.next().await? {
        bytes += raw.bytes();
        if bytes > MOST_BYTES {
            return Err(anyhow!("the texts are larger than {} MiB in all; rank fewer", MOST_BYTES >> 20));
        }
        let Item { id, text } = raw.read(engine).await;
        let text = text.map_err(|why| anyhow!("text {}: {why}", texts.len()))?;
        ids.push(id);
        texts.push(text.into());
    }
    Ok((ids, texts))
}
