//! `candlepool pull`: a model into the cache that Python's `huggingface_hub` shares.

use std::path::Path;

use clap::Args;
use model_source::{FileData, Freshness, HubOptions, ModelFiles, Source, SourceError, Wanted};

use crate::config::Modality;
use crate::output::Sink;
use crate::progress::DownloadBar;

/// The arguments of `pull`.
#[derive(Args, Debug)]
pub(super) struct PullArgs {
    /// The model: hf:owner/name, with @revision and :file where wanted
    #[arg(value_name = "SOURCE", value_parser = clap::value_parser!(Source))]
    source: Source,
}

pub(super) async fn run(arguments: PullArgs) -> anyhow::Result<()> {
    let mut hub = match arguments.source {
        Source::Hub(_) => HubOptions::from_env()?,
        // What is not the hub's needs no environment that makes sense.
        _ => HubOptions::new(""),
    };
    hub.freshness = Freshness::Latest;
    let bar = DownloadBar::new();
    let files = Box::pin(pulled(&arguments.source, &hub, &bar)).await?;
    drop(bar);
    let mut sink = Sink::open(None).await?;
    sink.write(format!("{}\n", place(&files)).as_bytes()).await?;
    sink.flush().await
}

/// The files, whatever the model is for: what is wanted of a repository differs for pipelines, which have a manifest, and
/// for GGUF, which no other modality is offered.
async fn pulled(source: &Source, hub: &HubOptions, bar: &DownloadBar) -> Result<ModelFiles, SourceError> {
    let wanted = |modality: Modality| Wanted::model(modality.as_str());
    if let Source::Builtin(_) = source {
        return source.resolve(&wanted(Modality::TextEmbedding), hub, bar).await;
    }
    // With the projector that is beside it, if there is one.
    let gguf = wanted(Modality::LlavaVision);
    if source.to_string().ends_with(".gguf") {
        return source.resolve(&gguf, hub, bar).await;
    }
    match source.resolve(&wanted(Modality::TextToImage), hub, bar).await {
        Err(SourceError::MissingFile { file, .. }) if file == "weights" => {
            source.resolve(&gguf, hub, bar).await
        }
        Ok(files) if files.weight_files().next().is_none() => Err(SourceError::Unsupported {
            what: format!("the pipeline {source}"),
            reason:
                "it has none of the components that are drawn with; Stable Diffusion 1.x, 2.x and XL are read"
                    .to_owned(),
        }),
        found => found,
    }
}

/// Where the model is: its folder, or what it is called where it has none.
fn place(files: &ModelFiles) -> String {
    let manifest = ["config.json", "model_index.json"].into_iter().find_map(|name| files.get(name));
    match manifest.or_else(|| files.names().next().and_then(|name| files.get(name))).map(|file| file.data()) {
        Some(FileData::Path(path)) => path.parent().unwrap_or(Path::new(".")).display().to_string(),
        _ => files.place().to_owned(),
    }
}
