//! Trained GGUF files under `target/models`.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::Device;
use candle_core::quantized::gguf_file::Content;
use nn::{Activations, Decoder, DecoderConfig, GgufStore, Precision};

/// The GGUF file of a trained model, if it has been fetched. Where `CANDLEPOOL_REQUIRE_MODELS` is 1 it must have been.
pub(crate) fn trained(name: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let folder = target.join("models").join(name);
    let files = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
    if let Some(file) =
        files.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "gguf"))
    {
        return Some(file);
    }
    let required = std::env::var("CANDLEPOOL_REQUIRE_MODELS").is_ok_and(|value| value == "1");
    assert!(!required, "{} has no GGUF file; run cargo xtask models", folder.display());
    // Not eprintln: the test harness would keep it to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {name} is not there; run cargo xtask models");
    None
}

pub(crate) fn load(path: &Path, activations: Activations) -> Decoder {
    let file = RefCell::new(File::open(path).unwrap());
    let content = Content::read(&mut *file.borrow_mut()).unwrap();
    let config = DecoderConfig::from_gguf(&content.metadata).unwrap();
    let load = |name: &str| content.tensor(&mut *file.borrow_mut(), name, &Device::Cpu);
    let store = GgufStore::new(&config, content.tensor_infos.keys(), load);
    let precision = Precision { activations, deterministic: false };
    Decoder::load(config.clone(), &store, precision).unwrap()
}
