//! `candlepool embed`: texts in, vectors out, in the order of the input and in bounded memory.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Args;
use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt as _};
use pool_core::Engine;
use serde_json::value::RawValue;
use text_embedding::{Embedding, Ranker, TextEmbedding};

use super::input::{Input, InputArgs, Item, Raw};
use super::model::ModelArgs;
use crate::failure::{ItemsFailed, Usage, told};
use crate::output::{Format, Output, Record};
use crate::progress::ItemBar;

/// The arguments of `embed`.
#[derive(Args, Debug)]
pub(super) struct EmbedArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Cut vectors to so many components
    #[arg(long, value_name = "N")]
    dimensions: Option<usize>,
    /// How vectors are written
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    input: InputArgs,
}

/// So many texts are read ahead of the vectors written: enough to fill batches with texts of like length.
const ITEMS_AHEAD: usize = 512;
/// Texts read ahead hold at most so many bytes, unless one alone is longer.
const BYTES_AHEAD: usize = 16 << 20;

pub(super) async fn run(arguments: EmbedArgs) -> anyhow::Result<()> {
    if let (Some(input), Some(out)) = (&arguments.input.input, &arguments.out) {
        refuse_same_file(input, out).await?;
    }
    let mut input = Input::open(arguments.input).await?;
    let engine = Engine::builder().build()?;
    let name = arguments.model.to_string();
    let Ranker::Embedding(pool) = Box::pin(arguments.model.load(&engine)).await? else {
        bail!("model {name} is a cross-encoder, which makes no vectors; use it with candlepool rerank");
    };
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
    id: Option<Box<RawValue>>,
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
                    output.write(Record { index, id: id.as_deref(), values }).await?;
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
                    call.await.map_err(told)
                }
                Err(why) => Err(why),
            };
            Done { id, values, held, seen }
        })
    }
}
