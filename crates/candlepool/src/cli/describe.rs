//! `candlepool describe`: a picture and a question in, an answer out.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Args;
use imaging::EncodedImage;
use pool_core::Engine;

use super::answer::{AnswerFormat, DrawArgs, Printer};
use super::model::VisionModelArgs;
use crate::failure::Usage;

/// The arguments of `describe`.
#[derive(Args, Debug)]
pub(super) struct DescribeArgs {
    #[command(flatten)]
    model: VisionModelArgs,
    #[command(flatten)]
    draw: DrawArgs,
    /// How the answer is written
    #[arg(long, value_enum, default_value = "text")]
    format: AnswerFormat,
    /// The picture: a JPEG, PNG, WebP, GIF, BMP or TIFF file
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// What is asked about it
    #[arg(value_name = "QUESTION", default_value = "What is in this picture?")]
    question: String,
}

pub(super) async fn run(arguments: DescribeArgs) -> anyhow::Result<()> {
    let DescribeArgs { model, draw, format, image, question } = arguments;
    if question.is_empty() {
        return Err(Usage::new("the question is empty: write QUESTION, or leave it out").into());
    }
    // Before the model: a wrong path is told at once.
    let picture = EncodedImage::open(&image).await?;
    picture.header().map_err(|error| anyhow!("{}: {error}", image.display()))?;
    let engine = Engine::builder().build()?;
    let pool = Box::pin(model.load(&engine)).await?;
    let printer = Printer::open().await?;
    let answer = draw.chat(pool.describe(picture, question)).stream().await?;
    printer.answer(format, answer).await
}
