//! UNets.

use candle_core::{DType, Device, Tensor};
use nn::{AddedConditions, NnError, StoredMatrix, TensorStore, Unet, UnetConfig, UnetInput};
use serde_json::{Value, json};

use crate::Alone;

/// Weights of nothing.
struct Zeros;

impl TensorStore for Zeros {
    fn contains(&self, _: &str) -> bool {
        true
    }

    fn vector(&self, _: &str, length: usize) -> Result<Vec<f32>, NnError> {
        Ok(vec![0.0; length])
    }

    fn matrix(&self, _: &str, shape: (usize, usize)) -> Result<StoredMatrix, NnError> {
        Ok(StoredMatrix::Dense(Tensor::zeros(shape, DType::F32, &Device::Cpu)?))
    }

    fn tensor(&self, _: &str, shape: &[usize]) -> Result<Vec<f32>, NnError> {
        Ok(vec![0.0; shape.iter().product()])
    }
}

/// The shapes of Stable Diffusion and of SDXL, with fewer channels.
fn configs() -> [(&'static str, Value); 2] {
    [
        (
            "sd",
            json!({"block_out_channels": [64, 128, 256, 256], "cross_attention_dim": 96, "norm_num_groups": 16}),
        ),
        (
            "sdxl",
            json!({
                "block_out_channels": [64, 128, 256], "cross_attention_dim": 96, "norm_num_groups": 16,
                "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
                "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
                "attention_head_dim": [2, 4, 8], "transformer_layers_per_block": [1, 2, 10],
                "addition_embed_type": "text_time", "addition_time_embed_dim": 32,
                "projection_class_embeddings_input_dim": 224,
            }),
        ),
    ]
}

#[test]
fn a_pass_takes_what_the_configuration_says() {
    let alone = Alone::wait();
    // As many threads wherever this is run: each has the scores of the queries that it looks at.
    let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let mut wrong = Vec::new();
    threads.install(|| {
        for (name, config) in configs() {
            let config = UnetConfig::from_diffusers(&config).unwrap();
            let unet = Unet::load(config.clone(), &Zeros).unwrap();
            for (samples, height, width) in [(1, 64, 64), (2, 33, 31), (5, 16, 16)] {
                let sample = vec![0.5; 4 * height * width];
                let context = vec![0.5; 77 * config.context_size];
                let added = AddedConditions { pooled: &[0.5; 32], time_ids: &[8.0; 6] };
                let input = UnetInput {
                    sample: &sample,
                    height,
                    width,
                    timestep: 500.0,
                    context: &context,
                    added: config.added.map(|_| added),
                    guidance: None,
                };
                let inputs = vec![input; samples];
                let taken = alone.taken(|| {
                    let mut pass = unet.begin(&inputs).unwrap();
                    assert!(unet.advance(&mut pass, &mut || true));
                    assert_eq!(pass.output(samples - 1).len(), sample.len());
                });
                let said = config.pass_bytes(samples, height, width);
                let ratio = said as f64 / taken as f64;
                if !(0.9..=1.15).contains(&ratio) {
                    wrong.push(format!(
                        "{name}, {samples} of {width}x{height}: {taken} bytes taken, {said} said"
                    ));
                }
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_cannot_be_is_said_to_take_more_than_there_is() {
    let config = UnetConfig::from_diffusers(&configs()[0].1).unwrap();
    assert_eq!(config.pass_bytes(1, usize::MAX, 8), u64::MAX);
    assert_eq!(config.pass_bytes(usize::MAX, 8, 8), u64::MAX);
    assert_eq!(config.pass_bytes(0, 8, 8), 0);
}
