//! The queue's pure heart: where every accepted job stands, and who is next. The clock is handed in.

use std::collections::BTreeSet;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};
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
    /// How long it waited for a worker has been told.
    pub(crate) timed: bool,
    principal: Principal,
    class: Priority,
    /// Asked for while a worker held it: should it come back, it is no less urgent.
    at_least: Priority,
    place: Place,
    /// The class's virtual time when it entered.
    came: u64,
    /// When it entered its class.
    since: Instant,
    stage: Stage,
}

impl<P> Record<P> {
    /// Whether a worker holds it.
    pub(crate) fn is_leased(&self) -> bool {
        self.stage == Stage::Leased
    }
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
    /// These were taken, the head first.
    pub(crate) taken: Vec<JobId>,
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
    preparing: FxHashSet<JobId>,
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
        let fair = &mut self.books.fair[priority.index()];
        let came = fair.virtual_time();
        let tag = fair.arrive(&principal, cost.tokens);
        self.arrivals += 1;
        let stage = if raw { Stage::Raw } else { Stage::Ready };
        let place = Place { tag, arrival: self.arrivals };
        let record = Record {
            payload,
            cost,
            deadline,
            alone: false,
            accepted: now,
            timed: false,
            principal,
            class: priority,
            at_least: priority,
            place,
            came,
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
            self.books.fair[record.class.index()].leave(&record.principal, record.cost.tokens);
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

    pub(crate) fn get(&self, job: JobId) -> Option<&Record<P>> {
        self.jobs.get(&job)
    }

    pub(crate) fn contains(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }

    /// Takes the next jobs to be prepared, in order: as many as fit, and one at least.
    pub(crate) fn pull_raw(&mut self, jobs: usize, bytes: Bytes, now: Instant) -> Pull {
        self.put_in_order(now);
        let mut pull = Pull::default();
        let mut sum = Bytes::ZERO;
        for (job, record) in in_time(&self.books.raw, &self.jobs, now, &mut pull.expired).take(jobs) {
            sum += record.cost.bytes;
            if !pull.taken.is_empty() && sum > bytes {
                break;
            }
            pull.taken.push(job);
        }
        for job in &pull.taken {
            self.set_stage(*job, Stage::Preparing);
        }
        pull
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
        self.put_in_order(now);
        let pull = self.choose(room, idle, now);
        let mut least = [None; 4];
        for job in &pull.taken {
            if let Some(record) = self.jobs.get(job) {
                let least: &mut Option<u64> = &mut least[record.class.index()];
                *least = Some(least.map_or(record.place.tag, |tag| tag.min(record.place.tag)));
            }
        }
        for (fair, tag) in self.books.fair.iter_mut().zip(least) {
            tag.into_iter().for_each(|tag| fair.advance(tag));
        }
        for job in &pull.taken {
            self.set_stage(*job, Stage::Leased);
        }
        pull
    }

    /// The next batch. What is behind the head is looked at only once the head is in.
    fn choose(&self, room: Room, idle: bool, now: Instant) -> Pull {
        let mut pull = Pull::default();
        if room.jobs == 0 {
            return pull;
        }
        let Pull { taken, expired } = &mut pull;
        // By what they asked for, not by their age: who has room for more urgent jobs only does not want all that have waited.
        let admitted = |priority: Priority| idle || room.above.is_none_or(|above| priority > above);
        let mut line = in_time(&self.books.ready, &self.jobs, now, expired)
            .filter(|(_, record)| admitted(record.at_least));
        let Some((head, Record { cost: Cost { tokens, .. }, alone, .. })) = line.next() else {
            drop(line);
            return pull;
        };
        let enters = idle || (!alone && *tokens <= room.tokens);
        if enters {
            taken.push(head);
        }
        if enters && !alone && room.jobs > 1 {
            let others = line.filter(|(_, record)| !record.alone).take(WINDOW);
            let (behind, lengths): (Vec<JobId>, Vec<Candidate>) = others
                .map(|(job, record)| (job, Candidate { class: record.class, tokens: record.cost.tokens }))
                .unzip();
            let left = Room { jobs: room.jobs - 1, tokens: room.tokens - *tokens, above: None };
            let chosen = cut::fill(*tokens, &lengths, left);
            taken.extend(chosen.into_iter().map(|index| behind[index]));
        } else {
            drop(line);
        }
        pull
    }

    /// A leased job comes back to where it stood; `alone`: its next lease holds nothing else.
    pub(crate) fn give_back(&mut self, job: JobId, alone: bool, now: Instant) {
        if let Some(record) = self.jobs.get_mut(&job)
            && record.stage == Stage::Leased
        {
            record.alone |= alone;
            let (class, at_least) = (record.class, record.at_least);
            self.set_stage(job, Stage::Ready);
            if class < at_least {
                self.change_class(job, at_least, now);
            }
        }
    }

    /// A job becomes at least this urgent: now if it waits, or when it has to wait again.
    pub(crate) fn raise(&mut self, job: JobId, priority: Priority, now: Instant) {
        let Some(record) = self.jobs.get_mut(&job) else { return };
        record.at_least = record.at_least.max(priority);
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

    /// Brings the order up to date.
    fn put_in_order(&mut self, now: Instant) {
        self.promote(now);
        for class in Priority::ALL {
            if self.books.fair[class.index()].has_gaps() {
                self.close_gaps(class);
            }
        }
    }

    /// Jobs of a class move up to where they would stand had those that left before them never come.
    fn close_gaps(&mut self, class: Priority) {
        let lines = self.books.raw.of(class).chain(self.books.ready.of(class));
        let mut waiting: Vec<(u64, JobId)> = lines.map(|(place, job)| (place.arrival, *job)).collect();
        let preparing = self.books.preparing.iter().filter_map(|job| Some((job, self.jobs.get(job)?)));
        let preparing = preparing.filter(|(_, record)| record.class == class);
        waiting.extend(preparing.map(|(job, record)| (record.place.arrival, *job)));
        waiting.sort_unstable();
        self.books.fair[class.index()].begin_to_close();
        for (_, job) in waiting {
            let Some(record) = self.jobs.get_mut(&job) else { continue };
            let fair = &mut self.books.fair[class.index()];
            let old = record.place.tag;
            let tag = fair.moved_up(&record.principal, record.came, old, record.cost.tokens);
            if tag != old {
                self.books.exit(job, record);
                record.place.tag = tag;
                self.books.enter(job, record);
            }
        }
        self.books.fair[class.index()].end_closing();
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
        books.fair[record.class.index()].leave(&record.principal, record.cost.tokens);
        record.class = class;
        record.since = since;
        let fair = &mut books.fair[class.index()];
        record.came = fair.virtual_time();
        record.place.tag = fair.arrive(&record.principal, record.cost.tokens);
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
            fair.give_back(&record.principal, record.cost.tokens);
        } else {
            if stage == Stage::Leased {
                fair.serve(&record.principal, record.cost.tokens);
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

/// The jobs of a line in order. Those whose deadline has passed are set aside.
fn in_time<'a, P>(
    line: &'a Line,
    jobs: &'a FxHashMap<JobId, Record<P>>,
    now: Instant,
    expired: &'a mut Vec<JobId>,
) -> impl Iterator<Item = (JobId, &'a Record<P>)> {
    line.iter().filter_map(move |job| {
        let record = jobs.get(&job)?;
        if record.deadline.has_passed(now) {
            expired.push(job);
            return None;
        }
        Some((job, record))
    })
}

impl Books {
    /// Puts a job that waits or is being prepared on the books of its class.
    fn enter<P>(&mut self, job: JobId, record: &Record<P>) {
        let class = record.class;
        self.waiting_tokens[class.index()] += record.cost.tokens;
        match record.stage {
            Stage::Raw => self.raw.insert(class, record.place, job),
            Stage::Ready => self.ready.insert(class, record.place, job),
            Stage::Preparing => {
                self.preparing.insert(job);
                return;
            }
            Stage::Leased => return,
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
            Stage::Preparing => {
                self.preparing.remove(&job);
                return;
            }
            Stage::Leased => return,
        };
        self.ages[class.index()].remove(&(record.since, job));
    }
}
