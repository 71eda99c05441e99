//! `candlepool ps`: what a running server does, from its `/pools`.

use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;

use super::list::ListFormat;
use super::table::aligned;
use crate::config::Size;
use crate::http::Pools;
use crate::output::Sink;
use crate::tls::tls;

/// The arguments of `ps`.
#[derive(Args, Debug)]
pub(super) struct PsArgs {
    /// Where the server is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// A key of the server's, if it wants one; better given as CANDLEPOOL_API_KEY
    #[arg(long, value_name = "KEY")]
    api_key: Option<String>,
    /// How the answer is written
    #[arg(long, value_enum, default_value = "text")]
    format: ListFormat,
}

/// A server that lives answers this question at once.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn run(arguments: PsArgs) -> anyhow::Result<()> {
    let url = address(&arguments.server)?;
    let key =
        arguments.api_key.or_else(|| std::env::var("CANDLEPOOL_API_KEY").ok()).filter(|key| !key.is_empty());
    let body = ask(&url, key.as_deref()).await?;
    let not_ours = || anyhow!("{url} gave an answer that is not candlepool's; check --server");
    let written = match arguments.format {
        ListFormat::Json => {
            let document: Value = serde_json::from_slice(&body).map_err(|_| not_ours())?;
            format!("{document}\n")
        }
        ListFormat::Text => {
            let pools: Pools = serde_json::from_slice(&body).map_err(|_| not_ours())?;
            table(&pools)
        }
    };
    let mut sink = Sink::open(None).await?;
    sink.write(written.as_bytes()).await?;
    sink.flush().await
}

/// `/pools` of a server that may be named with or without a scheme.
fn address(server: &str) -> anyhow::Result<Url> {
    let spelled = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    let invalid = |why: &str| anyhow!("--server is {server:?}: {why}; write http://HOST:PORT");
    let mut url: Url = spelled.parse().map_err(|_| invalid("no address"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(invalid("neither http nor https"));
    }
    let path = format!("{}/pools", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

async fn ask(url: &Url, key: Option<&str>) -> anyhow::Result<bytes::Bytes> {
    let unreachable = |error: reqwest::Error| {
        let why = if error.is_timeout() { "no answer in time".to_owned() } else { innermost(&error) };
        anyhow::Error::new(error).context(format!("cannot reach {url}: {why}; is the server running there?"))
    };
    let tls = tls(url.scheme() == "https").map_err(|error| anyhow!("cannot speak TLS to {url}: {error}"))?;
    let client = Client::builder().tls_backend_preconfigured(tls).timeout(PATIENCE).build()?;
    let mut request = client.get(url.clone());
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer = request.send().await.map_err(unreachable)?;
    match answer.status() {
        StatusCode::OK => Ok(answer.bytes().await.map_err(unreachable)?),
        StatusCode::UNAUTHORIZED => {
            bail!(
                "{url} wants an API key (401); give one of the server's keys as --api-key or CANDLEPOOL_API_KEY"
            )
        }
        StatusCode::FORBIDDEN => {
            bail!(
                "{url} does not answer to this host name (403); ask by an IP address, or add the name to the server's allowed_hosts"
            )
        }
        status => bail!("{url} answered {status}; check --server"),
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}

fn table(pools: &Pools) -> String {
    let header =
        ["MODEL", "STATE", "WORKERS", "WAITING", "RUNNING", "DONE", "FAILED", "TOKENS/S", "MEMORY", "SOURCE"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for model in &pools.models {
        rows.push(vec![
            model.name.clone(),
            if model.healthy { model.state.clone() } else { format!("{} (unhealthy)", model.state) },
            model.workers.len().to_string(),
            model.queue.waiting.to_string(),
            model.queue.leased.to_string(),
            model.jobs.completed.to_string(),
            model.jobs.failed.to_string(),
            model.queue.tokens_per_second.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
            Size(model.resident_bytes).to_string(),
            model.source.clone(),
        ]);
    }
    let mut text = aligned(&rows);
    let limit =
        pools.memory.limit_bytes.map_or_else(|| "no limit".to_owned(), |limit| Size(limit).to_string());
    text.push_str(&format!("\n{}; memory {} of {limit}\n", pools.status, Size(pools.memory.used_bytes)));
    for model in &pools.models {
        if let Some(error) = &model.last_error {
            text.push_str(&format!("{}: {}\n", model.name, crate::failure::one_line(error)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_with_or_without_a_scheme() {
        for (given, wanted) in [
            ("http://h:1", "http://h:1/pools"),
            ("http://h:1/", "http://h:1/pools"),
            ("127.0.0.1:8080", "http://127.0.0.1:8080/pools"),
            ("https://h/prefix/", "https://h/prefix/pools"),
        ] {
            assert_eq!(address(given).unwrap().as_str(), wanted);
        }
        assert!(address("ftp://h").unwrap_err().to_string().contains("neither http nor https"));
        assert!(address("http://").is_err());
    }
}
