//! The queue's pure heart: where every accepted job stands, and who is next. The clock is handed in.

use std::collections::BTreeSet;
use std::time::Duration;

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::cut::{self, Candidate};
use super::order::{FairShare, Line, Place};
use crate::model::Room;
use crate::types::{Bytes, Cost, Deadline, JobId, Principal, Priority, Tokens};

/// Where a job stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// Waits to be prepared.
    Raw,
    /// Is being prepared.
    Preparing,
    /// Waits for a worker.
    Ready,
    /// A worker holds it.
    Leased,
}

/// One accepted job.
#[derive(Debug)]
pub(crate) struct Record<P> {
    pub(crate) payload: P,
    pub(crate) cost: Cost,
    pub(crate) deadline: Deadline,
    /// It was leased when a worker died: the next lease holds it and nothing else.
    pub(crate) alone: bool,
    pub(crate) accepted: Instant,
    principal: Principal,
    class: Priority,
    place: Place,
    /// When it entered its class.
    since: Instant,
    stage: Stage,
}

/// What a job brings with it.
#[derive(Debug)]
pub(crate) struct Arrival<P> {
    pub(crate) job: JobId,
    pub(crate) payload: P,
    pub(crate) cost: Cost,
    pub(crate) deadline: Deadline,
    pub(crate) principal: Principal,
    pub(crate) priority: Priority,
    /// Whether it must be prepared before a worker may hold it.
    pub(crate) raw: bool,
}

/// What a pull yields.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Pull {
    /// These are leased now, the head first.
    pub(crate) leased: Vec<JobId>,
    /// These were passed over because their deadline had passed; they still stand where they stood.
    pub(crate) expired: Vec<JobId>,
}

/// Behind the head, so many waiting jobs are looked at to fill a batch.
const WINDOW: usize = 256;

/// Every accepted job of one model group, and the order among those that wait.
#[derive(Debug)]
pub(crate) struct Core<P> {
    jobs: FxHashMap<JobId, Record<P>>,
    books: Books,
    ageing: Duration,
    arrivals: u64,
    total: Cost,
}

/// The order among jobs that wait, and sums over all; apart from the jobs, so that one can change with the other.
#[derive(Default, Debug)]
struct Books {
    raw: Line,
    ready: Line,
    /// Waiting jobs by when they entered their class.
    ages: [BTreeSet<(Instant, JobId)>; 4],
    fair: [FairShare; 4],
    waiting_tokens: [Tokens; 4],
    leased: usize,
    leased_tokens: Tokens,
}

impl<P> Core<P> {
    /// An empty queue in which a waiting job rises a class after each `ageing`.
    pub(crate) fn new(ageing: Duration) -> Self {
        Self { jobs: FxHashMap::default(), books: Books::default(), ageing, arrivals: 0, total: Cost::ZERO }
    }

    pub(crate) fn insert(&mut self, arrival: Arrival<P>, now: Instant) {
        let Arrival { job, payload, cost, deadline, principal, priority, raw } = arrival;
        let tag = self.books.fair[priority.index()].arrive(&principal, cost.tokens);
        self.arrivals += 1;
        let stage = if raw { Stage::Raw } else { Stage::Ready };
        let place = Place { tag, arrival: self.arrivals };
        let record = Record {
            payload,
            cost,
            deadline,
            alone: false,
            accepted: now,
            principal,
            class: priority,
            place,
            since: now,
            stage,
        };
        self.total += cost;
        self.books.enter(job, &record);
        self.jobs.insert(job, record);
    }

    /// Takes a job out, wherever it stands.
    pub(crate) fn remove(&mut self, job: JobId) -> Option<Record<P>> {
        let record = self.jobs.remove(&job)?;
        self.total -= record.cost;
        if record.stage == Stage::Leased {
            self.books.leased -= 1;
            self.books.leased_tokens -= record.cost.tokens;
        } else {
            self.books.exit(job, &record);
            self.books.fair[record.class.index()].leave(&record.principal, record.place.tag);
        }
        Some(record)
    }

    /// Every job, the first accepted first.
    pub(crate) fn jobs(&self) -> Vec<JobId> {
        let mut all: Vec<JobId> = self.jobs.keys().copied().collect();
        all.sort_unstable();
        all
    }

