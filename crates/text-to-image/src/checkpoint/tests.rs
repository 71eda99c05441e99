//! What is read from the tiny pipelines and from single files, and what is refused and how.

use std::path::Path;

use model_source::{DeviceChoice, Dtype};
use nn::UnetInput;
use serde_json::{Value, json};

use super::*;
use crate::fixture::{self, Copy, PIPELINES};

const NUMBERS: Numbers = Numbers { dtype: Dtype::Auto, device: DeviceChoice::Auto };

async fn read(source: impl AsRef<Path>) -> Result<Checkpoint, Error> {
    Checkpoint::read(fixture::resolve(source.as_ref()).await?, NUMBERS)
}

#[tokio::test]
async fn pipelines_are_what_their_files_say() {
    for (name, stored, parts) in [
        ("sd1", NoiseDtype::F32, (Family::StableDiffusion, 1, false)),
        ("sd2", NoiseDtype::F16, (Family::StableDiffusion, 1, false)),
        ("sdxl", NoiseDtype::F16, (Family::StableDiffusionXl, 2, false)),
        ("lcm", NoiseDtype::Bf16, (Family::StableDiffusion, 1, false)),
        ("inpaint", NoiseDtype::F32, (Family::StableDiffusion, 1, true)),
    ] {
        let read = read(fixture::folder(name)).await.unwrap();
        assert_eq!(read.stored_dtype(), stored, "{name}");
        assert_eq!((read.pipeline.family, read.texts.len(), read.inpainting), parts, "{name}");
        assert_eq!(read.pipeline.zeros_for_absent_negative, name == "sdxl");
        assert_eq!(read.unet.guidance_size, (name == "lcm").then_some(16), "{name}");
        let side = if name == "inpaint" { 64 } else { 32 };
        assert_eq!(read.default_size(), Some((side, side)), "{name}");
        assert_eq!(read.chunk_tokens(), 77);
        assert_eq!(read.prompt("a cat").unwrap().chunks(), 1);
    }
}

#[tokio::test]
async fn every_weight_is_counted() {
    for name in PIPELINES {
        let checkpoint = read(fixture::folder(name)).await.unwrap();
        let stored: u64 = match checkpoint.stored_dtype() {
            NoiseDtype::F32 => 4,
            NoiseDtype::F16 | NoiseDtype::Bf16 => 2,
        };
        let weights = ["unet", "vae", "text_encoder", "text_encoder_2"]
            .map(|folder| model_source::Weights::open(&checkpoint.files().folder(folder)));
        let bytes: u64 = weights.iter().flatten().map(model_source::Weights::total_bytes).sum();
        let counted = checkpoint.parameters() * stored;
        // Of SDXL's first text encoder the last layer is not loaded, and its norm is counted.
        assert!(counted * 100 >= bytes * 97 && counted * 100 <= bytes * 105, "{name}: {counted} of {bytes}");
    }
}

#[tokio::test]
async fn configurations_of_old_are_corrected_as_their_pipelines_do() {
    let copy = Copy::of("sd1");
    let version = |version: &'static str| {
        copy.edit("unet/config.json", |config| config["_diffusers_version"] = version.into());
    };
    version("0.8.1");
    assert_eq!(read(copy.path()).await.unwrap().default_size(), Some((256, 256)));
    version("0.10.2");
    assert_eq!(read(copy.path()).await.unwrap().default_size(), Some((32, 32)));
    // An algorithm that starts where these never did.
    let timesteps = |checkpoint: &Checkpoint| {
        crate::scheduler::Scheduler::new(&checkpoint.scheduler, 4).unwrap().timesteps().to_vec()
    };
    let before = timesteps(&read(copy.path()).await.unwrap());
    copy.edit("scheduler/scheduler_config.json", |config| config["steps_offset"] = 0.into());
    assert_eq!(timesteps(&read(copy.path()).await.unwrap()), before);
}

