//! Many clients at once, a third of whose requests they give up half-way, and a shutdown in the middle of it: every
//! request is accounted for on both sides, none hangs, and memory does not grow from one round to the next.

mod client;
mod gate;
mod ledger;
mod texts;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::models::{say, trained};
use crate::server::Server;
use crate::turns::alone;
use client::Client;
use gate::Gate;
use ledger::{Counts, Ledger};

/// As many clients as the promise is about.
const CLIENTS: usize = 64;
/// Requests a client has on their way at once, each on a connection of its own.
const LANES: usize = 4;
/// Requests of a round.
const REQUESTS: usize = 5_000;
/// So many are in flight when the server is told to end, at least.
const IN_FLIGHT: u64 = 200;
/// What a round may take before it is said to hang. About a minute is usual on two cores.
const ROUND: Duration = Duration::from_secs(240);

/// What every client of a round sees.
#[derive(Debug)]
struct Round {
    address: String,
    /// Tells the texts of this round from all others: equal ones would be computed once.
    number: usize,
    /// After so many, no more are sent.
    requests: usize,
    ledger: Ledger,
    gate: Gate,
    /// Set behind the shut gate once the server drains: what is sent from then on is nobody's.
    ended: AtomicBool,
}

impl Round {
    fn new(server: &Server, number: usize, requests: usize) -> Arc<Self> {
        Arc::new(Self {
            address: server.address.clone(),
            number,
            requests,
            ledger: Ledger::default(),
            gate: Gate::default(),
            ended: AtomicBool::new(false),
        })
    }

    /// Starts every client.
    fn clients(self: &Arc<Self>) -> JoinSet<()> {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            for lane in 0..LANES {
                clients.spawn(Client::new(Arc::clone(self), client * LANES + lane).run());
            }
        }
        clients
    }
}

/// Waits for all clients; a panic of one is this test's.
async fn all(mut clients: JoinSet<()>) {
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

/// Jobs of the server's only model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Jobs {
    accepted: u64,
    completed: u64,
    cancelled: u64,
    expired: u64,
    failed: u64,
    refused: u64,
}

impl Jobs {
    fn of(counts: &Value) -> Self {
        let count = |name: &str| counts[name].as_u64().unwrap_or_else(|| panic!("no {name} in {counts}"));
        Self {
            accepted: count("accepted"),
            completed: count("completed"),
            cancelled: count("cancelled"),
            expired: count("expired"),
            failed: count("failed"),
            refused: count("refused"),
        }
    }

    async fn now(server: &Server) -> Self {
        Self::of(&server.pool().await["jobs"])
    }

    fn outstanding(&self) -> u64 {
        self.accepted - self.completed - self.cancelled - self.expired - self.failed
    }
}

