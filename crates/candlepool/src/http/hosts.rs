//! Names: by which ones the server may be asked where it has no keys.
//!
//! Whoever owns a name can have it lead to the reader's own machine while one of his pages is open (DNS rebinding). For
//! the browser that page is then the server's own, and only the name that was asked for tells it from one. An address
//! leads nowhere else, so it needs no leave.

use std::net::IpAddr;

use anyhow::bail;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri};

use super::errors::ApiError;
use super::origins::Origins;
use crate::failure::shortened;

/// So much of a name is told.
const LONGEST_NAME: usize = 253;

/// The names that are not refused.
#[derive(Clone, Default, Debug)]
pub(crate) struct Hosts {
    any: bool,
    known: Vec<String>,
}

impl Hosts {
    /// Those of `server.allowed_hosts`, of `server.listen` and of the origins whose pages may ask.
    ///
    /// # Errors
    ///
    /// The first of `allowed` that is no name.
    pub(crate) fn parse(allowed: &[String], listen: &str, origins: &Origins) -> anyhow::Result<Self> {
        let mut known = vec![plain(listen.rsplit_once(':').map_or(listen, |(host, _port)| host))];
        for name in allowed.iter().filter(|name| *name != "*") {
            if !is_name(name) {
                bail!(
                    "server.allowed_hosts has {name:?}, which is no host name; write it without scheme, port and path, such as \"models.example.org\", or \"*\" for all"
                );
            }
            known.push(plain(name));
        }
        known.extend(origins.hosts().map(plain));
        Ok(Self { any: origins.any() || allowed.iter().any(|name| name == "*"), known })
    }

    /// Refuses a request that asks for the server by a name it is not known by. One without any is no browser's.
    ///
    /// # Errors
    ///
    /// 403.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        if self.any {
            return Ok(());
        }
        // The request's first line may name one too; of several headers each is looked at.
        let line = uri.authority().map(|authority| authority.as_str().as_bytes());
        let headers = headers.get_all(HOST).iter().map(HeaderValue::as_bytes);
        for asked in line.into_iter().chain(headers) {
            let authority = Authority::try_from(asked).ok();
            if authority.as_ref().is_some_and(|authority| self.knows(authority.host())) {
                continue;
            }
            let asked = String::from_utf8_lossy(asked);
            let name = shortened(authority.as_ref().map_or(&asked, Authority::host), LONGEST_NAME);
            return Err(ApiError::forbidden(
                "host_not_allowed",
                format!(
                    "this server does not answer to the host name {name:?}, which a web page could have made lead here; ask by an IP address, or add the name to server.allowed_hosts"
                ),
            ));
        }
        Ok(())
    }

    fn knows(&self, host: &str) -> bool {
        let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if address.parse::<IpAddr>().is_ok() {
            return true;
        }
        let host = plain(host);
        // No resolver asks anybody for these.
        host == "localhost" || host.ends_with(".localhost") || self.known.contains(&host)
    }
}

/// As names are compared: without regard to case and to the dot of a fully qualified one.
fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    !text.is_empty() && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    fn hosts(allowed: &[&str], listen: &str, origins: &[&str]) -> Hosts {
        let origins = Origins::parse(&strings(origins)).unwrap();
        Hosts::parse(&strings(allowed), listen, &origins).unwrap()
    }

    fn passes(hosts: &Hosts, host: &str) -> bool {
        let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
        hosts.check(&Uri::from_static("/pools"), &headers).is_ok()
    }

    #[test]
    fn addresses_and_the_servers_own_names_pass() {
        let few = hosts(&["Models.example.org"], "myhost:8080", &["https://app.example:444"]);
        for right in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "10.1.2.3:80",
            "[::1]:8080",
            "[fe80::1]",
            "localhost",
            "LocalHost:8080",
            "localhost.",
            "a.localhost:8080",
            "models.example.org",
            "MODELS.example.org.:8080",
            "myhost:8080",
            "app.example",
        ] {
            assert!(passes(&few, right), "{right}");
        }
        for wrong in [
            "evil.example",
            "evil.example:8080",
            "evil.models.example.org",
            "notlocalhost",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "0.0.0.0.",
            "",
            "a b",
        ] {
            assert!(!passes(&few, wrong), "{wrong}");
        }
        let none = hosts(&[], "0.0.0.0:8080", &[]);
        assert!(passes(&none, "192.168.0.7:8080") && !passes(&none, "models.example.org"));
        assert!(none.check(&Uri::from_static("/"), &HeaderMap::new()).is_ok());
        for all in [hosts(&["*"], "0.0.0.0:8080", &[]), hosts(&[], "0.0.0.0:8080", &["*"])] {
            assert!(passes(&all, "evil.example"));
        }
    }

    #[test]
    fn every_place_that_names_a_host_is_looked_at() {
        let few = hosts(&[], "127.0.0.1:8080", &[]);
        let mut headers = HeaderMap::from_iter([(HOST, "localhost".parse().unwrap())]);
        assert!(few.check(&Uri::from_static("http://evil.example/pools"), &headers).is_err());
        headers.append(HOST, "evil.example".parse().unwrap());
        assert!(few.check(&Uri::from_static("/pools"), &headers).is_err());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for wrong in
            ["", "example.org:8080", "http://example.org", "example.org/x", "[::1]", "*.example.org", "a b"]
        {
            let error = Hosts::parse(&strings(&[wrong]), "127.0.0.1:0", &Origins::default()).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with(&format!("server.allowed_hosts has {wrong:?}")), "{error}");
        }
    }
}
