//! Logs: to standard error, as text or as one JSON object a line.

use std::io::{IsTerminal as _, Write as _};

use anyhow::anyhow;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::failure::one_line;
use crate::stderr;

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
    let filter = filter(directives).map_err(|why| {
        anyhow!("{origin} is {directives:?}: {why}; write a level (off, error, warn, info, debug, trace), or a filter such as candlepool=debug,warn")
    })?;
    let lines = stderr::log().ok_or_else(|| anyhow!("cannot start the log: nothing writes it"))?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines);
    let started = match format {
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
        LogFormat::Text => subscriber.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
    started.map_err(|error| anyhow!("cannot start the log: {error}"))
}

/// Reads a filter. A word alone must be a level: for the parser it could also name a part of the program, so that a
/// misspelt level would silence all others.
fn filter(directives: &str) -> Result<EnvFilter, String> {
    if directives.trim().is_empty() {
        return Err("it is empty".to_owned());
    }
    let bare = |word: &&str| !word.is_empty() && !word.contains(['=', '[', ']', '{', '}', '"']);
    let words = directives.split(',').map(str::trim).filter(bare);
    for word in words {
        word.parse::<LevelFilter>().map_err(|_| format!("{word:?} is no level"))?;
    }
    EnvFilter::builder().parse(directives).map_err(|error| error.to_string())
}

/// Sends panics to the log, as one line each. Those of a model are contained, and told to whoever waits for its answer.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("a value that is no text");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        // This one ends the process, and the log with it.
        if std::thread::current().name() == Some("main") {
            let _ = writeln!(std::io::stderr(), "error: panicked at {place}: {}", one_line(message));
        }
        tracing::error!(place, "panicked: {}", one_line(message));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_alone_is_a_level() {
        for right in [
            "info",
            "WARN",
            "off",
            "warn,candlepool=debug",
            "candlepool[request{id=\"a\"}]=trace,error",
            SERVER,
            QUIET,
        ] {
            assert!(filter(right).is_ok(), "{right}");
        }
        for wrong in ["loud", "", " ", "candlepool", "info,loud", "candlepool=loud", "shout=very", "a=b=c"] {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
    }
}