/// Shuts the gate until the server has counted every request that was sent, and tells the clients so: whatever is then
/// in flight has been accepted, and a client that gives it up gives up an accepted job. `before` is what earlier rounds
/// sent.
async fn prove(server: &Server, round: &Round, before: u64) -> Jobs {
    let shut = round.gate.shut().await;
    let sent = before + round.ledger.counts().sent;
    loop {
        let jobs = Jobs::now(server).await;
        let counted = jobs.accepted + jobs.refused;
        assert!(counted <= sent, "{counted} requests are counted, {sent} were sent");
        if counted == sent {
            round.gate.proven(shut);
            return jobs;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// One whole round; gives the clients' counts and the server's.
async fn whole_round(server: &Server, number: usize, before: u64) -> (Counts, Jobs) {
    let round = Round::new(server, number, REQUESTS);
    let started = Instant::now();
    let clients = all(round.clients());
    let prover = async {
        loop {
            prove(server, &round, before).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let both = async {
        tokio::select! {
            () = clients => {}
            () = prover => {}
        }
    };
    tokio::time::timeout(ROUND, both).await.expect("a round hangs");
    let counts = round.ledger.counts();
    let took = started.elapsed();
    // What was given up last may still be in a step.
    let jobs = loop {
        let jobs = Jobs::now(server).await;
        if jobs.outstanding() == 0 {
            break jobs;
        }
        assert!(started.elapsed() < ROUND, "jobs that nobody waits for never end: {jobs:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    say(&format!(
        "load, round {number}: {counts:?} in {:.1} s, {:.0} requests/s; the server since its start: {jobs:?}",
        took.as_secs_f64(),
        counts.sent as f64 / took.as_secs_f64(),
    ));
    assert_eq!(counts.sent, REQUESTS as u64);
    assert_eq!(counts.answered + counts.given_up + counts.refused, counts.sent);
    assert_eq!((counts.unavailable, counts.closed), (0, 0));
    assert!(counts.given_up >= counts.sent * 3 / 10, "too few requests were given up: {counts:?}");
    round.ledger.check_samples(server).await;
    (counts, jobs)
}

/// The least resident memory within a few seconds, in kB: what is left once the allocator has given back what it will.
async fn resident(server: &Server) -> u64 {
    let mut least = u64::MAX;
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.process())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        least = least.min(line.trim().trim_end_matches(" kB").parse().unwrap());
    }
    least
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_64_clients_is_accounted_for_through_a_shutdown() {
    let _turn = alone().await;
    let Some(minilm) = trained("all-MiniLM-L6-v2") else {
        return;
    };
    let model = format!("minilm=text-embedding:{}", minilm.display());
    let server = Server::start(&["--model", &model, "--drain-timeout", "100s"]).await;
    let warm = Round::new(&server, 0, CLIENTS);
    all(warm.clients()).await;
    let mut total = warm.ledger.counts();

    let mut memory = Vec::new();
    for number in 1..=2 {
        let (counts, jobs) = whole_round(&server, number, total.sent).await;
        total += counts;
        check_jobs(&total, &jobs);
        total += Counts::sampled(texts::SAMPLES);
        if cfg!(target_os = "linux") {
            memory.push(resident(&server).await);
        }
    }
    if let [first, second] = memory[..] {
        say(&format!("load: resident after the first round {first} kB, after the second {second} kB"));
        assert!(second <= first + first / 20 + 20_000, "resident memory grew from {first} to {second} kB");
    }

    // The third round ends with the server.
    let round = Round::new(&server, 3, usize::MAX);
    let clients = all(round.clients());
    let steering = async {
        let ready = Instant::now() + Duration::from_secs(3);
        loop {
            let shut = round.gate.shut().await;
            let counts = round.ledger.counts();
            let jobs = Jobs::now(&server).await;
            let all_counted = jobs.accepted + jobs.refused == total.sent + counts.sent;
            let in_flight = counts.in_flight().min(jobs.outstanding());
            if all_counted && in_flight >= IN_FLIGHT && Instant::now() >= ready {
                server.signal("TERM").await;
                while server.get("/pools").await.json()["status"] != "draining" {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                round.ended.store(true, Ordering::Relaxed);
                round.gate.proven(shut);
                say(&format!(
                    "load: SIGTERM with {} requests in flight, {} of them unfinished at the server",
                    counts.in_flight(),
                    jobs.outstanding()
                ));
                return counts;
            }
            if all_counted {
                round.gate.proven(shut);
            } else {
                drop(shut);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let both = async { tokio::join!(clients, steering).1 };
    let at_signal = tokio::time::timeout(ROUND, both).await.expect("the drain hangs");
    let counts = round.ledger.counts();
    let (status, log) = server.end().await;
    assert_eq!(status.code(), Some(0), "{log:?}");

    let drained = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let reports: Vec<Value> = drained.filter(|line| line["event"] == "drained").collect();
    let [report] = &reports[..] else {
        panic!("not one report: {log:?}");
    };
    say(&format!("load, round 3: {counts:?}; report: {report}"));
    // Whatever was in flight at the signal came to its end at the client: an answer, unless the client gave it up.
    assert_eq!(counts.sent, at_signal.sent, "requests were accepted after the signal");
    assert_eq!(counts.answered + counts.given_up + counts.refused, counts.sent);
    assert_eq!(counts.closed, 0, "accepted requests lost their connections");
    assert!(counts.unavailable > 0, "nobody was told of the shutdown");
    total += counts;
    let jobs = Jobs::of(report);
    check_jobs(&total, &jobs);
    assert_eq!(Jobs::of(&report["models"]["minilm"]), jobs);
    assert_eq!(report["deadline_passed"], false);
    assert_eq!(report["lost_threads"], 0);
}

/// The server's counts against the clients'. Each request is one job, and a client gives up only what was accepted. So
/// the one thing that it cannot know is which of those the server had finished before it heard of that.
fn check_jobs(clients: &Counts, server: &Jobs) {
    assert_eq!(server.outstanding(), 0, "{server:?}");
    assert_eq!((server.expired, server.failed), (0, 0), "{server:?}");
    assert_eq!(server.refused, clients.refused, "{clients:?} and {server:?}");
    assert_eq!(server.accepted, clients.answered + clients.given_up, "{clients:?} and {server:?}");
    assert_eq!(server.completed + server.cancelled, server.accepted, "{server:?}");
    let unseen = server
        .completed
        .checked_sub(clients.answered)
        .unwrap_or_else(|| panic!("more answers than completed jobs: {clients:?} and {server:?}"));
    assert_eq!(server.cancelled + unseen, clients.given_up);
    assert!(
        server.cancelled >= clients.given_up / 2,
        "most of what was given up was computed all the same: {clients:?} and {server:?}"
    );
}