/// One evaluation of the UNet and a decoded picture, as bits.
fn computed(checkpoint: &Checkpoint) -> (Vec<f32>, Vec<f32>) {
    let loaded = checkpoint.load().unwrap();
    let wave = |count: usize| (0..count).map(|place| (place as f32 * 0.7).sin()).collect::<Vec<f32>>();
    let (sample, context) = (wave(checkpoint.unet.in_channels * 64), wave(77 * checkpoint.unet.context_size));
    let (pooled, time_ids) = (wave(16), [32.0, 32.0, 0.0, 0.0, 32.0, 32.0]);
    let added = checkpoint.unet.added.map(|_| nn::AddedConditions { pooled: &pooled, time_ids: &time_ids });
    let (height, width) = (8, 8);
    let input = UnetInput {
        sample: &sample,
        height,
        width,
        timestep: 481.0,
        context: &context,
        added,
        guidance: None,
    };
    let mut pass = loaded.unet.begin(&[input]).unwrap();
    assert!(loaded.unet.advance(&mut pass, &mut || true));
    let evaluated = pass.output(0).to_vec();
    let mut pass = loaded.vae.begin_decode(&wave(4 * 64), 8, 8).unwrap();
    assert!(loaded.vae.advance(&mut pass, &mut || true));
    (evaluated, pass.output().to_vec())
}

#[tokio::test]
async fn a_single_file_in_the_original_naming_is_the_same_pipeline() {
    for name in ["sd1", "sd2", "sdxl", "inpaint"] {
        let folder = read(fixture::folder(name)).await.unwrap();
        let (_copy, path) = Copy::of(name).into_single_file();
        let file = read(&path).await.unwrap();
        assert_eq!((file.stored_dtype(), file.parameters()), (folder.stored_dtype(), folder.parameters()));
        assert!(computed(&file) == computed(&folder), "{name}");
    }
}

#[tokio::test]
async fn half_precision_files_are_taken_where_there_are_no_others() {
    let copy = Copy::of("sd2");
    for component in ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"] {
        let path = |end: &str| copy.path().join(format!("{component}{end}.safetensors"));
        std::fs::rename(path(""), path(".fp16")).unwrap();
    }
    assert!(
        computed(&read(copy.path()).await.unwrap()) == computed(&read(fixture::folder("sd2")).await.unwrap())
    );
}

/// The refusal of a changed copy, without its folder.
async fn refusal(name: &str, change: impl FnOnce(&Copy)) -> String {
    let copy = Copy::of(name);
    change(&copy);
    told(read(copy.path()).await.unwrap_err(), copy.path())
}

fn told(error: Error, folder: &Path) -> String {
    let error = error.to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    error.replace(&folder.display().to_string(), "PLACE")
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let refused = |file: &'static str| refusal("sdxl", move |copy| copy.remove(file));
    assert_eq!(
        refused("text_encoder_2").await,
        "PLACE has no text_encoder_2/model.safetensors, the weights of a component that its model_index.json names"
    );
    assert_eq!(
        refused("unet/config.json").await,
        "PLACE/unet has no config.json, so the model's architecture is unknown"
    );
    assert_eq!(
        refused("model_index.json").await,
        "PLACE has no weights (model.safetensors, or its shards with model.safetensors.index.json)"
    );
    assert_eq!(refused("scheduler").await, "PLACE/scheduler has no scheduler_config.json");
    assert_eq!(
        refused("tokenizer").await,
        "PLACE/tokenizer has no tokenizer (vocab.json with merges.txt, or tokenizer.json)"
    );
    let error = refusal("sd1", |copy| {
        copy.remove("tokenizer/tokenizer.json");
        copy.remove("tokenizer/merges.txt");
    })
    .await;
    assert_eq!(error, "PLACE/tokenizer has no tokenizer: it has vocab.json, and no merges.txt beside it");
    let error = refusal("sd1", |copy| {
        let path = |end: &str| copy.path().join("vae/diffusion_pytorch_model").with_extension(end);
        std::fs::rename(path("safetensors"), path("bin")).unwrap();
    });
    assert_eq!(
        error.await,
        "PLACE has its weights as pickle only (vae/diffusion_pytorch_model.bin), which is never read; convert them to \
         safetensors"
    );
}

