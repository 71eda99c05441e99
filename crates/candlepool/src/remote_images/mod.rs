//! Pictures that requests name by URL: fetched only where the operator allows it.
//!
//! Owns what may be asked for on a caller's behalf: public addresses only, looked at where names are resolved and at every
//! redirect, within a size and a time, so many at once. What is in the bytes is not looked at here.

mod addresses;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pool_core::Bytes as Size;
use pool_core::memory_governor::{Account, Governor, Reservation};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Url};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use self::addresses::is_public;
use crate::tls::tls;

/// What fetching is bounded by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchLimits {
    /// Bytes of a picture at most.
    pub(crate) bytes: usize,
    /// What a picture may take, from the name's resolution to the last byte.
    pub(crate) timeout: Duration,
}

/// Fetches pictures.
#[derive(Clone, Debug)]
pub(crate) struct RemoteImages {
    client: Client,
    limits: FetchLimits,
    allowed: Allowed,
    /// Fetches at work.
    places: Arc<Semaphore>,
}

/// A picture's file, and its part of the memory budget.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) bytes: Bytes,
    pub(crate) held: Reservation,
}

/// Which addresses may be asked. A plain function but in tests, whose server is on this machine.
type Allowed = fn(IpAddr) -> bool;

/// Fetches at once; more wait for a place, as long as one may take.
const PLACES: usize = 16;
/// Names that are looked up at once. The system cannot be told to stop, so a look-up that nobody waits for any more keeps
/// its place, and the thread that it is on, until it ends by itself.
const LOOKUPS: usize = 16;
/// Redirects that are followed, as browsers' limits go, with nothing to gain from more.
const REDIRECTS: usize = 5;

/// Why a picture was not fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// It is no address of a picture on the web.
    #[error("{url:?} is no URL of a picture: {why}")]
    Url { url: String, why: String },
    /// It is somewhere that callers are not let to.
    #[error(
        "{host} is not a public address, and pictures are fetched from no other; send the picture as a data: URL"
    )]
    Private { host: String },
    /// The server there did not give it.
    #[error("{host} answered {status}; check the URL")]
    Status { host: String, status: u16 },
    /// It is larger than allowed.
    #[error(
        "the picture at {host} has more than {most} bytes, the most that are fetched; send a smaller one"
    )]
    TooLarge { host: String, most: usize },
    /// It took longer than allowed.
    #[error("{host} did not give the picture within {} s; send it as a data: URL", .within.as_secs_f32())]
    TooSlow { host: String, within: Duration },
    /// All places are taken.
    #[error(
        "too many pictures are being fetched; send the request again later, or the picture as a data: URL"
    )]
    Busy,
    /// The memory budget is full.
    #[error("the memory budget has no room for the picture; send the request again later")]
    NoMemory,
    /// Something on the way went wrong.
    #[error("cannot fetch the picture from {host}: {why}; check the URL")]
    Failed { host: String, why: String },
}

/// What a refusal on the way is known by among the client's errors.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not a public address")]
struct NotPublic(String);

impl RemoteImages {
    /// # Errors
    ///
    /// The system's certificates cannot be had.
    pub(crate) fn new(limits: FetchLimits) -> anyhow::Result<Self> {
        Self::allowing(limits, is_public)
    }

