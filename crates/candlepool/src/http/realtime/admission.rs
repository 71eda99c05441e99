//! Who may open a socket: bounds for the server, for a client, and for how often a client comes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::http::auth::Caller;

/// How many sockets there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdmissionLimits {
    /// Of all clients.
    pub(crate) most: usize,
    /// Of one client.
    pub(crate) most_of_client: usize,
    /// So many of one client may be opened a second, and as many at once after a pause.
    pub(crate) joins_per_second: u32,
}

/// Whom sockets are counted for: a key, or an address where the server has no keys.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Client {
    Key(String),
    Address(IpAddr),
    Unknown,
}

impl Client {
    pub(super) fn of(caller: &Caller, peer: Option<IpAddr>) -> Self {
        match (caller.key(), peer) {
            (Some(key), _) => Self::Key(key.to_owned()),
            (None, Some(IpAddr::V6(address))) => Self::Address(network(address)),
            (None, Some(address)) => Self::Address(address),
            (None, None) => Self::Unknown,
        }
    }
}

/// One subscriber has 2^64 addresses of IPv6.
fn network(address: Ipv6Addr) -> IpAddr {
    match address.to_ipv4_mapped() {
        Some(address) => address.into(),
        None => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// Why a socket is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    /// The client came too often.
    TooFast { retry_after: Duration },
    /// The server has as many as it takes.
    Server,
    /// The client has as many as it may.
    Client,
}

/// The counts.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    limits: AdmissionLimits,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug)]
struct Counts {
    sockets: usize,
    clients: HashMap<Client, Count>,
    /// With so many clients, those that can be forgotten are.
    sweep_at: usize,
}

#[derive(Debug)]
struct Count {
    sockets: usize,
    /// From then on all joins of a second may be had again: each join moves it by its share of the second.
    rested: Instant,
}

/// Before so many clients are known, none is forgotten.
const LEAST_SWEPT: usize = 1024;

impl Admission {
    pub(super) fn new(limits: AdmissionLimits) -> Self {
        let counts = Counts { sockets: 0, clients: HashMap::new(), sweep_at: LEAST_SWEPT };
        Self { limits, counts: Arc::new(Mutex::new(counts)) }
    }

    /// Lets a client have one more, until what is given is dropped.
    pub(super) fn admit(&self, client: Client, now: Instant) -> Result<Admitted, Refusal> {
        let mut counts = lock(&self.counts);
        counts.sweep(now);
        let all = counts.sockets;
        let count = counts.clients.entry(client.clone()).or_insert(Count { sockets: 0, rested: now });
        let share = Duration::from_secs(1) / self.limits.joins_per_second;
        let rested = count.rested.max(now) + share;
        let ahead = rested.duration_since(now);
        if ahead > Duration::from_secs(1) {
            return Err(Refusal::TooFast { retry_after: ahead - Duration::from_secs(1) });
        }
        count.rested = rested;
        if all >= self.limits.most {
            return Err(Refusal::Server);
        }
        if count.sockets >= self.limits.most_of_client {
            return Err(Refusal::Client);
        }
        count.sockets += 1;
        counts.sockets += 1;
        Ok(Admitted { counts: Arc::clone(&self.counts), client })
    }
}

impl Counts {
    fn sweep(&mut self, now: Instant) {
        if self.clients.len() >= self.sweep_at {
            self.clients.retain(|_, count| count.sockets > 0 || count.rested > now);
            self.sweep_at = (2 * self.clients.len()).max(LEAST_SWEPT);
        }
    }
}

/// A socket's place.
#[derive(Debug)]
pub(in crate::http) struct Admitted {
    counts: Arc<Mutex<Counts>>,
    client: Client,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.sockets = counts.sockets.saturating_sub(1);
        if let Some(count) = counts.clients.get_mut(&self.client) {
            count.sockets = count.sockets.saturating_sub(1);
        }
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    // Nothing panics under it.
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Client {
        Client::Key(name.to_owned())
    }

    #[test]
    fn sockets_are_counted_for_the_server_and_for_each_client() {
        let limits = AdmissionLimits { most: 3, most_of_client: 2, joins_per_second: 100 };
        let (admission, now) = (Admission::new(limits), Instant::now());
        let first = admission.admit(key("a"), now).unwrap();
        let _second = admission.admit(key("a"), now).unwrap();
        assert_eq!(admission.admit(key("a"), now).unwrap_err(), Refusal::Client);
        let _third = admission.admit(key("b"), now).unwrap();
        assert_eq!(admission.admit(key("b"), now).unwrap_err(), Refusal::Server);
        drop(first);
        let _again = admission.admit(key("a"), now).unwrap();
    }

    #[test]
    fn a_client_may_come_so_often() {
        let limits = AdmissionLimits { most: 9999, most_of_client: 9999, joins_per_second: 20 };
        let (admission, start) = (Admission::new(limits), Instant::now());
        let joins = |from: Duration| -> usize {
            // 1,000 a second.
            (0..1000)
                .filter(|at| admission.admit(key("a"), start + from + Duration::from_millis(*at)).is_ok())
                .count()
        };
        assert_eq!(joins(Duration::ZERO), 39, "twenty at once, and then one every 50 ms");
        let Err(Refusal::TooFast { retry_after }) =
            admission.admit(key("a"), start + Duration::from_millis(999))
        else {
            panic!("it came in");
        };
        assert!(retry_after <= Duration::from_millis(50), "{retry_after:?}");
        admission.admit(key("b"), start).unwrap();
        assert_eq!(joins(Duration::from_secs(60)), 39);
    }

    #[test]
    fn clients_that_have_gone_are_forgotten() {
        let limits = AdmissionLimits { most: 9999, most_of_client: 9, joins_per_second: 1 };
        let (admission, start) = (Admission::new(limits), Instant::now());
        let kept = admission.admit(key("kept"), start).unwrap();
        for second in 0..100_000_u64 {
            drop(admission.admit(key(&second.to_string()), start + Duration::from_secs(second)).unwrap());
        }
        let counts = lock(&admission.counts);
        assert!(counts.clients.len() <= LEAST_SWEPT && counts.clients.contains_key(&kept.client));
    }

    #[test]
    fn a_subscriber_is_one_client() {
        let of = |address: &str| Client::of(&Caller::anyone(), Some(address.parse().unwrap()));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
