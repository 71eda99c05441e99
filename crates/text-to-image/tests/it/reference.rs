//! From a prompt and a seed to a picture: every run of the reference, through the public face.

use serde_json::Value;
use text_to_image::{Imagine, NoiseDtype, PictureFormat, TextToImage};

use crate::fixture;

/// Levels of 255 that a number of a picture may be off.
const TOLERANCE: f64 = 1.0;

#[tokio::test]
async fn stable_diffusion_1_draws_what_the_reference_draws() {
    all_runs("sd1", 15).await;
}

#[tokio::test]
async fn stable_diffusion_2_draws_what_the_reference_draws() {
    all_runs("sd2", 6).await;
}

#[tokio::test]
async fn stable_diffusion_xl_draws_what_the_reference_draws() {
    all_runs("sdxl", 6).await;
}

#[tokio::test]
async fn a_consistency_model_draws_what_the_reference_draws() {
    all_runs("lcm", 2).await;
}

#[tokio::test]
async fn an_inpainting_model_draws_what_the_reference_draws() {
    all_runs("inpaint", 2).await;
}

async fn all_runs(name: &str, least: usize) {
    let expected = fixture::expected(name);
    let runs = expected["runs"].as_array().unwrap();
    assert!(runs.len() >= least, "{} runs", runs.len());
    let pool = fixture::load(name).await;
    for run in runs {
        let changes = run["model_index"].as_object().unwrap();
        if changes.is_empty() {
            compare(&pool, name, &expected, run).await;
            continue;
        }
        let folder = fixture::copy(name);
        let path = folder.path().join("model_index.json");
        let mut index = fixture::json(&path);
        index.as_object_mut().unwrap().extend(changes.clone());
        std::fs::write(&path, index.to_string()).unwrap();
        compare(&TextToImage::load(folder.path()).await.unwrap(), name, &expected, run).await;
    }
}

async fn compare(pool: &TextToImage, name: &str, expected: &Value, run: &Value) {
    let label = format!("{name}/{}", run["name"].as_str().unwrap());
    let drawing = call(pool, run).await.await.unwrap();
    let wanted: Vec<f64> = run["picture"].as_array().unwrap().iter().map(|n| n.as_f64().unwrap()).collect();
    let every = expected["pixels"].as_u64().unwrap() as usize;
    let mut numbers = Vec::new();
    for picture in &drawing.pictures {
        let image = text_to_image::EncodedImage::new(picture.bytes.clone()).decode().unwrap();
        let pixels = image.pixels();
        numbers.extend((0..3).flat_map(|channel| pixels.iter().skip(channel).step_by(3)).copied());
    }
    let numbers: Vec<u8> = numbers.into_iter().step_by(every).collect();
    assert_eq!(numbers.len(), wanted.len(), "{label}");
    let off = |(number, wanted): (&u8, &f64)| (f64::from(*number) - wanted * 255.0).abs();
    let worst = numbers.iter().zip(&wanted).map(off).fold(0.0, f64::max);
    assert!(worst <= TOLERANCE, "{label}: {worst} levels off");
    // A picture that is all one colour would agree with anything.
    let (least, most) = (numbers.iter().min().unwrap(), numbers.iter().max().unwrap());
    assert!(most - least > 60, "{label}: levels from {least} to {most}");
}

async fn call(pool: &TextToImage, run: &Value) -> Imagine {
    let prompt = run["prompt"].as_str().unwrap();
    let mut call = match run["image"].as_str() {
        Some(image) => {
            pool.edit(fixture::picture(image).await, prompt).strength(run["strength"].as_f64().unwrap())
        }
        None => pool.imagine(prompt),
    };
    if let Some(mask) = run["mask"].as_str() {
        call = call.mask(fixture::picture(mask).await);
    }
    if let Some(negative) = run["negative"].as_str() {
        call = call.negative(negative);
    }
    if let Some(scheduler) = run["scheduler"].as_str() {
        call = call.scheduler(scheduler);
    }
    let number = |key: &str| run[key].as_u64().unwrap();
    let noise = match run["noise"].as_str().unwrap() {
        "f16" => NoiseDtype::F16,
        "bf16" => NoiseDtype::Bf16,
        _ => NoiseDtype::F32,
    };
    call.noise(noise)
        .format(PictureFormat::Png)
        .steps(number("steps") as usize)
        .guidance(run["guidance"].as_f64().unwrap() as f32)
        .seed(number("seed"))
        .size(number("width") as u32, number("height") as u32)
        .pictures(number("pictures") as usize)
}
