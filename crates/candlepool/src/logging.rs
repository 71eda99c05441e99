//! Logs: to standard error, as text or as one JSON object a line.

use std::io::IsTerminal as _;

use anyhow::anyhow;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

/// How a line of the log looks.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The variable that says what is logged, before the configuration does.
const VARIABLE: &str = "CANDLEPOOL_LOG";

/// What commands log unless told otherwise. What becomes of their one model they tell themselves, once, as their failure.
pub(crate) const QUIET: &str = "warn,pool_core=error";
/// What the server logs unless told otherwise: its own life, and only what is wrong of the libraries under it.
pub(crate) const SERVER: &str = "warn,candlepool=info,pool_core=info,text_embedding=info,model_source=info";

/// Starts logging. The variable's filter comes before the one configured, and that before the default.
///
/// # Errors
///
/// When the filter is not one.
pub(crate) fn start(format: LogFormat, configured: Option<&str>, default: &str) -> anyhow::Result<()> {
    let given = std::env::var(VARIABLE).ok().filter(|value| !value.is_empty());
    let (origin, directives) = match (&given, configured) {
        (Some(value), _) => (VARIABLE, value.as_str()),
        (None, Some(value)) => ("log.level", value),
        (None, None) => ("the default", default),
    };
    let filter = EnvFilter::builder().parse(directives).map_err(|error| {
        anyhow!("{origin} is {directives:?}: {error}; use a level such as info, or candlepool=debug,warn")
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    started.map_err(|error| anyhow!("cannot start the log: {error}"))
}

/// Sends panics to the log, as one line each. Those of a model are contained, and told to whoever waits for its answer.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a value that is no text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panicked: {}", crate::failure::one_line(message));
    }));
}
