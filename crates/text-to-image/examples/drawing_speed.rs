//! Seconds of the parts of a picture, as asked on standard input.
//!
//! `drawing_speed MODEL` loads a folder of Stable Diffusion 1.x and says so in a line of JSON. Then each line of input,
//! `{"part": "text" | "unet" | "decode" | "picture", "size": pixels, "steps": n}`, is answered by one: `{"seconds": of one
//! run}`, of the parts by themselves and of the picture through the public face. `cargo xtask bench diffusion` asks, and asks
//! torch the same in turn.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use candle_core::{DType, Device};
use model_source::{HubOptions, Source, Wanted, Weights};
use nn::{
    ComponentStore, HiddenState, TextTower, TextTowerConfig, TowerOutputs, TowerStore, Unet, UnetConfig,
    UnetInput, Vae, VaeConfig, VaeParts,
};
use serde_json::{Value, json};
use text_to_image::TextToImage;
use tokio::io::{AsyncBufReadExt as _, BufReader, stdin};
use tokio::time::Instant;

/// Measurements last as long at least, so that a clock's ticks do not count.
const LEAST: Duration = Duration::from_secs(2);

struct Parts {
    text: TextTower,
    unet: Unet,
    vae: Vae,
}

#[tokio::main]
async fn main() {
    let model = PathBuf::from(std::env::args().nth(1).expect("usage: drawing_speed MODEL"));
    let parts = Parts::load(&model).await;
    let pool = TextToImage::load(model.as_path()).name("speed").lazy(true).await.unwrap();
    println!("{}", json!({"architecture": pool.info().architecture.to_string()}));
    let mut asked = BufReader::new(stdin()).lines();
    while let Some(line) = asked.next_line().await.unwrap() {
        let asked: Value = serde_json::from_str(&line).expect("a line of JSON");
        let (size, steps) = (asked["size"].as_u64().unwrap(), asked["steps"].as_u64().unwrap());
        let seconds = match asked["part"].as_str().unwrap() {
            "picture" => picture(&pool, size as u32, steps as usize).await,
            part => parts.seconds(part, size as usize / 8),
        };
        println!("{}", json!({"seconds": seconds}));
    }
}

async fn picture(pool: &TextToImage, size: u32, steps: usize) -> f64 {
    pool.group().warm().await.unwrap();
    let start = Instant::now();
    pool.imagine("a red fox in the snow").size(size, size).steps(steps).seed(1).await.unwrap();
    start.elapsed().as_secs_f64()
}

impl Parts {
    async fn load(model: &Path) -> Self {
        let source = Source::Folder(model.to_owned());
        let files = source.resolve(&Wanted::model("text-to-image"), &HubOptions::new(""), &()).await.unwrap();
        let weights = |component: &str| Weights::open(&files.folder(component)).unwrap();
        let config = |component: &str| files.json(&format!("{component}/config.json")).unwrap();
        let store = |component: &str| {
            ComponentStore::new(weights(component).var_builder(DType::F32, &Device::Cpu)).unwrap()
        };
        let text = TextTowerConfig::from_huggingface(&config("text_encoder")).unwrap();
        let outputs =
            TowerOutputs { hidden: vec![HiddenState { layer: text.layers, normed: true }], embedding: false };
        let tower = TowerStore::text(weights("text_encoder").var_builder(DType::F32, &Device::Cpu)).unwrap();
        let (unet, vae) =
            (UnetConfig::from_diffusers(&config("unet")), VaeConfig::from_diffusers(&config("vae")));
        Self {
            text: TextTower::load(text, &tower, outputs).unwrap(),
            unet: Unet::load(unet.unwrap(), &store("unet")).unwrap(),
            vae: Vae::load(vae.unwrap(), &store("vae"), VaeParts::Decoder).unwrap(),
        }
    }

    fn seconds(&self, part: &str, side: usize) -> f64 {
        let numbers = |count: usize| -> Vec<f32> {
            (0..count).map(|number| (number as f32 * 0.7).sin() * 1.4).collect()
        };
        let (sample, context) = (numbers(4 * side * side), numbers(77 * 768));
        let row = UnetInput {
            sample: &sample,
            height: side,
            width: side,
            timestep: 500.0,
            context: &context,
            added: None,
            guidance: None,
        };
        let ids = [0; 77];
        let once = || match part {
            "text" => {
                let mut pass = self.text.begin(&[&ids, &ids]).unwrap();
                assert!(self.text.advance(&mut pass, &mut || true));
            }
            "unet" => {
                let mut pass = self.unet.begin(&[row, row]).unwrap();
                assert!(self.unet.advance(&mut pass, &mut || true));
            }
            "decode" => {
                let mut pass = self.vae.begin_decode(&sample, side, side).unwrap();
                assert!(self.vae.advance(&mut pass, &mut || true));
            }
            other => panic!("no part {other:?}"),
        };
        once();
        let (start, mut done) = (Instant::now(), 0);
        while start.elapsed() < LEAST {
            once();
            done += 1;
        }
        start.elapsed().as_secs_f64() / f64::from(done)
    }
}
