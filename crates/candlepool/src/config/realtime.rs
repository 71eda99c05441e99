//! `[realtime]` and `[context]`: sessions and rooms over WebSockets, and the folders they cite.

use std::path::PathBuf;

use anyhow::bail;
use serde::Deserialize;

use super::{Size, Span};
use crate::http::{AdmissionLimits, SocketLimits};
use crate::number::Whole;

/// `[realtime]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct RealtimeConfig {
    /// Whether there are sessions and rooms at all.
    pub(crate) enabled: bool,
    /// The model that answers in rooms; the first by name that writes text unless told.
    pub(crate) model: Option<String>,
    /// WebSockets at once.
    pub(crate) max_connections: Whole<1>,
    /// WebSockets of one client at once.
    pub(crate) max_connections_per_client: Whole<1>,
    /// How many of one client may be opened a second.
    pub(crate) joins_per_second: Whole<1>,
    /// The longest message of a client.
    pub(crate) message_limit: Size,
    /// How often a client is asked whether it is there.
    pub(crate) ping_interval: Span,
    /// How long it has to answer.
    pub(crate) pong_timeout: Span,
    /// How long it may take to read what is sent at once.
    pub(crate) write_timeout: Span,
    pub(crate) history: HistoryConfig,
}

/// `history = { file, messages, bytes }`: what a room keeps.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct HistoryConfig {
    /// Where it outlives the process.
    pub(crate) file: Option<PathBuf>,
    /// The most events of a room.
    pub(crate) messages: Whole<1>,
    /// What they take at most, for each room.
    pub(crate) bytes: Size,
}

impl Default for RealtimeConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            model: None,
            max_connections: Whole::of(4096),
            max_connections_per_client: Whole::of(256),
            joins_per_second: Whole::of(50),
            message_limit: Size::mebibytes(4),
            ping_interval: Span::seconds(25),
            pong_timeout: Span::seconds(10),
            write_timeout: Span::seconds(10),
            history: HistoryConfig::default(),
        }
    }
}

impl Default for HistoryConfig {
    fn default() -> Self {
        Self { file: None, messages: Whole::of(1000), bytes: Size::mebibytes(2) }
    }
}

/// `[context]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct ContextConfig {
    /// The folders whose files are read and cited.
    pub(crate) folders: Vec<PathBuf>,
    /// The model that embeds them; the first by name that embeds texts unless told.
    pub(crate) model: Option<String>,
}

impl RealtimeConfig {
    /// What one socket may take.
    pub(crate) fn sockets(&self) -> SocketLimits {
        SocketLimits {
            message: self.message_limit.as_usize(),
            ping_interval: self.ping_interval.0,
            pong_timeout: self.pong_timeout.0,
            write_timeout: self.write_timeout.0,
        }
    }

    /// How many sockets there may be.
    pub(crate) fn admission(&self) -> AdmissionLimits {
        AdmissionLimits {
            most: self.max_connections.count(),
            most_of_client: self.max_connections_per_client.count(),
            joins_per_second: self.joins_per_second.get(),
        }
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        let spans = [
            ("ping_interval", self.ping_interval, "25s"),
            ("pong_timeout", self.pong_timeout, "10s"),
            ("write_timeout", self.write_timeout, "10s"),
        ];
        for (name, span, default) in spans {
            if span.0.is_zero() {
                bail!("realtime.{name} is 0: every client would be too slow; the default is {default}");
            }
        }
        for (name, size, default) in
            [("message_limit", self.message_limit, "4MiB"), ("history.bytes", self.history.bytes, "2MiB")]
        {
            if size.0 == 0 {
                bail!("realtime.{name} is 0: nothing could be said; the default is {default}");
            }
        }
        Ok(())
    }
}

impl ContextConfig {
    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.folders.iter().any(|folder| folder.as_os_str().is_empty()) {
            bail!("context.folders has an empty path; name a folder");
        }
        Ok(())
    }
}