    /// Every job that no worker holds, the first accepted first.
    pub(crate) fn waiting(&self) -> Vec<JobId> {
        let waiting = self.jobs.iter().filter(|(_, record)| record.stage != Stage::Leased);
        let mut waiting: Vec<JobId> = waiting.map(|(job, _)| *job).collect();
        waiting.sort_unstable();
        waiting
    }

    pub(crate) fn get_mut(&mut self, job: JobId) -> Option<&mut Record<P>> {
        self.jobs.get_mut(&job)
    }

    pub(crate) fn contains(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }

    /// Takes the next jobs to be prepared, in order: as many as fit, and one at least.
    pub(crate) fn pull_raw(&mut self, jobs: usize, bytes: Bytes, now: Instant) -> Vec<JobId> {
        self.promote(now);
        let mut taken = Vec::new();
        let mut sum = Bytes::ZERO;
        for job in self.books.raw.iter().take(jobs) {
            let Some(record) = self.jobs.get(&job) else {
                continue;
            };
            sum += record.cost.bytes;
            if !taken.is_empty() && sum > bytes {
                break;
            }
            taken.push(job);
        }
        for job in &taken {
            self.set_stage(*job, Stage::Preparing);
        }
        taken
    }

    /// A job that was being prepared is ready, at its true cost. `false` if it is gone.
    pub(crate) fn prepared(&mut self, job: JobId, cost: Cost) -> bool {
        let Some(record) = self.jobs.get(&job) else {
            return false;
        };
        if record.stage != Stage::Preparing {
            return false;
        }
        self.books.fair[record.class.index()].correct(&record.principal, record.cost.tokens, cost.tokens);
        self.set_stage(job, Stage::Ready);
        self.correct(job, cost);
        true
    }

    /// A job that was being prepared was not, and waits for it again.
    pub(crate) fn unprepared(&mut self, job: JobId) {
        if self.jobs.get(&job).is_some_and(|record| record.stage == Stage::Preparing) {
            self.set_stage(job, Stage::Raw);
        }
    }

    /// Leases the next batch: the head always, the rest filled by length from those behind it.
    ///
    /// `idle` says that the worker holds nothing: then the head enters whatever its size, and a job that must run alone
    /// may be had. A head that does not fit is never passed by.
    pub(crate) fn lease(&mut self, room: Room, idle: bool, now: Instant) -> Pull {
        self.promote(now);
        let mut pull = Pull::default();
        if room.jobs == 0 {
            return pull;
        }
        let mut head = None;
        let mut candidates = Vec::new();
        let mut numbers = Vec::new();
        for job in self.books.ready.iter() {
            let Some(record) = self.jobs.get(&job) else {
                continue;
            };
            if record.deadline.has_passed(now) {
                pull.expired.push(job);
                continue;
            }
            if head.is_none() {
                head = Some((job, record.cost.tokens, record.alone));
                if record.alone || room.jobs == 1 {
                    break;
                }
            } else if !record.alone {
                candidates.push(job);
                numbers.push(Candidate { class: record.class, tokens: record.cost.tokens });
                if candidates.len() == WINDOW {
                    break;
                }
            }
        }
        let Some((head, tokens, alone)) = head else {
            return pull;
        };
        let enters = idle || (!alone && tokens <= room.tokens);
        if !enters {
            return pull;
        }
        pull.leased.push(head);
        if !alone {
            let left = Room { jobs: room.jobs - 1, tokens: room.tokens - tokens };
            pull.leased.extend(cut::fill(tokens, &numbers, left).into_iter().map(|index| candidates[index]));
        }
        let mut least = [None; 4];
        for job in &pull.leased {
            if let Some(record) = self.jobs.get(job) {
                let least: &mut Option<u64> = &mut least[record.class.index()];
                *least = Some(least.map_or(record.place.tag, |tag| tag.min(record.place.tag)));
            }
        }
        for (fair, tag) in self.books.fair.iter_mut().zip(least) {
            tag.into_iter().for_each(|tag| fair.advance(tag));
        }
        for job in &pull.leased {
            self.set_stage(*job, Stage::Leased);
        }
        pull
    }

    /// A leased job comes back to where it stood; `alone`: its next lease holds nothing else.
    pub(crate) fn give_back(&mut self, job: JobId, alone: bool) {
        if let Some(record) = self.jobs.get_mut(&job)
            && record.stage == Stage::Leased
        {
            record.alone |= alone;
            self.set_stage(job, Stage::Ready);
        }
    }

