//! `candlepool embed-image`: pictures in, vectors out, and texts in the same space behind them.

use std::path::PathBuf;

use clap::Args;
use futures::stream::{self, StreamExt as _};
use image_embedding::{Embedding, ImageEmbedding};
use imaging::EncodedImage;
use pool_core::Engine;
use tokio::sync::Semaphore;

use super::model::ImageModelArgs;
use crate::failure::{ItemsFailed, Usage, told};
use crate::output::{Format, Output, Record};

/// The arguments of `embed-image`.
#[derive(Args, Debug)]
pub(super) struct EmbedImageArgs {
    #[command(flatten)]
    model: ImageModelArgs,
    /// How vectors are written
    #[arg(long, value_enum, default_value = "json")]
    format: Format,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A text to embed in the space of the pictures; those of all texts follow those of the pictures
    #[arg(long = "text", value_name = "TEXT")]
    texts: Vec<String>,
    /// Pictures: JPEG, PNG, WebP, GIF, BMP or TIFF files
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
}

/// So many files are read ahead of the vectors written: enough to fill batches.
const ITEMS_AHEAD: usize = 32;
/// Files read ahead hold at most so many kilobytes, unless one alone is longer.
const KILOBYTES_AHEAD: u32 = 64 << 10;

/// What is embedded.
enum Item {
    Image(PathBuf),
    Text(String),
}

pub(super) async fn run(arguments: EmbedImageArgs) -> anyhow::Result<()> {
    let EmbedImageArgs { model, format, out, texts, images } = arguments;
    if images.is_empty() && texts.is_empty() {
        return Err(Usage::new("nothing to embed is given: write IMAGE, or --text TEXT").into());
    }
    let engine = Engine::builder().build()?;
    let pool = Box::pin(model.load(&engine)).await?;
    // Opened only now: a model that does not load leaves the file of an earlier run as it was.
    let mut output = Output::open(format, &model.to_string(), out.as_deref()).await?;
    let items = images.into_iter().map(Item::Image).chain(texts.into_iter().map(Item::Text));
    let room = Semaphore::new(KILOBYTES_AHEAD as usize);
    let mut ends = stream::iter(items).map(|item| embedded(&pool, item, &room)).buffered(ITEMS_AHEAD);
    let (mut index, mut failed) = (0, 0);
    while let Some(end) = ends.next().await {
        failed += u64::from(end.is_err());
        let values = end.as_ref().map(|embedding| &embedding[..]).map_err(String::as_str);
        output.write(Record { index, id: None, values }).await?;
        output.flush().await?;
        index += 1;
    }
    output.end().await?;
    if failed > 0 {
        return Err(ItemsFailed { failed, of: index }.into());
    }
    Ok(())
}

async fn embedded(pool: &ImageEmbedding, item: Item, room: &Semaphore) -> Result<Embedding, String> {
    let embedding = match item {
        Item::Image(path) => {
            // A file that is not there is told of when it is opened.
            let bytes = tokio::fs::metadata(&path).await.map_or(0, |metadata| metadata.len());
            let kilobytes = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).min(KILOBYTES_AHEAD);
            // Never closed, and given in the order of the files, so the first goes on.
            let _room = room.acquire_many(kilobytes).await;
            let image = EncodedImage::open(path).await.map_err(told)?;
            pool.embed_image(image).wait(true).await
        }
        Item::Text(text) => pool.embed_text(text).wait(true).await,
    };
    embedding.map_err(told)
}
