//! The one model of a command: which it is, and loading it.

use std::fmt;

use clap::Args;
use model_source::{Dtype, Source};
use pool_core::{Engine, GroupConfig};
use text_embedding::Ranker;

use crate::progress::DownloadBar;

/// Which model a command uses.
#[derive(Args, Debug)]
pub(super) struct ModelArgs {
    /// The model: hf:owner/name, a folder, a .safetensors file, or builtin
    #[arg(long, value_name = "SOURCE", default_value = "builtin", value_parser = clap::value_parser!(Source))]
    model: Source,
    /// The numbers to compute with: auto, f32, f16 or bf16; int8 for static models stored so, such as builtin
    #[arg(long, value_name = "DTYPE", default_value = "auto", value_parser = clap::value_parser!(Dtype))]
    dtype: Dtype,
}

impl ModelArgs {
    /// Loads it, whatever it is for, and shows its download.
    pub(super) async fn load(&self, engine: &Engine) -> anyhow::Result<Ranker> {
        let mut group = GroupConfig::new(self.to_string().as_str());
        // One caller, who waits as long as it takes.
        group.limits.max_wait = None;
        let load = Ranker::load_in(engine, &self.model).group(group).dtype(self.dtype);
        Ok(load.progress(DownloadBar::new()).await?)
    }
}

impl fmt::Display for ModelArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.model.fmt(f)
    }
}
