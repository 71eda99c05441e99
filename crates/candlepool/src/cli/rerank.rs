//! `candlepool rerank`: texts in, the most relevant to a query first.

use std::sync::Arc;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use pool_core::Engine;
use serde::Serialize;
use serde_json::value::RawValue;

use super::input::{Input, InputArgs, Item};
use super::model::ModelArgs;
use crate::failure::one_line;
use crate::output::Sink;

/// The arguments of `rerank`.
#[derive(Args, Debug)]
pub(super) struct RerankArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// What the texts should be relevant to
    #[arg(long, value_name = "TEXT")]
    query: String,
    /// Tell only the most relevant so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top_n: Option<u32>,
    /// How the ranking is written
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    input: InputArgs,
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
    id: Option<&'a RawValue>,
    relevance_score: f32,
    document: &'a str,
}

/// A ranking needs all its texts at once, so that these are too many: of bytes, and of texts, each of which is a job.
const MOST_BYTES: usize = 1 << 30;
const MOST_TEXTS: usize = 100_000;

pub(super) async fn run(arguments: RerankArgs) -> anyhow::Result<()> {
    let mut input = Input::open(arguments.input).await?;
    let engine = Engine::builder().build()?;
    let (ids, texts) = read_all(&engine, &mut input).await?;
    let name = arguments.model.to_string();
    let ranker = Box::pin(arguments.model.load(&engine)).await?;
    let top = arguments.top_n.map_or(usize::MAX, |top| top as usize);
    let ranking = ranker.rerank(arguments.query, texts.iter().cloned()).top(top).wait(true).await?;
    let rows: Vec<Row<'_>> = ranking
        .iter()
        .map(|ranked| Row {
            index: ranked.index,
            id: ids[ranked.index].as_deref(),
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

type Texts = (Vec<Option<Box<RawValue>>>, Vec<Arc<str>>);

/// All texts of the input; one that cannot be read fails the ranking, which would be wrong without it.
async fn read_all(engine: &Engine, input: &mut Input) -> anyhow::Result<Texts> {
    let (mut ids, mut texts) = (Vec::new(), Vec::<Arc<str>>::new());
    let mut bytes = 0;
    while let Some((raw, _)) = input.next().await? {
        bytes += raw.bytes();
        if bytes > MOST_BYTES {
            return Err(anyhow!("the texts are larger than {} MiB in all; rank fewer", MOST_BYTES >> 20));
        }
        if texts.len() == MOST_TEXTS {
            return Err(anyhow!("the input has more than {MOST_TEXTS} texts; rank fewer"));
        }
        let Item { id, text } = raw.read(engine).await;
        let text = text.map_err(|why| anyhow!("text {}: {why}", texts.len()))?;
        ids.push(id);
        texts.push(text.into());
    }
    Ok((ids, texts))
}
