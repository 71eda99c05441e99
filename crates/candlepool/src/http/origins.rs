//! Browsers: which web pages may use the server from within one.
//!
//! A browser sends a page's simple requests anywhere without asking, the reader's own machine included, and tells the
//! server whose page it is. Requests that change or compute something are refused where that page is neither the
//! server's own nor allowed by the configuration. Other clients send no such headers and are not concerned.
//!
//! The protocol: <https://fetch.spec.whatwg.org/#http-cors-protocol>.

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
            } else if is_origin(origin) {
                parsed.listed.push(origin.to_ascii_lowercase());
            } else {
                bail!(
                    "server.allowed_origins has {origin:?}, which is no origin; write SCHEME://HOST[:PORT] without a path, such as \"https://example.org\", or \"*\" for all"
                );
            }
        }
        Ok(parsed)
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

/// A scheme and an authority, and nothing after them.
fn is_origin(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '[' | ']');
    text.split_once("://").is_some_and(|(scheme, authority)| {
        let scheme_is_one = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| plain(c) || c == '+');
        scheme_is_one && !authority.is_empty() && authority.chars().all(plain)
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

    fn refusal(&self) -> ApiError {
        let page = match self {
            Self::Foreign(Some(origin)) => format!("the page's origin {origin}"),
            _ => "the page's origin".to_owned(),
        };
        ApiError::forbidden(format!(
            "{page} may not use this server from a browser; allow it with server.allowed_origins"
        ))
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
        // A page that had its host's name resolved anew tells the truth about itself where the browser does.
        let rebound = [(HOST, "evil.example"), (FETCH_SITE, "cross-site"), (ORIGIN, "http://evil.example")];
        assert_eq!(page(&[], &rebound), foreign("http://evil.example"));
        let allowed = ["https://App.example:444"];
        assert_eq!(
            page(&allowed, &[(ORIGIN, "https://app.example:444")]),
            Page::Allowed(HeaderValue::from_static("https://app.example:444"))
        );
        assert_eq!(page(&allowed, &[(ORIGIN, "https://app.example")]), foreign("https://app.example"));
        assert!(matches!(page(&["*"], &[(ORIGIN, "null")]), Page::Allowed(_)));
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
        ] {
            let error = Origins::parse(&[wrong.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("server.allowed_origins has {wrong:?}")), "{error}");
        }
    }
}
