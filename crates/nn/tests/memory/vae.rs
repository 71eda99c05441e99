//! The autoencoder.

use nn::{NnError, StoredMatrix, TensorStore, Vae, VaeConfig, VaeParts, VaePass};
use serde_json::{Value, json};

use crate::Alone;

/// Weights that are all alike.
struct Alike;

impl TensorStore for Alike {
    fn contains(&self, _: &str) -> bool {
        false
    }

    fn vector(&self, _: &str, length: usize) -> Result<Vec<f32>, NnError> {
        Ok(vec![0.5; length])
    }

    fn matrix(&self, _: &str, shape: (usize, usize)) -> Result<StoredMatrix, NnError> {
        let dense = candle_core::Tensor::full(0.01_f32, shape, &candle_core::Device::Cpu)?;
        Ok(StoredMatrix::Dense(dense))
    }

    fn tensor(&self, _: &str, shape: &[usize]) -> Result<Vec<f32>, NnError> {
        Ok(vec![0.01; shape.iter().product()])
    }
}

fn vae(channels: &[usize], changes: &Value) -> Vae {
    let mut config = json!({
        "block_out_channels": channels, "down_block_types": vec!["DownEncoderBlock2D"; channels.len()],
        "up_block_types": vec!["UpDecoderBlock2D"; channels.len()], "norm_num_groups": 8,
    });
    let fields = config.as_object_mut().unwrap();
    changes
        .as_object()
        .unwrap()
        .iter()
        .for_each(|(name, value)| _ = fields.insert(name.clone(), value.clone()));
    Vae::load(VaeConfig::from_diffusers(&config).unwrap(), &Alike, VaeParts::Both).unwrap()
}

fn check(alone: &Alone, what: &str, vae: &Vae, begin: impl Fn() -> Result<VaePass, NnError>, said: u64) {
    let taken = alone.taken(|| {
        let mut pass = begin().unwrap();
        assert!(vae.advance(&mut pass, &mut || true));
        pass
    });
    let ratio = taken as f64 / said as f64;
    assert!((0.85..=1.15).contains(&ratio), "{what}: {taken} bytes taken, {said} said: {ratio:.2}");
}

#[test]
fn passes_take_what_the_configuration_says() {
    let alone = Alone::wait();
    let latents = vec![0.5; 4 * 256 * 256];
    let pixels = vec![0.5; 3 * 512 * 512];
    let four = vae(&[16, 24, 40, 40], &json!({"layers_per_block": 2, "sample_size": 128}));
    let config = four.config();
    let small = &latents[..4 * 40 * 56];
    check(&alone, "decoding", &four, || four.begin_decode(small, 40, 56), config.decode_bytes(40, 56));
    check(
        &alone,
        "decoding in tiles",
        &four,
        || four.begin_decode_tiled(small, 40, 56),
        config.decode_tiled_bytes(40, 56),
    );
    let picture = &pixels[..3 * 320 * 448];
    check(&alone, "encoding", &four, || four.begin_encode(picture, 320, 448), config.encode_bytes(320, 448));
    check(
        &alone,
        "encoding in tiles",
        &four,
        || four.begin_encode_tiled(picture, 320, 448),
        config.encode_tiled_bytes(320, 448),
    );
    // Where a convolution takes several pieces.
    let two = vae(&[48, 96], &json!({"mid_block_add_attention": false, "latent_channels": 4}));
    check(
        &alone,
        "pieces",
        &two,
        || two.begin_decode(&latents, 256, 256),
        two.config().decode_bytes(256, 256),
    );
    // Where attention takes the most.
    let one = vae(&[64], &json!({}));
    let small = &latents[..4 * 96 * 80];
    check(&alone, "attention", &one, || one.begin_decode(small, 96, 80), one.config().decode_bytes(96, 80));
}
