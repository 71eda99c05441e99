//! Saying how far it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::citations::{Progress, ProgressState};
use super::Keeper;

/// How often news is told at most.
pub(super) const NEWS: Duration = Duration::from_millis(100);

impl Keeper {
    /// Says how far it is, where there is something to say and the last time is not too near.
    pub(super) fn tell(&mut self, now: Instant) {
        let state = self.state();
        let turned = self.parts.progress.borrow().state != state;
        let early = self.news.told.is_some_and(|told| now < told + NEWS);
        if !turned && (!self.news.some || early) {
            return;
        }
        if std::mem::take(&mut self.news.found) {
            // Before the word of it, so that what is said to be found can be.
            self.parts.snapshot.send_replace(Arc::new(self.ledger.index.snapshot(&self.parts.roots)));
        }
        let counts = self.ledger.counts();
        let progress = Progress {
            scan: self.scan,
            files: counts.files,
            files_done: counts.done,
            chunks: self.ledger.index.passages() as u64,
            bytes: self.ledger.held() as u64,
            skipped: counts.skipped,
            state,
            warning: self.unwatched.as_ref().map(|why| self.warning(why)),
        };
        self.parts.progress.send_if_modified(|told| {
            let same = Progress { scan: told.scan, ..progress.clone() } == *told;
            if !same {
                *told = progress;
            }
            !same
        });
        self.news.some = false;
        self.news.told = Some(now);
    }

    fn state(&mut self) -> ProgressState {
        let missing = self.standing.iter().find_map(|standing| standing.as_ref().err());
        let trouble = self.trouble.as_ref().and_then(|trouble| trouble.message.clone());
        if let Some(message) = trouble {
            ProgressState::Failed { message }
        } else if let Some(why) = missing {
            ProgressState::Failed { message: why.as_str().into() }
        } else if self.scan == 0 || self.has_work() || self.looking {
            ProgressState::Scanning
        } else {
            ProgressState::Current
        }
    }

    fn warning(&self, why: &str) -> Arc<str> {
        let every = self.parts.limits.poll;
        format!("not all folders are watched, so they are looked through every {every:?}: {why}").into()
    }
}
