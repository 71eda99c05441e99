//! The whole router in process, with tiny models of random weights.

mod bodies;
mod drawings;
mod embeddings;
mod heartbeat;
mod images;
#[path = "../../../text-to-text/tests/it/models.rs"]
#[allow(dead_code, reason = "its own crate's tests ask more of it")]
mod language_models;
mod operations;
mod page;
mod realtime;
mod requests;
mod text;
#[path = "../../../llava-vision/tests/it/tiny.rs"]
#[allow(dead_code, reason = "its own crate's tests ask more of it")]
mod vision_models;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use pool_core::Engine;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use super::{App, AppState, Exporter, Hosts, Limits, Origins, Sockets, Talk, router};
use crate::config::{Config, Keys};
use crate::registry::Registry;
use crate::remote_images::RemoteImages;
use crate::shutdown::Drain;

/// Those who saturate the machine share it; who measures time has it alone.
static MACHINE: tokio::sync::RwLock<()> = tokio::sync::RwLock::const_new(());

/// A server without a socket.
struct Server {
    app: App,
    router: Router,
    _resolvers: JoinSet<()>,
}

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// Checks an error's status and code, and its shape besides; gives the message.
    #[track_caller]
    fn refused(&self, status: u16, code: &str) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let body = self.json();
        let error = &body["error"];
        assert_eq!(error["code"], code, "{}", self.text);
        assert!(error["type"].is_string() && error.get("param").is_some(), "{}", self.text);
        let message = error["message"].as_str().unwrap().to_owned();
        assert!(!message.is_empty() && !message.contains('\n'), "{message}");
        message
    }
}

const NO_KEYS: &str = "";

fn checkpoint(name: &str) -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../text-embedding/tests/fixtures/checkpoints").join(name);
    path.display().to_string()
}

impl Server {
    async fn start() -> Self {
        Self::with(NO_KEYS, 1 << 20, "").await
    }

    /// A server with these keys, this limit of bodies and this much more of configuration.
    async fn with(keys: &str, body_limit: usize, more: &str) -> Self {
        Self::fetching(keys, body_limit, more, None).await
    }

    /// The same, with another way to fetch pictures than the configuration's.
    async fn fetching(keys: &str, body_limit: usize, more: &str, images: Option<RemoteImages>) -> Self {
        let text = format!(
            "[models.tiny]\nmodality = \"text-embedding\"\nsource = {:?}\n\
             [models.ranker]\nmodality = \"text-embedding\"\nsource = {:?}\n{more}",
            checkpoint("pool-mean"),
            checkpoint("rerank-1"),
        );
        let config: Config = toml::from_str(&text).unwrap();
        let keys = (!keys.is_empty()).then_some((Path::new("keys.txt"), keys));
        let origins = Origins::parse(&config.server.allowed_origins).unwrap();
        let hosts = Hosts::parse(&config.server.allowed_hosts, &config.server.listen, &origins).unwrap();
        let engine = Engine::builder().build().unwrap();
        let registry = Registry::new(config.models().unwrap());
        let mut resolvers = JoinSet::new();
        let limits = config.images.limits();
        let talk = Talk::open(&config.realtime, &config.context, &registry, &engine, limits, &mut resolvers);
        let talk = talk.await.unwrap();
        let app = Arc::new(AppState {
            engine,
            registry,
            keys: Keys::parse(keys, &[]).unwrap(),
            origins,
            hosts,
            limits: Limits {
                body: body_limit,
                body_timeout: Duration::from_millis(300),
                request_timeout: config.server.request_timeout.map(|timeout| timeout.0),
            },
            image_limits: config.images.limits(),
            remote_images: images.or_else(|| config.images.fetching().unwrap()),
            drain: Drain::new(),
            sockets: Sockets::new(config.realtime.sockets(), config.realtime.admission()),
            talk,
            exporter: Exporter::idle(),
            lingering: TaskTracker::new(),
            started: Instant::now(),
            started_at: SystemTime::now(),
        });
        for entry in app.registry.entries() {
            resolvers.spawn(Arc::clone(entry).resolve(app.engine.clone()));
        }
        Self { router: router(Arc::clone(&app)), app, _resolvers: resolvers }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(post(path).body(body.into()).unwrap()).await
    }

    async fn embed(&self, request: Value) -> Answer {
        self.post("/v1/embeddings", request.to_string()).await
    }
}

fn post(path: &str) -> axum::http::request::Builder {
    Request::post(path).header("content-type", "application/json")
}

fn vector(answer: &Answer, index: usize) -> Vec<f32> {
    let body = answer.json();
    let datum = &body["data"][index];
    assert_eq!((&datum["object"], &datum["index"]), (&json!("embedding"), &json!(index)));
    datum["embedding"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect()
}
