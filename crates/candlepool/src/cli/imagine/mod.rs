//! `candlepool imagine`: a text in, pictures of what it says in files.

mod destination;

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use futures::stream::StreamExt as _;
use imaging::EncodedImage;
use pool_core::Engine;
use serde::Serialize;
use text_to_image::{Drawing, DrawingEvent, Imagine, Parameters, TextToImage};

use super::model::DrawingModelArgs;
use crate::failure::Usage;
use crate::output::Sink;
use crate::pixels::Pixels;
use crate::progress::StepBar;
use crate::stderr::tell;
use destination::Destination;

/// The arguments of `imagine`.
#[derive(Args, Debug)]
pub(super) struct ImagineArgs {
    #[command(flatten)]
    model: DrawingModelArgs,
    #[command(flatten)]
    draw: DrawArgs,
    /// The picture to begin with: a JPEG, PNG, WebP, GIF, BMP or TIFF file
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Draw anew only where this picture is white, or transparent if any of it is
    #[arg(long, value_name = "FILE", requires = "image")]
    mask: Option<PathBuf>,
    /// How far the result may go from --image, from 0 (not at all) to 1; 0.8 unless given, and 1 with --mask
    #[arg(long, value_name = "S", requires = "image", allow_negative_numbers = true, value_parser = strength)]
    strength: Option<f64>,
    /// The file to write: .png, .jpg, .jpeg or .webp; unless given, a new PNG file named after the prompt
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// What is written to standard output
    #[arg(long, value_enum, default_value = "text")]
    format: Told,
    /// What the picture shows
    #[arg(value_name = "PROMPT")]
    prompt: String,
}

/// How pictures are drawn. What is not given is as the model has it.
#[derive(Args, Debug)]
struct DrawArgs {
    /// What the picture does not show
    #[arg(long, value_name = "TEXT")]
    negative: Option<String>,
    /// Steps from noise to the picture; more take longer; else as suits the model
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// How much the prompt counts: at 1 or below there is no guidance, and a step is half the work
    #[arg(long, value_name = "G", allow_negative_numbers = true, value_parser = guidance)]
    guidance: Option<f32>,
    /// What the noise is drawn from: equal seeds give equal pictures; drawn and told unless given
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    seed: Option<u64>,
    /// The size in pixels, such as 512x512; else the model's own, or that of --image
    #[arg(long, value_name = "WxH", value_parser = clap::value_parser!(Pixels))]
    size: Option<Pixels>,
    /// The way from noise to the picture: ddim, pndm, euler, euler_a, dpm++2m, lcm or unipc; else the model's own
    #[arg(long, value_name = "NAME")]
    scheduler: Option<String>,
    /// How many pictures to draw: fox.png becomes fox-1.png, fox-2.png and so on
    #[arg(short = 'n', long, value_name = "N", default_value_t = 1, allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
}

/// What is told of the pictures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Told {
    /// The path of each, a line each
    Text,
    /// One document: {"paths": [...], "seed": ..., ...}
    Json,
}

fn guidance(text: &str) -> Result<f32, String> {
    let finite = text.parse().ok().filter(|scale: &f32| scale.is_finite());
    finite.ok_or_else(|| "accepted: a number".to_owned())
}

fn strength(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share: &f64| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "accepted: a number above 0 and at most 1".to_owned())
}

/// The document of `--format json`.
#[derive(Serialize)]
struct Document<'a> {
    model: String,
    paths: Vec<String>,
    prompt: &'a str,
    negative: Option<&'a str>,
    steps: usize,
    guidance: f32,
    seed: u64,
    width: u32,
    height: u32,
    scheduler: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    strength: Option<f64>,
}