    /// A waiting job becomes at least this urgent.
    pub(crate) fn raise(&mut self, job: JobId, priority: Priority, now: Instant) {
        let Some(record) = self.jobs.get(&job) else { return };
        if record.class < priority && record.stage != Stage::Leased {
            self.change_class(job, priority, now);
        }
    }

    /// Jobs accepted and not ended.
    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// What they cost together.
    pub(crate) fn cost(&self) -> Cost {
        self.total
    }

    pub(crate) fn leased(&self) -> usize {
        self.books.leased
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.books.ready.is_empty()
    }

    pub(crate) fn waiting_tokens(&self) -> Tokens {
        self.books.waiting_tokens.iter().copied().sum()
    }

    /// Tokens that would be computed before those of a newcomer of this class.
    pub(crate) fn ahead_of(&self, priority: Priority) -> Tokens {
        self.books.waiting_tokens[priority.index()..].iter().copied().sum::<Tokens>()
            + self.books.leased_tokens
    }

    /// When the longest waiting job of the queue was accepted, as far as one can tell from each class's eldest.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let eldest = self.books.ages.iter().filter_map(|class| class.first());
        eldest.filter_map(|(_, job)| self.jobs.get(job)).map(|record| record.accepted).min()
    }

    /// Raises every job that has waited in its class for the ageing interval.
    fn promote(&mut self, now: Instant) {
        for class in [Priority::High, Priority::Normal, Priority::Low] {
            let Some(raised) = class.raised() else { continue };
            while let Some((since, job)) = self.books.ages[class.index()].first().copied() {
                if since.checked_add(self.ageing).is_none_or(|at| at > now) {
                    break;
                }
                self.change_class(job, raised, now);
            }
        }
    }

    fn change_class(&mut self, job: JobId, class: Priority, since: Instant) {
        let Some(record) = self.jobs.get_mut(&job) else {
            return;
        };
        let books = &mut self.books;
        books.exit(job, record);
        books.fair[record.class.index()].leave(&record.principal, record.place.tag);
        record.class = class;
        record.since = since;
        record.place.tag = books.fair[class.index()].arrive(&record.principal, record.cost.tokens);
        books.enter(job, record);
    }

    fn correct(&mut self, job: JobId, cost: Cost) {
        if let Some(record) = self.jobs.get_mut(&job) {
            let class = record.class.index();
            let old = std::mem::replace(&mut record.cost, cost);
            self.total = self.total - old + cost;
            self.books.waiting_tokens[class] = self.books.waiting_tokens[class] - old.tokens + cost.tokens;
        }
    }

    /// Moves a job from stage to stage; the place in its class stays.
    fn set_stage(&mut self, job: JobId, stage: Stage) {
        let Some(record) = self.jobs.get_mut(&job) else {
            return;
        };
        let books = &mut self.books;
        let fair = &mut books.fair[record.class.index()];
        if record.stage == Stage::Leased {
            books.leased -= 1;
            books.leased_tokens -= record.cost.tokens;
            fair.give_back(&record.principal);
        } else {
            if stage == Stage::Leased {
                fair.serve(&record.principal);
            }
            books.exit(job, record);
        }
        record.stage = stage;
        if stage == Stage::Leased {
            books.leased += 1;
            books.leased_tokens += record.cost.tokens;
        } else {
            books.enter(job, record);
        }
    }
}

impl Books {
    /// Puts a job that waits or is being prepared on the books of its class.
    fn enter<P>(&mut self, job: JobId, record: &Record<P>) {
        let class = record.class;
        self.waiting_tokens[class.index()] += record.cost.tokens;
        match record.stage {
            Stage::Raw => self.raw.insert(class, record.place, job),
            Stage::Ready => self.ready.insert(class, record.place, job),
            Stage::Preparing | Stage::Leased => return,
        }
        self.ages[class.index()].insert((record.since, job));
    }

    /// The reverse of [`Books::enter`].
    fn exit<P>(&mut self, job: JobId, record: &Record<P>) {
        let class = record.class;
        self.waiting_tokens[class.index()] -= record.cost.tokens;
        match record.stage {
            Stage::Raw => self.raw.remove(class, record.place),
            Stage::Ready => self.ready.remove(class, record.place),
            Stage::Preparing | Stage::Leased => return,
        };
        self.ages[class.index()].remove(&(record.since, job));
    }
}
