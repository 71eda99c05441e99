//! `candlepool pull`: a model into the cache that Python's `huggingface_hub` shares.

use std::path::Path;

use clap::Args;
use model_source::{FileData, Freshness, HubOptions, ModelFiles, Source, Wanted};

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
    let wanted = Wanted::model(Modality::TextEmbedding.as_str());
    let files = Box::pin(arguments.source.resolve(&wanted, &hub, &bar)).await?;
    drop(bar);
    let mut sink = Sink::open(None).await?;
    sink.write(format!("{}\n", place(&files)).as_bytes()).await?;
    sink.flush().await
}

/// Where the model is: its folder, or what it is called where it has none.
fn place(files: &ModelFiles) -> String {
    let configuration =
        files.get("config.json").or_else(|| files.names().next().and_then(|name| files.get(name)));
    match configuration.map(|file| file.data()) {
        Some(FileData::Path(path)) => path.parent().unwrap_or(Path::new(".")).display().to_string(),
        _ => files.place().to_owned(),
    }
}
