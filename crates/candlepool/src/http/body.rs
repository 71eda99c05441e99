//! Reading a request's body: within its limit, its time and the memory budget.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use pool_core::Bytes as Size;
use pool_core::memory_governor::{Account, Reservation};

use super::AppState;
use super::errors::ApiError;

/// A whole body, and the part of the memory budget that it takes for as long as it lives.
#[derive(Debug)]
pub(crate) struct WholeBody {
    pieces: Pieces,
    reservation: Reservation,
}

/// A body as it came. Where its length is not known before, every piece has its own memory: a single one would be copied
/// to another place again and again as it grows, megabytes at once on a runtime thread.
#[derive(Debug)]
struct Pieces {
    whole: Vec<Vec<u8>>,
    last: Vec<u8>,
    len: usize,
    announced: Option<usize>,
}

impl Pieces {
    fn new(announced: Option<usize>) -> Self {
        let last = Vec::with_capacity(announced.unwrap_or(0).min(PIECE));
        Self { whole: Vec::new(), last, len: 0, announced }
    }

    fn add(&mut self, mut data: &[u8]) {
        self.len += data.len();
        if let Some(announced) = self.announced
            && self.len > self.last.capacity()
        {
            // A first piece has come, so the rest is meant.
            self.last.reserve_exact(announced.max(self.len) - self.last.len());
        }
        while !data.is_empty() {
            if self.last.len() == self.last.capacity() {
                let before = self.len - data.len();
                let next = Vec::with_capacity(before.max(data.len()).clamp(FIRST, PIECE));
                let full = std::mem::replace(&mut self.last, next);
                if !full.is_empty() {
                    self.whole.push(full);
                }
            }
            let (now, later) = data.split_at(data.len().min(self.last.capacity() - self.last.len()));
            self.last.extend_from_slice(now);
            data = later;
        }
    }

    /// All of it in one place.
    fn join(self) -> Vec<u8> {
        if self.whole.is_empty() {
            return self.last;
        }
        let mut joined = Vec::with_capacity(self.len);
        for piece in self.whole.into_iter().chain([self.last]) {
            joined.extend_from_slice(&piece);
        }
        joined
    }
}

/// Memory is taken in pieces of so many bytes.
const PIECE: usize = 1 << 20;
/// The first piece: what a client who sends a byte and then waits may take. Later ones are as long as all before them, until
/// they are whole pieces.
const FIRST: usize = 16 << 10;
/// After so many bytes everybody else on the thread has a turn. New memory is cleared by the system as it is written to, so
/// megabytes take many milliseconds on a machine whose cores are busy.
const STRETCH: usize = 128 << 10;
/// When there may be memory again.
const RETRY: Duration = Duration::from_secs(1);

impl WholeBody {
    /// Reads a body of JSON.
    ///
    /// # Errors
    ///
    /// 400 for another type, 413 as soon as it is known to be too large, 408 where the client pauses too long, 429 where
    /// the budget has no room.
    pub(crate) async fn read(app: &AppState, headers: &HeaderMap, body: Body) -> Result<Self, ApiError> {
        check_type(headers)?;
        Self::read_any(app, headers, body).await
    }

    /// Reads a form, and says what stands between its parts.
    ///
    /// # Errors
    ///
    /// As [`WholeBody::read`].
    pub(crate) async fn read_form(
        app: &AppState,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Self, String), ApiError> {
        let boundary = boundary(headers)?;
        Ok((Self::read_any(app, headers, body).await?, boundary))
    }

