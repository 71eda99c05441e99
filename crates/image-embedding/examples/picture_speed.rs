//! Pictures a second, as asked on standard input.
//!
//! `picture_speed MODEL PICTURES` loads the image tower of a folder and says so in a line of JSON. Then each line of input,
//! `{"batch": n, "files": bool}`, is answered by one, `{"pictures": pictures a second}`: from the JPEG files of the other
//! folder through the public face, or by the tower alone from pixel values that are there already. `cargo xtask bench
//! vision` asks, and asks torch the same in turn.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a measurement"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use candle_core::{DType, Device};
use image_embedding::{EncodedImage, ImageEmbedding};
use imaging::Processor;
use model_source::{HubOptions, Source, Wanted, Weights};
use nn::{Pixels, TowerOutputs, TowerStore, VisionConfig, VisionTransformer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::time::Instant;

/// Measurements last as long at least, so that a clock's ticks do not count.
const LEAST: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(PathBuf::from);
    let (model, pictures) =
        arguments.next().zip(arguments.next()).expect("usage: picture_speed MODEL PICTURES");
    let pool = ImageEmbedding::load(model.as_path()).name("speed").await.unwrap();
    let files = files(&pictures);
    let (tower, processor) = (tower(&model).await, processor(&model));
    println!("{}", json!({"architecture": pool.info().architecture.to_string()}));
    let mut asked = BufReader::new(stdin()).lines();
    while let Some(line) = asked.next_line().await.unwrap() {
        let asked: Value = serde_json::from_str(&line).expect("a line of JSON");
        let batch = asked["batch"].as_u64().unwrap() as usize;
        let speed = match asked["files"].as_bool().unwrap() {
            true => from_files(&pool, &files[..batch]).await,
            false => from_pixels(&tower, &processor, &files[..batch]),
        };
        println!("{}", json!({"pictures": speed}));
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

async fn tower(model: &Path) -> VisionTransformer {
    let source = Source::Folder(model.to_owned());
    let files = source.resolve(&Wanted::model("image-embedding"), &HubOptions::new(""), &()).await.unwrap();
    let config = VisionConfig::from_huggingface(&files.config().unwrap()).unwrap();
    let weights = Weights::open(&files).unwrap();
    let store = TowerStore::vision(weights.var_builder(DType::F32, &Device::Cpu)).unwrap();
    VisionTransformer::load(config, &store, TowerOutputs::embedding()).unwrap()
}

fn processor(model: &Path) -> Processor {
    let config = std::fs::read(model.join("preprocessor_config.json")).unwrap();
    Processor::from_config(&serde_json::from_slice(&config).unwrap()).unwrap()
}

/// Decoding, resizing, queue and hand-over included.
async fn from_files(pool: &ImageEmbedding, files: &[PathBuf]) -> f64 {
    let once = async || {
        let mut pictures = Vec::with_capacity(files.len());
        for file in files {
            pictures.push(EncodedImage::open(file).await.unwrap());
        }
        assert_eq!(pool.embed_all(pictures).await.unwrap().len(), files.len());
    };
    once().await;
    let (start, mut done) = (Instant::now(), 0);
    while start.elapsed() < LEAST {
        once().await;
        done += files.len();
    }
    done as f64 / start.elapsed().as_secs_f64()
}

/// The tower alone.
fn from_pixels(tower: &VisionTransformer, processor: &Processor, files: &[PathBuf]) -> f64 {
    let values: Vec<_> = files
        .iter()
        .map(|file| {
            let picture = EncodedImage::new(std::fs::read(file).unwrap()).decode().unwrap();
            processor.process(&picture).unwrap()
        })
        .collect();
    let tiles: Vec<Vec<f32>> = values.iter().map(|values| values.tile(0)).collect();
    let pixels: Vec<Pixels<'_>> = values
        .iter()
        .zip(&tiles)
        .map(|(values, tile)| Pixels {
            values: tile,
            height: values.layout().tile_height as usize,
            width: values.layout().tile_width as usize,
        })
        .collect();
    let once = || {
        let mut pass = tower.begin(&pixels).unwrap();
        assert!(tower.advance(&mut pass, &mut || true));
    };
    once();
    let (start, mut done) = (Instant::now(), 0);
    while start.elapsed() < LEAST {
        once();
        done += files.len();
    }
    done as f64 / start.elapsed().as_secs_f64()
}
