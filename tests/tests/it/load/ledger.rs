//! What the clients count.

use std::ops::AddAssign;
use std::sync::Mutex;
use std::time::Duration;

use crate::connection::Answer;
use crate::server::Server;

use super::texts;

/// What became of requests, as their clients saw it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Written whole, to a server that takes new requests.
    pub(super) sent: u64,
    /// 200, and the vector is one.
    pub(super) answered: u64,
    /// 429.
    pub(super) refused: u64,
    /// The client closed the connection while the answer was due; the server was known to have accepted the request.
    pub(super) given_up: u64,
    /// Sent to a server that goes down: 503, or no answer at all.
    pub(super) unavailable: u64,
    /// The server closed the connection without an answer, and should not have.
    pub(super) closed: u64,
    /// Written in part, and then the connection was closed. No job.
    pub(super) cut: u64,
}

impl Counts {
    /// So many requests were answered.
    pub(super) fn sampled(requests: usize) -> Self {
        Self { sent: requests as u64, answered: requests as u64, ..Self::default() }
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.sent - self.answered - self.refused - self.given_up - self.closed
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.refused += other.refused;
        self.given_up += other.given_up;
        self.unavailable += other.unavailable;
        self.closed += other.closed;
        self.cut += other.cut;
    }
}

#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    /// Requests begun, whether they were sent or not.
    begun: usize,
    /// Requests still to be given up.
    owed: usize,
    /// How long an answer takes, about.
    latency: Duration,
    samples: Vec<(String, Vec<f32>)>,
}

impl Ledger {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Counts)) {
        self.change(|state| count(&mut state.counts));
    }

    pub(super) fn counts(&self) -> Counts {
        self.change(|state| state.counts)
    }

    /// The number of the next request, if there is one. Every third one is to be given up.
    pub(super) fn begin(&self, most: usize) -> Option<usize> {
        self.change(|state| {
            let index = state.begun;
            (index < most).then(|| {
                state.begun += 1;
                state.owed += usize::from(index % 3 == 2);
                index
            })
        })
    }

    /// Whether the caller's request shall be the one that is given up.
    pub(super) fn take_debt(&self) -> bool {
        self.change(|state| {
            let owed = state.owed > 0;
            state.owed -= usize::from(owed);
            owed
        })
    }

    /// The answer came first: another request shall be given up instead.
    pub(super) fn return_debt(&self) {
        self.change(|state| state.owed += 1);
    }

    pub(super) fn took(&self, latency: Duration) {
        self.change(|state| state.latency = (state.latency * 7 + latency) / 8);
    }

    pub(super) fn latency(&self) -> Duration {
        self.change(|state| state.latency)
    }

    /// Keeps some answers, for `check_samples`.
    pub(super) fn sample(&self, text: &str, vector: Vec<f32>) {
        self.change(|state| {
            if state.samples.len() < texts::SAMPLES {
                state.samples.push((text.to_owned(), vector));
            }
        });
    }

    /// Asks some texts again, one at a time: the answers under load belonged to their questions.
    pub(super) async fn check_samples(&self, server: &Server) {
        let samples = self.change(|state| std::mem::take(&mut state.samples));
        assert_eq!(samples.len(), texts::SAMPLES);
        let mut connection = server.connect().await;
        for (text, under_load) in samples {
            connection.send(&texts::request(&text)).await.unwrap();
            let alone = vector(&connection.answer().await.unwrap());
            let alike: f32 = alone.iter().zip(&under_load).map(|(a, b)| a * b).sum();
            assert!(alike > 0.9999, "another vector under load: {alike} for {text:?}");
        }
    }
}

/// The vector of an answer; checks that it is one.
pub(super) fn vector(answer: &Answer) -> Vec<f32> {
    use base64::Engine as _;
    let body = answer.json();
    let data = body["data"].as_array().unwrap();
    assert_eq!(data.len(), 1, "{body}");
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(data[0]["embedding"].as_str().unwrap()).unwrap();
    let vector: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let length: f32 = vector.iter().map(|value| value * value).sum();
    assert!(vector.len() == 384 && (length - 1.0).abs() < 1e-3, "{length}");
    vector
}