#[tokio::test]
async fn other_pipelines_and_components_are_refused_by_name() {
    let indexed = |name: &'static str, field: &'static str, value: Value| {
        refusal(name, move |copy| copy.edit("model_index.json", |index| index[field] = value))
    };
    let supported =
        "is not supported; Stable Diffusion 1.x, 2.x and XL are, their inpainting, turbo and LCM models too";
    for class in ["FluxPipeline", "StableDiffusion3Pipeline", "StableDiffusionUpscalePipeline"] {
        let error = indexed("sd1", "_class_name", class.into()).await;
        assert_eq!(error, format!("PLACE/model_index.json: the pipeline {class} {supported}"));
    }
    let error = indexed("sd1", "controlnet", json!(["diffusers", "ControlNetModel"])).await;
    assert_eq!(
        error,
        "PLACE/model_index.json: the component controlnet (ControlNetModel) is not supported; use a pipeline without it"
    );
    let error = indexed("sd1", "vae", json!(["diffusers", "AutoencoderTiny"])).await;
    assert_eq!(error, "PLACE/model_index.json: the vae AutoencoderTiny is not supported; AutoencoderKL is");
    let error = indexed("sd1", "text_encoder", json!(["transformers", "T5EncoderModel"])).await;
    assert!(
        error.starts_with("PLACE/model_index.json: the text_encoder T5EncoderModel is not supported; CLIP"),
        "{error}"
    );
    let error = indexed("sdxl", "text_encoder", json!([null, null])).await;
    assert_eq!(error, "PLACE/model_index.json: names no text_encoder, without which nothing can be drawn");
    let error = indexed("sdxl", "requires_aesthetics_score", json!(true)).await;
    assert_eq!(
        error,
        "PLACE/model_index.json: requires_aesthetics_score true is not supported; use a pipeline without it"
    );
    // What a pipeline has besides changes nothing.
    for (field, value) in [
        ("safety_checker", json!(["stable_diffusion", "StableDiffusionSafetyChecker"])),
        ("image_encoder", json!([null, null])),
        ("requires_safety_checker", json!(true)),
        ("controlnet", json!([null, null])),
    ] {
        let copy = Copy::of("sd1");
        copy.edit("model_index.json", |index| index[field] = value);
        read(copy.path()).await.unwrap();
    }
    let error = refusal("sd1", |copy| {
        copy.edit("scheduler/scheduler_config.json", |config| {
            config["_class_name"] = "HeunDiscreteScheduler".into()
        });
    });
    let error = error.await;
    assert!(
        error.starts_with("PLACE/scheduler/scheduler_config.json: ")
            && error.contains("HeunDiscreteScheduler"),
        "{error}"
    );
}

#[tokio::test]
async fn components_that_do_not_belong_together_are_refused() {
    let edited = |name: &'static str, file: &'static str, field: &'static str, value: Value| {
        refusal(name, move |copy| copy.edit(file, |config| config[field] = value))
    };
    assert_eq!(
        edited("sd1", "vae/config.json", "latent_channels", json!(16)).await,
        "PLACE: the UNet makes 4 channels, and its VAE decodes latents of 16: they do not belong together"
    );
    assert_eq!(
        edited("sd1", "unet/config.json", "in_channels", json!(8)).await,
        "PLACE: the UNet takes 8 channels: 4 are drawn with, 9 (with a mask and what stays) are filled in with, as its VAE \
         has latents of 4"
    );
    assert_eq!(
        edited("sd1", "unet/config.json", "cross_attention_dim", json!(1024)).await,
        "PLACE: the UNet has cross_attention_dim 1024, and the text encoders give 20 numbers a token: they do not belong \
         together"
    );
    assert_eq!(
        edited("sdxl", "unet/config.json", "projection_class_embeddings_input_dim", json!(80)).await,
        "PLACE: the UNet has projection_class_embeddings_input_dim 80, and 6 sizes of 8 numbers and a pooled text of 16 are \
         64"
    );
    assert_eq!(
        edited("sdxl", "tokenizer_2/tokenizer_config.json", "model_max_length", json!(64)).await,
        "PLACE: one text encoder reads 77 tokens and the other 64: their hidden states are put side by side"
    );
    assert_eq!(
        edited("sd1", "text_encoder/config.json", "vocab_size", json!(500)).await,
        "PLACE/tokenizer: has a token 525, and text_encoder has embeddings for 500"
    );
    assert_eq!(
        edited("sdxl", "text_encoder_2/config.json", "architectures", json!(["CLIPTextModel"])).await,
        "PLACE/text_encoder_2/config.json: is no CLIPTextModelWithProjection, and text_encoder_2 must give a vector of the \
         whole text"
    );
    // A whole pipeline of another kind.
    let error = refusal("sdxl", |copy| {
        copy.edit("model_index.json", |index| {
            index["_class_name"] = "StableDiffusionPipeline".into();
            index["force_zeros_for_empty_prompt"] = Value::Null;
        });
    });
    assert_eq!(
        error.await,
        "PLACE/model_index.json: the component text_encoder_2 (CLIPTextModelWithProjection) is not supported; use a \
         pipeline without it"
    );
}