    /// The same, with a say of its own in which addresses are public.
    pub(crate) fn allowing(limits: FetchLimits, allowed: Allowed) -> anyhow::Result<Self> {
        let redirects = move |attempt: Attempt<'_>| {
            if attempt.previous().len() > REDIRECTS {
                return attempt.error(format!("more than {REDIRECTS} redirects"));
            }
            match check(attempt.url(), allowed) {
                Ok(()) => attempt.follow(),
                Err(FetchError::Private { host }) => attempt.error(NotPublic(host)),
                Err(other) => attempt.error(other.to_string()),
            }
        };
        let client = Client::builder()
            .tls_backend_preconfigured(tls(true)?)
            .user_agent(concat!("candlepool/", env!("CARGO_PKG_VERSION")))
            // A proxy would resolve names by itself, past what is checked here.
            .no_proxy()
            .dns_resolver(Arc::new(PublicNames::new(allowed)))
            // Addresses may hold signatures, which are not for where they lead.
            .referer(false)
            .redirect(Policy::custom(redirects))
            .build()?;
        Ok(Self { client, limits, allowed, places: Arc::new(Semaphore::new(PLACES)) })
    }

    /// The bytes at a URL.
    ///
    /// # Errors
    ///
    /// Every [`FetchError`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends the transfer.
    pub(crate) async fn fetch(&self, url: &str, governor: &Governor) -> Result<Fetched, FetchError> {
        let url = self.parse(url)?;
        let host = host(&url);
        let within = self.limits.timeout;
        let Ok(place) = tokio::time::timeout(within, self.places.acquire()).await else {
            return Err(FetchError::Busy);
        };
        // Never closed, so there is one.
        let _place = place;
        match tokio::time::timeout(within, self.transfer(url, &host, governor)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(FetchError::TooSlow { host, within }),
        }
    }

    fn parse(&self, spelled: &str) -> Result<Url, FetchError> {
        // Signed addresses are long; what a message repeats of one is not.
        let told = || spelled.chars().take(100).collect::<String>();
        let url: Url = spelled
            .parse()
            .map_err(|_| FetchError::Url { url: told(), why: "it cannot be read".to_owned() })?;
        check(&url, self.allowed)?;
        Ok(url)
    }

    async fn transfer(&self, url: Url, host: &str, governor: &Governor) -> Result<Fetched, FetchError> {
        let failed = |error: reqwest::Error| failure(host, &error);
        let mut answer = self.client.get(url).send().await.map_err(failed)?;
        // What a redirect led to, from here on.
        let host = self::host(answer.url());
        if !answer.status().is_success() {
            return Err(FetchError::Status { host, status: answer.status().as_u16() });
        }
        let most = self.limits.bytes;
        if answer.content_length().is_some_and(|length| length > most as u64) {
            return Err(FetchError::TooLarge { host, most });
        }
        let reserved = |_| FetchError::NoMemory;
        let mut held = governor.try_reserve(Account::Inputs, Size(0)).map_err(reserved)?;
        let mut picture = BytesMut::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| failure(&host, &error))? {
            if picture.len() + piece.len() > most {
                return Err(FetchError::TooLarge { host, most });
            }
            // Twice: it is copied once more, to where it can be shared.
            held.try_grow(Size(2 * piece.len() as u64)).map_err(reserved)?;
            picture.extend_from_slice(&piece);
        }
        Ok(Fetched { bytes: picture.freeze(), held })
    }
}

/// Refuses what is no web address, and addresses that are spelled out and not public. Names are looked at when they are
/// resolved.
fn check(url: &Url, allowed: Allowed) -> Result<(), FetchError> {
    if !matches!(url.scheme(), "http" | "https") {
        let why = format!("{}: is none of http:, https: and data:", url.scheme());
        return Err(FetchError::Url { url: url.as_str().chars().take(100).collect(), why });
    }
    let host = host(url);
    match host.trim_matches(['[', ']']).parse() {
        Ok(address) if !allowed(address) => Err(FetchError::Private { host }),
        _ => Ok(()),
    }
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}

/// What went wrong, from the innermost error: the others only say that something did.
fn failure(host: &str, error: &reqwest::Error) -> FetchError {
    let mut at: &dyn std::error::Error = error;
    while let Some(source) = at.source() {
        at = source;
    }
    match at.downcast_ref::<NotPublic>() {
        Some(NotPublic(host)) => FetchError::Private { host: host.clone() },
        None => FetchError::Failed { host: host.to_owned(), why: at.to_string() },
    }
}

/// Resolves names, and leaves out addresses that callers are not let to. The connection goes to what is checked here, so
/// a name cannot mean something else a moment later.
struct PublicNames {
    allowed: Allowed,
    places: Arc<Semaphore>,
    /// Look-ups at work, also those that nobody waits for any more.
    lookups: TaskTracker,
}

impl PublicNames {
    fn new(allowed: Allowed) -> Self {
        Self { allowed, places: Arc::new(Semaphore::new(LOOKUPS)), lookups: TaskTracker::new() }
    }
}

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        let (allowed, places, lookups) = (self.allowed, Arc::clone(&self.places), self.lookups.clone());
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let place = places.acquire_owned().await?;
            let looked_up = name.clone();
            let found = lookups.spawn(async move {
                let _place = place;
                let found = tokio::net::lookup_host((looked_up.as_str(), 0)).await?;
                Ok::<Vec<SocketAddr>, std::io::Error>(found.collect())
            });
            let found = found.await??;
            let public: Vec<SocketAddr> = found.into_iter().filter(|one| allowed(one.ip())).collect();
            if public.is_empty() {
                return Err(NotPublic(name).into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

impl fmt::Debug for PublicNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicNames")
    }
}
