//! `GET /metrics`: Prometheus text. Owns the exporter, and the metrics of the HTTP face itself.
//!
//! `docs/http.md` has every metric's name and unit.

use std::time::Duration;

use anyhow::anyhow;
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use metrics::{Unit, counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::time::Instant;

use super::App;
use crate::stderr::DROPPED_LINES;

const REQUESTS: &str = "candlepool_http_requests_total";
const REQUEST_SECONDS: &str = "candlepool_http_request_seconds";
const IN_FLIGHT: &str = "candlepool_http_requests_in_flight";

/// From a dispatch alone to a cold start: each about two and a half times the one before.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 25.0, 60.0,
];
const JOBS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Samples are folded into buckets this often, so that their memory stays bounded when nobody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// Where every metric of the process is gathered.
#[derive(Clone)]
pub(crate) struct Exporter(PrometheusHandle);

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Exporter")
    }
}

impl Exporter {
    /// Gathers from now on; to be called before the engine is built, and once in a process.
    ///
    /// # Errors
    ///
    /// When something else gathers already.
    pub(crate) fn install() -> anyhow::Result<Self> {
        let recorder = Self::builder()?.build_recorder();
        let exporter = Self(recorder.handle());
        metrics::set_global_recorder(recorder).map_err(|error| anyhow!("cannot gather metrics: {error}"))?;
        describe();
        Ok(exporter)
    }

    fn builder() -> anyhow::Result<PrometheusBuilder> {
        let builder = PrometheusBuilder::new();
        let builder = builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?;
        Ok(builder.set_buckets_for_metric(Matcher::Full(pool_core::metrics::STEP_JOBS.to_owned()), JOBS)?)
    }

    /// One that gathers nothing, for tests.
    #[cfg(test)]
    pub(crate) fn idle() -> Self {
        Self(Self::builder().unwrap().build_recorder().handle())
    }

    /// Keeps the memory of samples bounded, for as long as it is polled.
    pub(crate) async fn upkeep(self) {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            self.0.run_upkeep();
        }
    }
}

fn describe() {
    pool_core::metrics::describe();
    metrics::describe_counter!(REQUESTS, Unit::Count, "HTTP requests, by method, route and status");
    metrics::describe_histogram!(REQUEST_SECONDS, Unit::Seconds, "Time from a request's head to its answer");
    metrics::describe_gauge!(IN_FLIGHT, Unit::Count, "HTTP requests that have no answer yet");
    metrics::describe_counter!(DROPPED_LINES, Unit::Count, "Log lines that standard error had no room for");
    // There before the first one is dropped: what appears with its first value has not increased.
    counter!(DROPPED_LINES).increment(0);
}

/// Answers the request.
pub(super) async fn metrics(State(app): State<App>) -> Response {
    // Of an engine that has drained, memory and lanes are told all the same.
    let _ = app.engine.publish_metrics().await;
    let mut response = app.exporter.0.render().into_response();
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// One request, from its head to its answer or its client's departure.
#[derive(Debug)]
pub(super) struct Observed {
    method: &'static str,
    route: String,
    since: Instant,
    status: Option<u16>,
}

impl Observed {
    /// A request on a route; paths that are none are not told apart, as anybody can invent them.
    pub(super) fn begin(method: &axum::http::Method, route: Option<&str>) -> Self {
        const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
        let method = KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other");
        gauge!(IN_FLIGHT).increment(1.0);
        Self { method, route: route.unwrap_or("other").to_owned(), since: Instant::now(), status: None }
    }

    pub(super) fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let status = self.status.map_or_else(|| "disconnected".to_owned(), |status| status.to_string());
        gauge!(IN_FLIGHT).decrement(1.0);
        counter!(REQUESTS, "method" => self.method, "route" => self.route.clone(), "status" => status)
            .increment(1);
        histogram!(REQUEST_SECONDS, "route" => self.route.clone()).record(self.since.elapsed().as_secs_f64());
    }
}