#[tokio::test]
async fn tokens_that_a_vocabulary_lacks_are_named() {
    let error = refusal("sd1", |copy| {
        copy.edit("tokenizer/tokenizer_config.json", |config| config["pad_token"] = "[PAD]".into());
    });
    assert_eq!(error.await, "PLACE/tokenizer/tokenizer.json: has no token \"[PAD]\", its pad_token");
    let error = refusal("sd1", |copy| {
        copy.remove("tokenizer/tokenizer.json");
        copy.write("tokenizer/merges.txt", "#version: 0.2\nx y z\n");
    });
    let error = error.await;
    assert!(
        error.starts_with(
            "PLACE/tokenizer/vocab.json is no vocabulary of CLIP, or merges.txt does not belong to it"
        ),
        "{error}"
    );
}

#[tokio::test]
async fn single_files_that_are_not_whole_are_refused() {
    let (copy, path) = Copy::of("sd1").into_single_file();
    copy.rename("whole.safetensors", |name| name.replace("first_stage_model.", "another."));
    assert_eq!(
        told(read(&path).await.unwrap_err(), copy.path()),
        "PLACE/whole.safetensors: has no VAE: none of its tensors begins with first_stage_model. or vae.; only whole \
         pipelines in the original naming are read from one file"
    );
    let alone = copy.path().join("alone");
    std::fs::create_dir(&alone).unwrap();
    std::fs::copy(&path, alone.join("whole.safetensors")).unwrap();
    let error = told(read(alone.join("whole.safetensors")).await.unwrap_err(), &alone);
    assert_eq!(
        error,
        "PLACE/whole.safetensors has no model_index.json beside it: a single file holds weights alone; put it into the folder \
         of a pipeline of its kind in diffusers' layout, which has the configurations and tokenizers"
    );
    let error = fixture::resolve(copy.path().join("whole.ckpt")).await.unwrap_err().to_string();
    assert!(error.contains("pickle files are never read"), "{error}");
}

#[tokio::test]
async fn tensors_that_nothing_is_computed_with_are_refused() {
    let copy = Copy::of("sd1");
    let stem = "unet/diffusion_pytorch_model.safetensors";
    copy.rename(stem, |name| name.replace("conv_out.bias", "conv_out.other"));
    let error = read(copy.path()).await.unwrap().load().unwrap_err();
    let error = told(error, copy.path());
    assert!(error.starts_with("PLACE/unet: ") && error.contains("conv_out.bias"), "{error}");
}

#[tokio::test]
async fn another_number_type_or_device_is_refused() {
    for (numbers, wanted) in [
        (
            Numbers { dtype: Dtype::F16, ..NUMBERS },
            "dtype f16 for text to image is not supported; it computes in f32",
        ),
        (Numbers { device: DeviceChoice::Cuda(0), ..NUMBERS }, "for text to image is not supported; use cpu"),
    ] {
        let files = fixture::resolve(fixture::folder("sd1")).await.unwrap();
        let error = Checkpoint::read(files, numbers).unwrap_err().to_string();
        assert!(error.contains(wanted), "{error}");
    }
}
