//! One connection of a client: request after request, some of them given up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::ledger::vector;
use super::{LANES, Round, texts};
use crate::binary::PATIENCE;
use crate::connection::{Answer, Connection};

/// Every so many requests of a connection, another one is sent in part only.
const CUT_EVERY: usize = 30;

#[derive(Debug)]
pub(super) struct Client {
    round: Arc<Round>,
    number: usize,
    connection: Option<Connection>,
}

/// What comes after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Request,
    /// The server goes down.
    Nothing,
}

impl Client {
    pub(super) fn new(round: Arc<Round>, number: usize) -> Self {
        Self { round, number, connection: None }
    }

    /// Sends requests until there are no more, or nobody to send them to.
    pub(super) async fn run(mut self) {
        let mut done = self.number / LANES;
        while let Some(index) = self.round.ledger.begin(self.round.requests) {
            done += 1;
            if done.is_multiple_of(CUT_EVERY) && self.cut(index).await.is_err() {
                return;
            }
            match self.one(index).await {
                Next::Request => {}
                Next::Nothing => return,
            }
        }
    }

    async fn connection(&mut self) -> io::Result<Connection> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => Connection::open(&self.round.address).await,
        }
    }

    /// Sends the first half of a request, and leaves.
    async fn cut(&mut self, index: usize) -> io::Result<()> {
        let request = texts::request(&texts::text(self.round.number, index));
        let mut connection = self.connection().await?;
        connection.send(&request[..request.len() / 2]).await?;
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.round.ledger.count(|counts| counts.cut += 1);
        Ok(())
    }

    async fn one(&mut self, index: usize) -> Next {
        let round = Arc::clone(&self.round);
        let (ledger, gate) = (&round.ledger, &round.gate);
        let text = texts::text(round.number, index);
        let request = texts::request(&text);
        let Ok(mut connection) = self.connection().await else {
            return Next::Nothing;
        };
        let passed = gate.pass().await;
        let proofs = gate.proofs();
        // The gate orders this after what was stored behind it.
        let too_late = round.ended.load(Ordering::Relaxed);
        if connection.send(&request).await.is_err() {
            return Next::Nothing;
        }
        ledger.count(|counts| counts.sent += 1);
        drop(passed);
        let sent = Instant::now();
        let gives_up = ledger.take_debt();
        let half_way = async {
            if !gives_up {
                std::future::pending::<()>().await;
            }
            gate.counted(proofs).await;
            tokio::time::sleep_until(sent + ledger.latency() / 2).await;
        };
        let answer = tokio::select! {
            biased;
            answer = connection.answer() => answer,
            () = half_way => {
                ledger.count(|counts| counts.given_up += 1);
                return Next::Request;
            }
            () = tokio::time::sleep(PATIENCE) => panic!("no answer to {text:?}"),
        };
        if gives_up {
            ledger.return_debt();
        }
        match answer {
            Ok(answer) => self.answered(&text, &answer, connection, sent.elapsed()),
            Err(_) => {
                ledger.count(|counts| {
                    if too_late {
                        counts.sent -= 1;
                        counts.unavailable += 1;
                    } else {
                        counts.closed += 1;
                    }
                });
                Next::Nothing
            }
        }
    }

    fn answered(&mut self, text: &str, answer: &Answer, connection: Connection, took: Duration) -> Next {
        let ledger = &self.round.ledger;
        if !answer.closes() {
            self.connection = Some(connection);
        }
        match answer.status {
            200 => {
                let vector = vector(answer);
                ledger.took(took);
                ledger.sample(text, vector);
                ledger.count(|counts| counts.answered += 1);
                Next::Request
            }
            429 => {
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                ledger.count(|counts| counts.refused += 1);
                Next::Request
            }
            503 => {
                ledger.count(|counts| {
                    counts.sent -= 1;
                    counts.unavailable += 1;
                });
                Next::Nothing
            }
            status => panic!("{status}: {}", String::from_utf8_lossy(&answer.body)),
        }
    }
}
