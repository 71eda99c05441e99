//! Browsers: which web pages may use the server from within one.
//!
//! A browser sends a page's simple requests anywhere without asking, the reader's own machine included, and tells the
//! server whose page it is. Requests that change or compute something are refused where that page is neither the
//! server's own nor allowed by the configuration. Other clients send no such headers and are not concerned.
//!
//! The protocol: <https://fetch.spec.whatwg.org/#http-cors-protocol>.

use std::net::Ipv6Addr;

use anyhow::bail;
use axum::body::Body;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HOST, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::Response;

use super::errors::ApiError;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Pages that may ask.
#[derive(Clone, Default, Debug)]
pub(crate) struct Origins {
    any: bool,
    listed: Vec<String>,
}

/// What a request's page may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Page {
    /// No page asks, or the server's own: nothing has to be said to a browser.
    None,
    /// One that is allowed, with the origin as it was sent.
    Allowed(HeaderValue),
    /// One that is not, with its origin if the browser told.
    Foreign(Option<String>),
}

impl Origins {
    /// Reads `server.allowed_origins`.
    ///
    /// # Errors
    ///
    /// The first that is no origin.
    pub(crate) fn parse(origins: &[String]) -> anyhow::Result<Self> {
        let mut parsed = Self::default();
        for origin in origins {
            if origin == "*" {
                parsed.any = true;
            } else if let Some(sent) = as_sent(origin) {
                parsed.listed.push(sent);
            } else {
                bail!(
                    "server.allowed_origins has {origin:?}, which is no origin; write SCHEME://HOST[:PORT] without a path, such as \"https://example.org\", or \"*\" for all"
                );
            }
        }
        Ok(parsed)
    }

    /// Whether every page may ask.
    pub(super) fn any(&self) -> bool {
        self.any
    }

    /// The hosts of those listed.
    pub(super) fn hosts(&self) -> impl Iterator<Item = &str> {
        self.listed.iter().filter_map(|origin| {
            let authority = origin.split_once("://")?.1;
            // The colon of a port comes after the bracket of an address.
            match authority.rsplit_once(':') {
                Some((host, port)) if !port.contains(']') => Some(host),
                _ => Some(authority),
            }
        })
    }

    /// Whose page asks.
    pub(super) fn page(&self, headers: &HeaderMap) -> Page {
        let site = headers.get(&FETCH_SITE).map(HeaderValue::as_bytes);
        if matches!(site, Some(b"same-origin" | b"none")) {
            return Page::None;
        }
        let Some(origin) = headers.get(ORIGIN) else {
            return if site.is_some() { Page::Foreign(None) } else { Page::None };
        };
        let text = origin.to_str().unwrap_or("unreadable").to_ascii_lowercase();
        // Older browsers do not tell whether the page is the server's own.
        let own = |host: &HeaderValue| {
            let authority = text.split_once("://").map(|(_, authority)| authority.as_bytes());
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host.as_bytes()))
        };
        if site.is_none() && headers.get(HOST).is_some_and(own) {
            return Page::None;
        }
        if self.any || self.listed.contains(&text) {
            return Page::Allowed(origin.clone());
        }
        Page::Foreign(Some(text))
    }
}

/// An origin as browsers send it: a scheme and a host in small letters, and a port where it is not the scheme's own.
/// `None` for what no browser sends.
fn as_sent(text: &str) -> Option<String> {
    let text = text.to_ascii_lowercase();
    let (scheme, authority) = text.split_once("://")?;
    let of_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(of_scheme) {
        return None;
    }
    let (host, rest) = match authority.strip_prefix('[') {
        Some(address) => {
            let (address, rest) = address.split_once(']')?;
            (format!("[{}]", address.parse::<Ipv6Addr>().ok()?), rest)
        }
        None => {
            let (name, rest) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let of_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
            if name.is_empty() || !name.chars().all(of_name) {
                return None;
            }
            (name.to_owned(), rest)
        }
    };
    let port = match rest.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(digits.parse::<u16>().ok()?),
        None if rest.is_empty() => None,
        _ => return None,
    };
    Some(match (scheme, port) {
        (_, None) | ("http", Some(80)) | ("https", Some(443)) => format!("{scheme}://{host}"),
        (_, Some(port)) => format!("{scheme}://{host}:{port}"),
    })
}