pub(super) async fn run(arguments: ImagineArgs) -> anyhow::Result<()> {
    let ImagineArgs { model, draw, image, mask, strength, out, format, prompt } = arguments;
    if prompt.is_empty() {
        return Err(Usage::new("the prompt is empty: write PROMPT, what the picture shows").into());
    }
    // All that can be told at once, before minutes of work.
    let source = model.source()?;
    let destination = Destination::new(out, &prompt).await?;
    let image = opened(image.as_deref()).await?;
    let mask = opened(mask.as_deref()).await?;
    let engine = Engine::builder().build()?;
    let pool = Box::pin(model.load(source, &engine)).await?;
    let drawn_seed = draw.seed.is_none();
    let mut call = draw.call(match image {
        Some(image) => pool.edit(image, prompt),
        None => pool.imagine(prompt),
    });
    if let Some(mask) = mask {
        call = call.mask(mask);
    }
    if let Some(strength) = strength {
        call = call.strength(strength);
    }
    // One caller, who waits as long as it takes.
    let drawing = drawn(call.format(destination.format()).wait(true)).await?;
    // First, so that the pictures can be drawn again where they cannot be written.
    if drawn_seed {
        tell(&format!("seed {}", drawing.parameters.seed)).await;
    }
    let paths = destination.write(&drawing.pictures).await?;
    told(&pool, &paths, &drawing.parameters, format).await
}

async fn opened(path: Option<&Path>) -> anyhow::Result<Option<EncodedImage>> {
    let Some(path) = path else { return Ok(None) };
    let image = EncodedImage::open(path).await?;
    image.header().map_err(|error| anyhow!("{}: {error}", path.display()))?;
    Ok(Some(image))
}

impl DrawArgs {
    fn call(self, mut call: Imagine) -> Imagine {
        let Self { negative, steps, guidance, seed, size, scheduler, count } = self;
        if let Some(negative) = negative {
            call = call.negative(negative);
        }
        if let Some(steps) = steps {
            call = call.steps(steps as usize);
        }
        if let Some(guidance) = guidance {
            call = call.guidance(guidance);
        }
        if let Some(seed) = seed {
            call = call.seed(seed);
        }
        if let Some(Pixels { width, height }) = size {
            call = call.size(width, height);
        }
        if let Some(scheduler) = scheduler {
            call = call.scheduler(scheduler);
        }
        call.pictures(count as usize)
    }
}

/// Draws, and shows how far it is.
async fn drawn(call: Imagine) -> anyhow::Result<Drawing> {
    let mut events = call.stream().await?;
    let bar = StepBar::new();
    while let Some(event) = events.next().await {
        match event? {
            DrawingEvent::Step(step) => bar.taken(step.step as u64, step.steps as u64),
            DrawingEvent::Done(drawing) => return Ok(drawing),
            _ => {}
        }
    }
    Err(anyhow!("the model gave no picture"))
}

async fn told(
    pool: &TextToImage,
    paths: &[PathBuf],
    parameters: &Parameters,
    format: Told,
) -> anyhow::Result<()> {
    let paths = paths.iter().map(|path| path.display().to_string());
    let text = match format {
        Told::Text => paths.map(|path| path + "\n").collect(),
        Told::Json => {
            let Parameters { steps, guidance, seed, width, height, strength, .. } = *parameters;
            let document = Document {
                model: pool.info().source.to_string(),
                paths: paths.collect(),
                prompt: &parameters.prompt,
                negative: parameters.negative.as_deref(),
                steps,
                guidance,
                seed,
                width,
                height,
                scheduler: &parameters.scheduler,
                strength,
            };
            serde_json::to_string(&document)? + "\n"
        }
    };
    let mut sink = Sink::open(None).await?;
    sink.write(text.as_bytes()).await?;
    sink.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_within_their_ranges() {
        assert_eq!((guidance("0"), guidance("7.5"), guidance("1e1")), (Ok(0.0), Ok(7.5), Ok(10.0)));
        assert_eq!((strength("0.25"), strength("1")), (Ok(0.25), Ok(1.0)));
        for wrong in ["NaN", "inf", "", "much"] {
            assert!(guidance(wrong).is_err() && strength(wrong).is_err(), "{wrong}");
        }
        assert!(["1.1", "0", "-0.1"].iter().all(|wrong| strength(wrong).is_err()));
    }
}
