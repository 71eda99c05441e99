//! What sessions and rooms have in common: the rooms, who answers in them, what is kept, and the folders that are cited.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chat_realtime::context::{Citations, Context, ContextLimits};
use chat_realtime::room::{HistoryLimits, RoomLimits, Rooms};
use chat_realtime::store::SqliteHistory;
use pool_core::Engine;
use tokio::task::JoinSet;

use super::{PoolEmbedder, PoolResponder};
use crate::config::{ContextConfig, RealtimeConfig};
use crate::registry::{Entry, Registry};

/// Everything that is said.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    rooms: Rooms,
    context: Option<Arc<dyn Citations>>,
    /// Where rooms' histories outlive the process.
    history: Option<SqliteHistory>,
}

/// Whoever joins is counted where sockets are let in.
const ANY_JOINS: u32 = 1_000_000;

impl Talk {
    /// What the configuration asks for; the reading of folders goes on in `tasks`.
    ///
    /// # Errors
    ///
    /// A model that is none or for something else, a folder or a history that cannot be read.
    pub(crate) async fn open(
        config: &RealtimeConfig,
        context: &ContextConfig,
        registry: &Registry,
        engine: &Engine,
        image_limits: imaging::Limits,
        tasks: &mut JoinSet<()>,
    ) -> anyhow::Result<Option<Self>> {
        if !config.enabled {
            if !context.folders.is_empty() {
                bail!(
                    "folders are cited in sessions and rooms, and realtime.enabled is false; set it to true, or name no folders"
                );
            }
            return Ok(None);
        }
        let responder =
            chosen(registry, config.model.as_deref(), "realtime.model", "writes text", |entry| {
                PoolResponder::new(entry, image_limits)
            })?;
        let context = if context.folders.is_empty() {
            None
        } else {
            Some(citations(context, registry, engine, tasks).await?)
        };
        let mut rooms = Rooms::builder().limits(limits(config));
        if let Some(responder) = responder {
            rooms = rooms.responder(Arc::new(responder));
        }
        if let Some(context) = &context {
            rooms = rooms.context(Arc::clone(context));
        }
        let history = match &config.history.file {
            Some(file) => Some(SqliteHistory::open(engine.lanes().clone(), file.clone()).await?),
            None => None,
        };
        if let Some(history) = &history {
            rooms = rooms.store(Arc::new(history.clone()));
        }
        Ok(Some(Self { rooms: rooms.build(), context, history }))
    }

    pub(super) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    pub(super) fn context(&self) -> Option<Arc<dyn Citations>> {
        self.context.clone()
    }

    /// Closes every room, within so long, and then the history.
    pub(crate) async fn close(&self, within: Duration) {
        let late = self.rooms.shutdown(within).await;
        if late > 0 {
            tracing::warn!(rooms = late, "rooms were cut off at the drain's deadline");
        }
        if let Some(history) = &self.history
            && let Err(error) = history.close().await
        {
            tracing::warn!(%error, "the history was not closed; nothing of it is lost");
        }
    }
}

fn limits(config: &RealtimeConfig) -> RoomLimits {
    let history =
        HistoryLimits { events: config.history.messages.count(), bytes: config.history.bytes.as_usize() };
    RoomLimits { joins_per_second: ANY_JOINS, history, ..RoomLimits::default() }
}

/// Starts to read the folders.
async fn citations(
    config: &ContextConfig,
    registry: &Registry,
    engine: &Engine,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<Arc<dyn Citations>> {
    let embedder =
        chosen(registry, config.model.as_deref(), "context.model", "embeds texts", PoolEmbedder::new)?
            .context("folders are cited by a model that embeds texts, and there is none; add one of the modality text-embedding")?;
    let lanes = engine.lanes().clone();
    let folders = config.folders.clone();
    let (context, reading) = Context::open(folders, Arc::new(embedder), lanes, ContextLimits::default())
        .await
        .context("cannot read the context's folders; check --context and context.folders")?;
    tasks.spawn(async move {
        reading.await;
    });
    Ok(Arc::new(context))
}

/// The model that is named, or the first one that will do.
fn chosen<T>(
    registry: &Registry,
    named: Option<&str>,
    key: &str,
    does: &str,
    of: impl Fn(&Arc<Entry>) -> Option<T>,
) -> anyhow::Result<Option<T>> {
    let Some(name) = named else { return Ok(registry.entries().find_map(of)) };
    let found = registry.entries().find(|entry| entry.name() == name).and_then(&of);
    if found.is_some() {
        return Ok(found);
    }
    let fit: Vec<&str> =
        registry.entries().filter(|entry| of(entry).is_some()).map(|entry| entry.name()).collect();
    let there =
        if fit.is_empty() { "there is none".to_owned() } else { format!("there are {}", fit.join(", ")) };
    bail!("{key} is {name:?}, which is no model that {does}; {there}")
}