    async fn read_any(app: &AppState, headers: &HeaderMap, mut body: Body) -> Result<Self, ApiError> {
        let limit = app.limits.body;
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|announced| announced > limit) {
            return Err(too_large(limit));
        }
        let no_memory = |_| {
            ApiError::overloaded("the memory budget has no room for the request; send it again later", RETRY)
        };
        let governor = app.engine.governor();
        // For what has come, and about as much again; never for what was announced: announcing costs a client nothing.
        let mut reservation = governor.try_reserve(Account::Inputs, Size(0)).map_err(no_memory)?;
        let mut pieces = Pieces::new(announced);
        let mut yielded = 0;
        loop {
            if pieces.len - yielded >= STRETCH {
                yielded = pieces.len;
                tokio::task::yield_now().await;
            }
            let frame = tokio::time::timeout(app.limits.body_timeout, body.frame()).await;
            let frame = frame.map_err(|_| {
                let paused = app.limits.body_timeout.as_secs_f64();
                ApiError::timeout(format!("nothing of the body came for {paused} s; send it without pauses"))
            })?;
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|error| {
                ApiError::invalid("incomplete_body", format!("the body ended before it was whole: {error}"))
            })?;
            let Some(data) = frame.data_ref() else { continue };
            let len = pieces.len + data.len();
            if len > limit {
                return Err(too_large(limit));
            }
            let reserved = usize::try_from(reservation.bytes().get()).unwrap_or(usize::MAX);
            if len > reserved {
                let ahead = announced.unwrap_or(usize::MAX).saturating_sub(reserved);
                let more = reserved.clamp(FIRST, PIECE).min(ahead).max(len - reserved);
                reservation.try_grow(Size(more as u64)).map_err(no_memory)?;
            }
            pieces.add(data);
        }
        if !pieces.whole.is_empty() {
            // What it is joined in.
            reservation.try_grow(Size(pieces.len as u64)).map_err(no_memory)?;
        }
        Ok(Self { pieces, reservation })
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len
    }

    /// Reads something out of all of it; to be called in a lane where it is long. Its memory is given back then.
    pub(crate) fn read_with<T>(self, read: impl FnOnce(Vec<u8>) -> T) -> T {
        let Self { pieces, reservation } = self;
        let outcome = read(pieces.join());
        drop(reservation);
        outcome
    }
}

/// JSON and nothing else. A type that a web page may send anywhere without asking (a form, plain text) is refused, so
/// that pages cannot use a server on the reader's own machine.
fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    check_encoding(headers)?;
    let Some(given) = headers.get(CONTENT_TYPE) else {
        return Ok(());
    };
    let given = given.to_str().unwrap_or("unreadable");
    let kind = given.split(';').next().unwrap_or(given).trim().to_ascii_lowercase();
    if kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json")) {
        return Ok(());
    }
    let message = format!("the body's content-type is {given}; send application/json");
    Err(ApiError::invalid("unsupported_content_type", message))
}

/// What stands between the parts of a form. A web page may send one anywhere without asking; that pages of other origins
/// may not is seen to by [`origins`](super::origins).
fn boundary(headers: &HeaderMap) -> Result<String, ApiError> {
    check_encoding(headers)?;
    let given = headers.get(CONTENT_TYPE).map_or("none", |given| given.to_str().unwrap_or("unreadable"));
    multer::parse_boundary(given).map_err(|_| {
        let message =
            format!("the body's content-type is {given}; send multipart/form-data with its boundary");
        ApiError::invalid("unsupported_content_type", message)
    })
}

fn check_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding.as_bytes() != b"identity" => {
            let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
            let message = format!("content-encoding {encoding} is not supported; send the body as it is");
            Err(ApiError::invalid("unsupported_encoding", message))
        }
        _ => Ok(()),
    }
}

fn too_large(limit: usize) -> ApiError {
    let limit = crate::config::Size(limit as u64);
    ApiError::too_large(format!("the body is larger than {limit}, this server's limit; send less at once"))
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
        #[test]
        fn no_byte_is_lost_and_none_is_moved_that_was_not_announced(
            frames in proptest::collection::vec(0_usize..3 * PIECE / 2, 0..6),
            announces in proptest::bool::ANY,
        ) {
            let all: Vec<u8> = (0..frames.iter().sum()).map(|at: usize| (at % 251) as u8).collect();
            let mut pieces = Pieces::new(announces.then_some(all.len()));
            let mut rest = all.as_slice();
            for frame in frames {
                let (now, later) = rest.split_at(frame);
                pieces.add(now);
                rest = later;
                let widest = pieces.whole.iter().chain([&pieces.last]).map(Vec::capacity).max();
                proptest::prop_assert!(announces || widest <= Some(PIECE));
                proptest::prop_assert!(!announces || pieces.whole.is_empty());
            }
            proptest::prop_assert_eq!(pieces.len, all.len());
            proptest::prop_assert!(pieces.join() == all);
        }
    }
}
