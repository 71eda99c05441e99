//! What the server is told: one TOML file, overridden by environment variables, overridden by flags.
//!
//! Owns reading, merging and checking. Whatever is wrong is one line that names the key and where it was written;
//! unknown keys are errors.

mod duration;
mod file;
mod keys;
mod models;
mod realtime;
mod size;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde::Deserialize;

pub(crate) use duration::Span;
pub(crate) use keys::Keys;
pub(crate) use models::{Modality, ModelConfig, ModelFlag, ModelSettings, TextSettings};
pub(crate) use realtime::{ContextConfig, RealtimeConfig};
pub(crate) use size::Size;

use crate::failure::Usage;
use crate::logging::LogFormat;
use crate::number::Whole;
use crate::remote_images::{FetchLimits, RemoteImages};

/// The whole configuration, as the file spells it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "sections such as [server]")]
pub(crate) struct Config {
    pub(crate) server: ServerConfig,
    pub(crate) memory: MemoryConfig,
    pub(crate) images: ImagesConfig,
    pub(crate) log: LogConfig,
    pub(crate) realtime: RealtimeConfig,
    pub(crate) context: ContextConfig,
    pub(crate) models: BTreeMap<String, ModelConfig>,
}

/// `[server]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct ServerConfig {
    /// Where to listen: an address, or a host name, and a port. Port 0 takes a free one.
    pub(crate) listen: String,
    /// One key a line; without a file and without `--api-key`, everybody may ask.
    pub(crate) api_keys_file: Option<PathBuf>,
    /// Web pages that may ask from within a browser, besides the server's own: `https://example.org`, or `*`.
    pub(crate) allowed_origins: Vec<String>,
    /// Names by which the server may be asked where it has no keys, besides that of `listen`; `*` for all.
    pub(crate) allowed_hosts: Vec<String>,
    /// The largest body of a request.
    pub(crate) body_limit: Size,
    /// Connections at once; more wait to be accepted.
    pub(crate) max_connections: Whole<1>,
    /// How long a client may take to send a request's head, and a connection be idle.
    pub(crate) header_timeout: Span,
    /// How long a client may pause while it sends a body or reads an answer.
    pub(crate) body_timeout: Span,
    /// The deadline of requests that bring none.
    pub(crate) request_timeout: Option<Span>,
    /// How long a shutdown waits for what was accepted.
    pub(crate) drain_timeout: Span,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:8080".to_owned(),
            api_keys_file: None,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            body_limit: Size::mebibytes(32),
            max_connections: Whole::of(1024),
            header_timeout: Span::seconds(30),
            body_timeout: Span::seconds(30),
            request_timeout: None,
            drain_timeout: Span::seconds(30),
        }
    }
}

/// `[memory]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct MemoryConfig {
    /// What all models, caches and inputs take together.
    pub(crate) limit: Option<Size>,
}

/// `[images]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct ImagesConfig {
    /// The most pixels that a picture's header may claim.
    pub(crate) max_pixels: Whole<1>,
    /// Whether pictures are fetched that requests name by URL.
    pub(crate) remote: bool,
    /// The largest file that is fetched.
    pub(crate) remote_limit: Size,
    /// How long fetching one may take.
    pub(crate) remote_timeout: Span,
}

impl Default for ImagesConfig {
    fn default() -> Self {
        let pixels = u32::try_from(imaging::Limits::default().pixels).unwrap_or(u32::MAX);
        Self {
            max_pixels: Whole::of(pixels),
            remote: false,
            remote_limit: Size::mebibytes(20),
            remote_timeout: Span::seconds(10),
        }
    }
}

impl ImagesConfig {
    /// What fetches pictures, where they are to be fetched.
    ///
    /// # Errors
    ///
    /// The system's certificates cannot be had.
    pub(crate) fn fetching(&self) -> anyhow::Result<Option<RemoteImages>> {
        let limits = FetchLimits { bytes: self.remote_limit.as_usize(), timeout: self.remote_timeout.0 };
        self.remote.then(|| RemoteImages::new(limits)).transpose()
    }

    /// What pictures are refused by before they are decoded.
    pub(crate) fn limits(&self) -> imaging::Limits {
        imaging::Limits { pixels: self.max_pixels.get().into(), ..imaging::Limits::default() }
    }
}

/// `[log]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct LogConfig {
    /// A level, or a filter such as `candlepool=debug,warn`.
    pub(crate) level: Option<String>,
    pub(crate) format: Option<LogFormat>,
}

