//! `candlepool serve`: from the configuration to the drain's report.

use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use clap::Args;
use model_source::Source;
use pool_core::Engine;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::config::{Config, ModelFlag, Overrides, Size, Span};
use crate::failure::FAILED;
use crate::http::{
    self, App, AppState, Connections, Exporter, Hosts, Limits, Listening, Origins, Sockets, Talk,
};
use crate::logging::{self, LogFormat};
use crate::registry::{Registry, Standing};
use crate::shutdown::{Drain, Signals, report_line};
use crate::stderr;

/// The arguments of `serve`.
#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// The configuration; variables such as CANDLEPOOL__SERVER__LISTEN override it, and flags override both
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen; 127.0.0.1:8080 unless configured
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// A model to serve, such as minilm=text-embedding:hf:sentence-transformers/all-MiniLM-L6-v2
    #[arg(long = "model", value_name = "NAME=MODALITY:SOURCE", value_parser = clap::value_parser!(ModelFlag))]
    models: Vec<ModelFlag>,
    /// What models, caches and inputs take together, such as 6GiB; 80% of what there is unless configured
    #[arg(long, value_name = "SIZE", value_parser = clap::value_parser!(Size))]
    memory: Option<Size>,
    /// A key that clients must send; anybody on this machine can read it here, so prefer server.api_keys_file
    #[arg(long = "api-key", value_name = "KEY")]
    api_keys: Vec<String>,
    /// How long a shutdown waits for what was accepted, such as 30s
    #[arg(long, value_name = "DURATION", value_parser = clap::value_parser!(Span))]
    drain_timeout: Option<Span>,
    /// A folder whose files rooms and sessions cite; repeat it for more
    #[arg(long = "context", value_name = "DIR")]
    context: Vec<PathBuf>,
}

/// However little there is to finish, new work is refused for so long: clients that were connecting hear a 503 then, and
/// not the end of the connection.
const REFUSING: Duration = Duration::from_millis(300);
/// A signal that follows another so soon is the same one: supervisors and terminals signal a process and its group.
const SAME_SIGNAL: Duration = Duration::from_secs(1);
/// When everything accepted has its answer, connections get so long to pass it on, even past the drain's deadline.
const FLUSH: Duration = Duration::from_secs(2);
/// What the log says last gets so long where the server is to end at once.
const LAST_WORDS: Duration = Duration::from_millis(200);

pub(super) async fn run(arguments: ServeArgs, log_format: Option<LogFormat>) -> anyhow::Result<()> {
    // Before all else: reading the configuration may wait for a pipe, and looking for models for a disk.
    let mut signals = Signals::take().context("cannot listen to signals")?;
    let server = tokio::select! {
        prepared = Server::prepare(arguments, log_format) => prepared?,
        // Nothing was promised to anybody yet.
        _ = signals.next() => return Ok(()),
    };
    server.run(&mut signals).await
}

/// A server that is bound to its address and looks for its models.
struct Server {
    app: App,
    listening: Listening,
    connections: Connections,
    drain_timeout: Duration,
    /// The look for each model, and the care for the metrics.
    _tasks: JoinSet<()>,
}

