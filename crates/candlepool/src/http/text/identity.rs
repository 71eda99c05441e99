//! What every answer says of itself: its id, when it was made, by which model of which revision.

use std::time::{SystemTime, UNIX_EPOCH};

use language_model::ModelInfo;
use serde::Serialize;

use crate::http::envelope::unique;

/// An answer's head. All pieces of a stream have the same.
#[derive(Clone, Serialize, Debug)]
pub(super) struct Identity {
    id: String,
    object: &'static str,
    /// Seconds since 1970.
    created: u64,
    model: String,
    /// Changes when the model's files or this program do, and with them what a seed gives.
    system_fingerprint: String,
}

impl Identity {
    /// A new answer's, with an id that begins so.
    pub(super) fn new(prefix: &str, object: &'static str, model: String, info: &ModelInfo) -> Self {
        let revision: String = info.revision.chars().filter(char::is_ascii_alphanumeric).take(12).collect();
        Self {
            id: format!("{prefix}-{}", unique()),
            object,
            created: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            model,
            system_fingerprint: format!("fp_{}_{revision}", env!("CARGO_PKG_VERSION")),
        }
    }
}