/// What flags override.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides {
    pub(crate) listen: Option<String>,
    pub(crate) memory: Option<Size>,
    pub(crate) models: Vec<ModelFlag>,
    pub(crate) drain_timeout: Option<Span>,
    /// These folders, in place of those configured.
    pub(crate) context: Vec<PathBuf>,
}

/// The smallest budget in which a small model and a few requests have room.
const LEAST_MEMORY: Size = Size::mebibytes(16);

impl Config {
    /// Reads the file, if one is named, and the environment, and applies the flags.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with the place it was written at.
    pub(crate) async fn read(path: Option<&Path>, overrides: Overrides) -> anyhow::Result<Self> {
        let text = match path {
            Some(path) => read_text(path, "--config").await?,
            None => String::new(),
        };
        let mut config = file::merge(path, &text, file::Environment::of_process())?;
        config.apply(overrides)?;
        config.check()?;
        Ok(config)
    }

    fn apply(&mut self, overrides: Overrides) -> anyhow::Result<()> {
        let mut named = BTreeSet::new();
        if let Some(listen) = overrides.listen {
            self.server.listen = listen;
        }
        if let Some(drain_timeout) = overrides.drain_timeout {
            self.server.drain_timeout = drain_timeout;
        }
        if !overrides.context.is_empty() {
            self.context.folders = overrides.context;
        }
        self.memory.limit = overrides.memory.or(self.memory.limit);
        for ModelFlag { name, modality, source } in overrides.models {
            if !named.insert(name.clone()) {
                return Err(Usage::new(format!(
                    "--model {name} is given twice; give each model its own name"
                ))
                .into());
            }
            let model = self.models.entry(name).or_default();
            model.modality = Some(modality.to_string());
            model.source = Some(source);
        }
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        let server = &self.server;
        if server.listen.is_empty() {
            bail!("server.listen is empty; write HOST:PORT, such as 127.0.0.1:8080");
        }
        if server.body_limit.0 == 0 {
            bail!("server.body_limit is 0: no request could be sent; the default is 32MiB");
        }
        if let Some(limit) = self.memory.limit
            && limit < LEAST_MEMORY
        {
            bail!(
                "memory.limit is {limit}: no model could be loaded; allow at least {LEAST_MEMORY}, or leave it out for 80% of what the machine has"
            );
        }
        for (name, timeout) in
            [("header_timeout", server.header_timeout), ("body_timeout", server.body_timeout)]
        {
            if timeout.0.is_zero() {
                bail!("server.{name} is 0: every client would be too slow; the default is 30s");
            }
        }
        if self.images.remote_limit.0 == 0 || self.images.remote_timeout.0.is_zero() {
            bail!(
                "images.remote_limit and images.remote_timeout must be more than 0; to fetch no pictures, leave images.remote out"
            );
        }
        self.realtime.check()?;
        self.context.check()?;
        if server.request_timeout.is_some_and(|timeout| timeout.0.is_zero()) {
            bail!(
                "server.request_timeout is 0: every request would be too late; allow more than 0, or leave it out for no deadline"
            );
        }
        Ok(())
    }

    /// The models, checked; the built-in one where none is configured.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its key.
    pub(crate) fn models(&self) -> anyhow::Result<Vec<ModelSettings>> {
        if self.models.is_empty() {
            return Ok(vec![ModelSettings::builtin()]);
        }
        self.models.iter().map(|(name, model)| ModelSettings::check(name, model)).collect()
    }

    /// The keys of the file and those given besides.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, with the line that is wrong.
    pub(crate) async fn keys(&self, flags: &[String]) -> anyhow::Result<Keys> {
        let text = match &self.server.api_keys_file {
            Some(path) => Some((path.as_path(), read_text(path, "server.api_keys_file").await?)),
            None => None,
        };
        Keys::parse(text.as_ref().map(|(path, text)| (*path, text.as_str())), flags)
    }
}

/// The text of a file that something names, or why it cannot be had.
pub(crate) async fn read_text(path: &Path, named_by: &str) -> anyhow::Result<String> {
    if path.as_os_str().is_empty() {
        bail!("{named_by} is empty; name a file");
    }
    tokio::fs::read_to_string(path).await.map_err(|error| {
        let told = match error.kind() {
            ErrorKind::NotFound => format!("{} does not exist; check {named_by}", path.display()),
            ErrorKind::InvalidData => format!("{} is not UTF-8 text; check {named_by}", path.display()),
            _ => format!("cannot read {}: {error}; check {named_by}", path.display()),
        };
        anyhow::Error::new(error).context(told)
    })
}