impl Server {
    async fn prepare(arguments: ServeArgs, log_format: Option<LogFormat>) -> anyhow::Result<Self> {
        let ServeArgs { config, listen, models, memory, api_keys, drain_timeout, context } = arguments;
        let overrides = Overrides { listen, memory, models, drain_timeout, context };
        let config = Config::read(config.as_deref(), overrides).await?;
        let log_format = log_format.or(config.log.format).unwrap_or_default();
        logging::start(log_format, config.log.level.as_deref(), logging::SERVER)?;
        logging::log_panics();
        let models = config.models()?;
        let keys = config.keys(&api_keys).await?;
        let server = &config.server;
        let origins = Origins::parse(&server.allowed_origins)?;
        let hosts = Hosts::parse(&server.allowed_hosts, &server.listen, &origins)?;
        let listening = Listening::bind(&server.listen).await?;
        // Before the engine, whose metrics are bound when it is made.
        let exporter = Exporter::install()?;
        let mut builder = Engine::builder();
        if let Some(limit) = config.memory.limit {
            builder = builder.memory_limit(limit.bytes());
        }
        let remote_images = config.images.fetching()?;
        let mut tasks = JoinSet::new();
        let engine = builder.build()?;
        let registry = Registry::new(models);
        let image_limits = config.images.limits();
        let talk =
            Talk::open(&config.realtime, &config.context, &registry, &engine, image_limits, &mut tasks);
        let talk = talk.await?;
        let app = Arc::new(AppState {
            engine,
            registry,
            keys,
            origins,
            hosts,
            limits: Limits {
                body: server.body_limit.as_usize(),
                body_timeout: server.body_timeout.0,
                request_timeout: server.request_timeout.map(|timeout| timeout.0),
            },
            image_limits,
            remote_images,
            drain: Drain::new(),
            sockets: Sockets::new(config.realtime.sockets(), config.realtime.admission()),
            talk,
            exporter: exporter.clone(),
            lingering: TaskTracker::new(),
            started: Instant::now(),
            started_at: SystemTime::now(),
        });
        tasks.spawn(exporter.upkeep());
        for entry in app.registry.entries() {
            tasks.spawn(Arc::clone(entry).resolve(app.engine.clone()));
        }
        let connections =
            Connections::new(server.max_connections.count(), server.header_timeout.0, server.body_timeout.0);
        Ok(Self { app, listening, connections, drain_timeout: server.drain_timeout.0, _tasks: tasks })
    }

    /// Serves until a signal, and ends in order.
    async fn run(self, signals: &mut Signals) -> anyhow::Result<()> {
        let Self { app, listening, connections, drain_timeout, _tasks } = self;
        let mut accepting = pin!(connections.accept(&listening, http::router(Arc::clone(&app))));
        let serving = async {
            require_a_model(&app).await?;
            app.registry.announce();
            tracing::info!(address = %listening.address(), "listening on http://{}", listening.address());
            accepting.as_mut().await;
            Ok::<_, anyhow::Error>("the end of the listener")
        };
        let signal = tokio::select! {
            ended = serving => match ended {
                Ok(signal) => signal,
                Err(error) => {
                    // The process ends now with this one line; an engine's end would be told in the log as well.
                    std::mem::forget(Arc::clone(&app));
                    return Err(error);
                }
            },
            signal = signals.next() => signal,
        };
        tracing::info!(signal, within = ?drain_timeout, "draining: new work is refused, what was accepted finishes");
        let told = Instant::now();
        let ending = async {
            drain(&app, told + drain_timeout).await;
            connections.close(FLUSH, told + drain_timeout).await;
        };
        let insisted = async {
            loop {
                let signal = signals.next().await;
                if told.elapsed() >= SAME_SIGNAL {
                    return signal;
                }
            }
        };
        tokio::select! {
            // The listener goes on to the very end, so that who comes now hears why there is no answer.
            () = &mut accepting => {}
            () = ending => {}
            signal = insisted => {
                tracing::warn!(signal, "ending at once, without waiting for what was accepted");
                let _ = tokio::time::timeout(LAST_WORDS, stderr::flush()).await;
                std::process::exit(FAILED);
            }
        }
        Ok(())
    }
}

/// Waits for requests, then for jobs nobody waits for any more, and reports.
async fn drain(app: &App, deadline: Instant) {
    let began = Instant::now();
    app.drain.begin();
    let left = || deadline.saturating_duration_since(Instant::now());
    // Conversations have no end of their own: they are told at once.
    let talking = async {
        if let Some(talk) = &app.talk {
            talk.close(left()).await;
        }
    };
    tokio::join!(
        app.drain.finish(left()),
        talking,
        app.sockets.close(deadline),
        tokio::time::sleep(REFUSING)
    );
    let report = app.engine.drain(left()).await;
    stderr::tell_by(&report_line(&report, began.elapsed()), deadline).await;
}

/// Refuses to start where nothing could ever be served. A source that has to be fetched is waited for in the background
/// instead, as is one beside others that work.
async fn require_a_model(app: &App) -> anyhow::Result<()> {
    let mut failures = Vec::new();
    for entry in app.registry.entries() {
        if matches!(entry.settings().source, Source::Hub(_)) {
            return Ok(());
        }
        match entry.first_attempt().await {
            Standing::Failed { why, .. } => failures.push(format!("{}: {why}", entry.name())),
            Standing::Ready(_) | Standing::Resolving => return Ok(()),
        }
    }
    bail!("no model can be served: {}", failures.join("; "))
}
