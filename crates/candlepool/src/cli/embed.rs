//! `candlepool embed`: texts in, vectors out, in the order of the input and in bounded memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt as _};
use model_source::{Dtype, Source};
use pool_core::{Engine, GroupConfig};
use serde_json::Value;
use text_embedding::{Embedding, TextEmbedding};

use super::input::{Input, InputFormat, Item, Raw};
use crate::failure::{ItemsFailed, Usage, one_line};
use crate::output::{Format, Output, Record};
use crate::progress::{DownloadBar, ItemBar};
use crate::served::{Loading, Served};

/// The arguments of `embed`.
#[derive(Args, Debug)]
pub(super) struct EmbedArgs {
    /// The model: hf:owner/name, a folder, a .safetensors file, or builtin
    #[arg(long, value_name = "SOURCE", default_value = "builtin", value_parser = clap::value_parser!(Source))]
    model: Source,
    /// The numbers to compute with: auto, f32, f16, bf16 or int8
    #[arg(long, value_name = "DTYPE", default_value = "auto", value_parser = clap::value_parser!(Dtype))]
    dtype: Dtype,
    /// Cut vectors to so many components
    #[arg(long, value_name = "N")]
    dimensions: Option<usize>,
    /// How vectors are written
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Read texts from this file, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// What a line of the input is; jsonl for files so named, else lines
    #[arg(long, value_enum)]
    input_format: Option<InputFormat>,
    /// Texts to embed
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
}

/// So many texts are read ahead of the vectors written: enough to fill batches with texts of like length.
const ITEMS_AHEAD: usize = 512;
/// Texts read ahead hold at most so many bytes, unless one alone is longer.
const BYTES_AHEAD: usize = 16 << 20;

pub(super) async fn run(arguments: EmbedArgs) -> anyhow::Result<()> {
    let mut input = Input::open(arguments.texts, arguments.input.as_deref(), arguments.input_format).await?;
    if let (Some(input), Some(out)) = (&arguments.input, &arguments.out) {
        refuse_same_file(input, out).await?;
    }
    let engine = Engine::builder().build()?;
    let name = arguments.model.to_string();
    let pool = load(&engine, arguments.model, arguments.dtype).await?;
    if let Some(dimensions) = arguments.dimensions {
        // A wrong number would otherwise fail every text alone.
        let most = pool.info().full_dimensions;
        if !(1..=most).contains(&dimensions) {
            return Err(
                Usage::new(format!("--dimensions is {dimensions}; model {name} has 1 to {most}")).into()
            );
        }
    }
    // Opened only now: a model that does not load leaves the file of an earlier run as it was.
    let mut output = Output::open(arguments.format, &name, arguments.out.as_deref()).await?;
    let mut bar = ItemBar::new(input.size());
    let embedder = Embedder { engine, pool, dimensions: arguments.dimensions };
    let (done, failed) = embedder.all(&mut input, &mut output, &mut bar).await?;
    output.end().await?;
    if failed > 0 {
        return Err(ItemsFailed { failed, of: done }.into());
    }
    Ok(())
}

async fn load(engine: &Engine, source: Source, dtype: Dtype) -> anyhow::Result<TextEmbedding> {
    let name = source.to_string();
    let mut group = GroupConfig::new(name.as_str());
    // One caller, who waits as long as it takes.
    group.limits.max_wait = None;
    let loading = Loading { source, dtype, group, lazy: false, progress: Arc::new(DownloadBar::new()) };
    match Box::pin(Served::load(engine, loading)).await? {
        Served::Embedding(pool) => Ok(pool),
        Served::Reranker(_) => {
            anyhow::bail!(
                "model {name} is a cross-encoder, which makes no vectors; use it with candlepool rerank"
            )
        }
    }
}

/// Opening the output empties it, and with it an input that is the same file.
async fn refuse_same_file(input: &Path, out: &Path) -> anyhow::Result<()> {
    let real = |path: PathBuf| async move { tokio::fs::canonicalize(path).await.ok() };
    let (input, existing) = (real(input.to_owned()).await, real(out.to_owned()).await);
    if input.is_some() && input == existing && tokio::fs::metadata(out).await.is_ok_and(|out| out.is_file()) {
        return Err(Usage::new(format!(
            "--input and --out are both {}; write to another file",
            out.display()
        ))
        .into());
    }
    Ok(())
}

struct Embedder {
    engine: Engine,
    pool: TextEmbedding,
    dimensions: Option<usize>,
}

/// A text's end, and what it held of memory and of the input.
struct Done {
    id: Option<Value>,
    values: Result<Embedding, String>,
    held: usize,
    seen: u64,
}

impl Embedder {
    /// Embeds all items; gives how many there were and how many failed.
    async fn all(
        &self,
        input: &mut Input,
        output: &mut Output,
        bar: &mut ItemBar,
    ) -> anyhow::Result<(u64, u64)> {
        let mut ahead: FuturesOrdered<BoxFuture<'static, Done>> = FuturesOrdered::new();
        let (mut held, mut index, mut failed) = (0, 0, 0);
        let (mut ended, mut buffered) = (false, false);
        loop {
            let room = !ended && (ahead.is_empty() || (ahead.len() < ITEMS_AHEAD && held < BYTES_AHEAD));
            tokio::select! {
                biased;
                Some(done) = ahead.next(), if !ahead.is_empty() => {
                    let Done { id, values, held: freed, seen } = done;
                    held -= freed;
                    failed += u64::from(values.is_err());
                    let values = values.as_ref().map(|embedding| &embedding[..]).map_err(String::as_str);
                    output.write(Record { index, id: id.as_ref(), values }).await?;
                    buffered = true;
                    index += 1;
                    bar.done(seen);
                }
                read = input.next(), if room => match read? {
                    Some((raw, seen)) => {
                        held += raw.bytes();
                        ahead.push_back(self.one(raw, seen));
                    }
                    None => ended = true,
                },
                // Nothing is ready, so whoever reads the output gets what there is.
                () = std::future::ready(()), if buffered => {
                    output.flush().await?;
                    buffered = false;
                }
                else => break,
            }
        }
        Ok((index, failed))
    }

    /// One item, to its end. Owns all it needs.
    fn one(&self, raw: Raw, seen: u64) -> BoxFuture<'static, Done> {
        let (engine, pool, dimensions) = (self.engine.clone(), self.pool.clone(), self.dimensions);
        Box::pin(async move {
            let held = raw.bytes();
            let Item { id, text } = raw.read(&engine).await;
            let values = match text {
                Ok(text) => {
                    let call = pool.embed(text).wait(true);
                    let call = match dimensions {
                        Some(dimensions) => call.dimensions(dimensions),
                        None => call,
                    };
                    call.await.map_err(one_line)
                }
                Err(why) => Err(why),
            };
            Done { id, values, held, seen }
        })
    }
}