impl Page {
    /// The answer that a browser's question before a request gets; `None` for everything else.
    pub(super) fn preflight(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<Result<Response, ApiError>> {
        if method != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        Some(match self {
            Self::Allowed(_) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                let answer = response.headers_mut();
                answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
                // Clients of OpenAI's send headers of their own; none of them means anything but what is documented.
                if let Some(asked) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
                    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
                }
                answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
                Ok(response)
            }
            _ => Err(self.refusal()),
        })
    }

    /// Refuses what a foreign page may not do: anything but looking, which its browser keeps from it.
    ///
    /// # Errors
    ///
    /// 403.
    pub(super) fn check(&self, method: &Method) -> Result<(), ApiError> {
        let looks = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
        match self {
            Self::Foreign(_) if !looks => Err(self.refusal()),
            _ => Ok(()),
        }
    }

    /// Refuses every foreign page: of a WebSocket, browsers keep nothing from a page that opened it.
    ///
    /// # Errors
    ///
    /// 403.
    pub(super) fn check_socket(&self) -> Result<(), ApiError> {
        match self {
            Self::Foreign(_) => Err(self.refusal()),
            _ => Ok(()),
        }
    }

    fn refusal(&self) -> ApiError {
        let page = match self {
            Self::Foreign(Some(origin)) => format!("the page's origin {origin}"),
            _ => "the page's origin".to_owned(),
        };
        ApiError::forbidden(
            "origin_not_allowed",
            format!("{page} may not use this server from a browser; allow it with server.allowed_origins"),
        )
    }

    /// Tells the browser that the page may read the answer.
    pub(super) fn tell(&self, response: &mut Response) {
        let Self::Allowed(origin) = self else { return };
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.append(VARY, HeaderValue::from_static("origin"));
        let exposed = HeaderValue::from_static("x-request-id, retry-after, x-should-retry");
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(allowed: &[&str], headers: &[(HeaderName, &'static str)]) -> Page {
        let allowed: Vec<String> = allowed.iter().map(|origin| (*origin).to_owned()).collect();
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        Origins::parse(&allowed).unwrap().page(&headers.collect())
    }

    #[test]
    fn a_page_is_told_from_a_client() {
        let foreign = |origin: &str| Page::Foreign(Some(origin.to_owned()));
        let host = (HOST, "127.0.0.1:8080");
        assert_eq!(page(&[], std::slice::from_ref(&host)), Page::None);
        assert_eq!(page(&[], &[host.clone(), (ORIGIN, "http://127.0.0.1:8080")]), Page::None);
        assert_eq!(
            page(&[], &[host.clone(), (ORIGIN, "http://127.0.0.1:3000")]),
            foreign("http://127.0.0.1:3000")
        );
        assert_eq!(page(&[], &[host.clone(), (ORIGIN, "null")]), foreign("null"));
        assert_eq!(page(&[], &[host.clone(), (FETCH_SITE, "cross-site")]), Page::Foreign(None));
        assert_eq!(page(&[], &[host.clone(), (FETCH_SITE, "same-site")]), Page::Foreign(None));
        assert_eq!(page(&[], &[host.clone(), (FETCH_SITE, "same-origin"), (ORIGIN, "http://x")]), Page::None);
        let allowed = ["https://App.example:444"];
        assert_eq!(
            page(&allowed, &[(ORIGIN, "https://app.example:444")]),
            Page::Allowed(HeaderValue::from_static("https://app.example:444"))
        );
        assert_eq!(page(&allowed, &[(ORIGIN, "https://app.example")]), foreign("https://app.example"));
        assert!(matches!(page(&["*"], &[(ORIGIN, "null")]), Page::Allowed(_)));
    }

    #[test]
    fn origins_are_compared_as_browsers_send_them() {
        for (written, sent) in [
            ("https://example.org:443", "https://example.org"),
            ("HTTP://X:80", "http://x"),
            ("http://x:443", "http://x:443"),
            ("http://x:08080", "http://x:8080"),
            ("http://[0:0::1]:8080", "http://[::1]:8080"),
            ("moz-extension://3c5b", "moz-extension://3c5b"),
        ] {
            assert!(matches!(page(&[written], &[(ORIGIN, sent)]), Page::Allowed(_)), "{written}");
        }
        let origins = ["http://x:8080", "https://y", "http://[::1]:8080", "http://[::2]"].map(str::to_owned);
        let hosts: Vec<String> = Origins::parse(&origins).unwrap().hosts().map(ToOwned::to_owned).collect();
        assert_eq!(hosts, ["x", "y", "[::1]", "[::2]"]);
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for wrong in [
            "",
            "example.org",
            "https://",
            "https://example.org/",
            "https://example.org/path",
            "://x",
            "a b://x",
            "a:b://x",
            "https://:8080",
            "https://a:b:c",
            "https://a:port",
            "https://a:",
            "https://a:65536",
            "https://a:+1",
            "https://[::1",
            "https://[::1]8080",
            "https://[a]",
        ] {
            let error = Origins::parse(&[wrong.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("server.allowed_origins has {wrong:?}")), "{error}");
        }
    }
}
