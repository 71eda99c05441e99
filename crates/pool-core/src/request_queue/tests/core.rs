use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use crate::model::Room;
use crate::request_queue::core::{Arrival, Core, Pull};
use crate::types::{Bytes, Cost, Deadline, JobId, Principal, Priority, Tokens};

const AGEING: Duration = Duration::from_secs(10);

/// What may be done to a queue.
#[derive(Clone, Debug)]
enum Op {
    Insert { class: usize, principal: u8, tokens: u64, raw: bool, deadline: Option<u64> },
    PullRaw { jobs: usize, bytes: u64 },
    Prepared { pick: usize, tokens: u64 },
    Unprepared { pick: usize },
    Lease { jobs: usize, tokens: u64, idle: bool },
    GiveBack { pick: usize, alone: bool },
    Remove { pick: usize },
    Raise { pick: usize, class: usize },
    Wait { millis: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (0..4_usize, 0..3_u8, 1..600_u64, any::<bool>(), proptest::option::of(1..40_u64)).prop_map(
            |(class, principal, tokens, raw, deadline)| Op::Insert { class, principal, tokens, raw, deadline }
        ),
        2 => (1..5_usize, 0..2000_u64).prop_map(|(jobs, bytes)| Op::PullRaw { jobs, bytes }),
        2 => (any::<usize>(), 1..600_u64).prop_map(|(pick, tokens)| Op::Prepared { pick, tokens }),
        1 => any::<usize>().prop_map(|pick| Op::Unprepared { pick }),
        4 => (0..6_usize, 0..1500_u64, any::<bool>())
            .prop_map(|(jobs, tokens, idle)| Op::Lease { jobs, tokens, idle }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(pick, alone)| Op::GiveBack { pick, alone }),
        2 => any::<usize>().prop_map(|pick| Op::Remove { pick }),
        1 => (any::<usize>(), 0..4_usize).prop_map(|(pick, class)| Op::Raise { pick, class }),
        1 => (0..15_000_u64).prop_map(|millis| Op::Wait { millis }),
    ]
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Raw,
    Preparing,
    Ready,
    Leased,
}

/// What the test knows of a job.
#[derive(Clone, Copy, Debug)]
struct Known {
    stage: Stage,
    cost: Cost,
    alone: bool,
    deadline: Deadline,
}

/// The queue beside the plainest possible account of it.
struct Bench {
    core: Core<()>,
    known: BTreeMap<JobId, Known>,
    now: Instant,
    next: u64,
}

impl Bench {
    fn new() -> Self {
        Self { core: Core::new(AGEING), known: BTreeMap::new(), now: Instant::now(), next: 0 }
    }

    fn pick(&self, stage: Option<Stage>, pick: usize) -> Option<JobId> {
        let jobs: Vec<_> = self
            .known
            .iter()
            .filter(|(_, known)| stage.is_none_or(|stage| known.stage == stage))
            .map(|(job, _)| *job)
            .collect();
        (!jobs.is_empty()).then(|| jobs[pick % jobs.len()])
    }

    fn insert(
        &mut self,
        class: Priority,
        principal: &str,
        cost: Cost,
        raw: bool,
        deadline: Deadline,
    ) -> JobId {
        self.next += 1;
        let job = JobId::new(self.next);
        let arrival = Arrival {
            job,
            payload: (),
            cost,
            deadline,
            principal: Principal::from(principal),
            priority: class,
            raw,
        };
        self.core.insert(arrival, self.now);
        let stage = if raw { Stage::Raw } else { Stage::Ready };
        self.known.insert(job, Known { stage, cost, alone: false, deadline });
        job
    }

    fn lease(&mut self, room: Room, idle: bool) -> Pull {
        let pull = self.core.lease(room, idle, self.now);
        let mut tokens = Tokens::ZERO;
        for (position, job) in pull.taken.iter().enumerate() {
            let known = self.known.get_mut(job).expect("a leased job is known");
            assert_eq!(known.stage, Stage::Ready, "only ready jobs are leased");
            assert!(!known.deadline.has_passed(self.now), "no expired job is leased");
            if known.alone {
                assert!(
                    idle && pull.taken.len() == 1,
                    "a job to be run alone is leased alone, by an idle worker"
                );
            }
            known.stage = Stage::Leased;
            tokens += known.cost.tokens;
            let head_alone = position == 0 && pull.taken.len() == 1 && idle;
            assert!(
                tokens <= room.tokens || head_alone,
                "the room is kept, but for a head that is too large for any"
            );
        }
        assert!(pull.taken.len() <= room.jobs, "the room is kept");
        for job in &pull.expired {
            let known = &self.known[job];
            assert!(known.deadline.has_passed(self.now), "only expired jobs are passed over");
            assert_eq!(known.stage, Stage::Ready);
        }
        if pull.taken.is_empty() && idle && room.jobs > 0 {
            let left =
                self.known.values().any(|k| k.stage == Stage::Ready && !k.deadline.has_passed(self.now));
            assert!(!left, "an idle worker gets the head if there is one");
        }
        pull
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Insert { class, principal, tokens, raw, deadline } => {
                let deadline =
                    deadline.map_or(Deadline::NONE, |s| Deadline::at(self.now + Duration::from_secs(s)));
                let cost = Cost::new(tokens, tokens * 4);
                self.insert(Priority::ALL[class], &principal.to_string(), cost, raw, deadline);
            }
            Op::PullRaw { jobs, bytes } => {
                let Pull { taken, expired } = self.core.pull_raw(jobs, Bytes(bytes), self.now);
                assert!(taken.len() <= jobs);
                let sum: Bytes = taken.iter().map(|job| self.known[job].cost.bytes).sum();
                assert!(taken.len() <= 1 || sum <= Bytes(bytes));
                let raw = |known: &&Known| known.stage == Stage::Raw;
                for job in expired {
                    let known = &self.known[&job];
                    assert!(raw(&known) && known.deadline.has_passed(self.now));
                }
                let any = self.known.values().filter(raw).any(|known| !known.deadline.has_passed(self.now));
                assert_eq!(taken.is_empty(), !any, "one at least is taken if there is one");
                for job in taken {
                    let known = self.known.get_mut(&job).expect("known");
                    assert_eq!(known.stage, Stage::Raw);
                    assert!(!known.deadline.has_passed(self.now), "nothing is prepared for nobody");
                    known.stage = Stage::Preparing;
                }
            }
            Op::Prepared { pick, tokens } => {
                if let Some(job) = self.pick(Some(Stage::Preparing), pick) {
                    let known = self.known.get_mut(&job).expect("known");
                    known.cost.tokens = Tokens(tokens);
                    known.stage = Stage::Ready;
                    let cost = known.cost;
                    assert!(self.core.prepared(job, cost));
                    assert!(!self.core.prepared(job, cost), "prepared once");
                }
            }
            Op::Unprepared { pick } => {
                if let Some(job) = self.pick(Some(Stage::Preparing), pick) {
                    self.core.unprepared(job);
                    self.known.get_mut(&job).expect("known").stage = Stage::Raw;
                }
            }
            Op::Lease { jobs, tokens, idle } => {
                self.lease(Room::new(jobs, Tokens(tokens)), idle);
            }
            Op::GiveBack { pick, alone } => {
                if let Some(job) = self.pick(Some(Stage::Leased), pick) {
                    self.core.give_back(job, alone, self.now);
                    let known = self.known.get_mut(&job).expect("known");
                    known.stage = Stage::Ready;
                    known.alone |= alone;
                }
            }
            Op::Remove { pick } => {
                if let Some(job) = self.pick(None, pick) {
                    assert!(self.core.remove(job).is_some());
                    assert!(self.core.remove(job).is_none(), "removed once");
                    self.known.remove(&job);
                }
            }
            Op::Raise { pick, class } => {
                if let Some(job) = self.pick(None, pick) {
                    self.core.raise(job, Priority::ALL[class], self.now);
                }
            }
            Op::Wait { millis } => self.now += Duration::from_millis(millis),
        }
    }

    fn check_books(&self) {
        let all = self.known.values();
        assert_eq!(self.core.len(), self.known.len(), "nothing is lost");
        assert_eq!(self.core.cost(), all.clone().map(|known| known.cost).sum::<Cost>(), "the budget adds up");
        let leased = all.clone().filter(|known| known.stage == Stage::Leased);
        assert_eq!(self.core.leased(), leased.clone().count());
        let waiting = all.clone().filter(|known| known.stage != Stage::Leased);
        let waiting: Tokens = waiting.map(|known| known.cost.tokens).sum();
        assert_eq!(self.core.waiting_tokens(), waiting);
        let held: Tokens = leased.map(|known| known.cost.tokens).sum();
        assert_eq!(self.core.ahead_of(Priority::Low), waiting + held);
        assert_eq!(self.core.has_ready(), all.clone().any(|known| known.stage == Stage::Ready));
    }

    /// Leases and ends everything, one job at a time.
    fn drain(&mut self) -> Vec<JobId> {
        let mut order = Vec::new();
        loop {
            let pull = self.lease(Room::jobs(1), true);
            for job in pull.expired {
                self.core.remove(job);
                self.known.remove(&job);
            }
            let Some(job) = pull.taken.first().copied() else {
                break;
            };
            self.core.remove(job);
            self.known.remove(&job);
            order.push(job);
        }
        order
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_lost_nothing_is_twice_and_the_books_add_up(ops in prop::collection::vec(op(), 1..120)) {
        let mut bench = Bench::new();
        for op in ops {
            bench.apply(op);
            bench.check_books();
        }
        // Whatever state it was left in, everything comes out once.
        for job in bench.known.clone().into_keys() {
            match bench.known[&job].stage {
                Stage::Raw => continue,
                Stage::Preparing => {
                    bench.core.unprepared(job);
                    bench.known.get_mut(&job).expect("known").stage = Stage::Raw;
                }
                Stage::Leased => {
                    bench.core.give_back(job, false, bench.now);
                    bench.known.get_mut(&job).expect("known").stage = Stage::Ready;
                }
                Stage::Ready => {}
            }
        }
        let mut before = bench.known.len();
        loop {
            let Pull { taken, expired } = bench.core.pull_raw(10, Bytes::MAX, bench.now);
            for job in expired {
                prop_assert!(bench.core.remove(job).is_some());
                bench.known.remove(&job);
                before -= 1;
            }
            if taken.is_empty() {
                break;
            }
            for job in taken {
                let known = bench.known.get_mut(&job).expect("known");
                known.stage = Stage::Ready;
                prop_assert!(bench.core.prepared(job, known.cost));
            }
        }
        let expired = bench.known.values().filter(|known| known.deadline.has_passed(bench.now)).count();
        let order = bench.drain();
        prop_assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), order.len());
        prop_assert_eq!(order.len() + expired, before);
        prop_assert_eq!(bench.core.len(), 0);
        prop_assert_eq!(bench.core.cost(), Cost::ZERO);
        prop_assert_eq!(bench.core.waiting_tokens(), Tokens::ZERO);
    }

    #[test]
    fn more_urgent_classes_come_first_and_a_principal_keeps_its_order(
        jobs in prop::collection::vec((0..4_usize, 0..3_u8, 1..300_u64), 1..60),
    ) {
        let mut bench = Bench::new();
        let mut asked = BTreeMap::new();
        for (class, principal, tokens) in jobs {
            let name = principal.to_string();
            let job = bench.insert(Priority::ALL[class], &name, Cost::new(tokens, 0), false, Deadline::NONE);
            asked.insert(job, (class, principal));
        }
        let order = bench.drain();
        for pair in order.windows(2) {
            prop_assert!(asked[&pair[0]].0 >= asked[&pair[1]].0, "priority order");
        }
        for class in 0..4 {
            for principal in 0..3 {
                let own: Vec<_> = order.iter().filter(|job| asked[job] == (class, principal)).collect();
                prop_assert!(own.windows(2).all(|pair| pair[0] < pair[1]), "arrival order within a principal");
            }
        }
    }

    /// Two principals that always have work get the same amount of it, but for one job of each.
    #[test]
    fn backlogged_principals_share_by_cost(
        one in prop::collection::vec(1..400_u64, 30..60),
        other in prop::collection::vec(1..400_u64, 30..60),
    ) {
        let mut bench = Bench::new();
        let mut owner = BTreeMap::new();
        for (name, jobs) in [("one", &one), ("other", &other)] {
            for tokens in jobs {
                let job = bench.insert(Priority::Normal, name, Cost::new(*tokens, 0), false, Deadline::NONE);
                owner.insert(job, (name, *tokens));
            }
        }
        let most = one.iter().chain(&other).max().copied().unwrap_or(0);
        let (mut served_one, mut served_other) = (0_u64, 0_u64);
        let (all_one, all_other): (u64, u64) = (one.iter().sum(), other.iter().sum());
        for job in bench.drain() {
            let (name, tokens) = owner[&job];
            if name == "one" { served_one += tokens } else { served_other += tokens }
            if served_one == all_one || served_other == all_other {
                break;
            }
            prop_assert!(served_one.abs_diff(served_other) <= 2 * most, "{served_one} {served_other}");
        }
    }
}

proptest! {
    /// What left unserved changes nothing for what stayed, and what was estimated wrongly does not reorder a principal's own.
    #[test]
    fn jobs_that_left_might_as_well_not_have_come(
        jobs in prop::collection::vec((0..3_u8, 1..300_u64, any::<bool>()), 1..60),
    ) {
        let (mut with, mut without) = (Bench::new(), Bench::new());
        let (mut here, mut there) = (BTreeMap::new(), BTreeMap::new());
        let mut leaves = Vec::new();
        for (number, (principal, tokens, stays)) in jobs.into_iter().enumerate() {
            let name = principal.to_string();
            let insert =
                |bench: &mut Bench| bench.insert(Priority::Normal, &name, Cost::new(tokens, 0), false, Deadline::NONE);
            let job = insert(&mut with);
            if stays {
                here.insert(job, number);
                there.insert(insert(&mut without), number);
            } else {
                leaves.push(job);
            }
        }
        for job in leaves {
            with.apply(Op::Remove { pick: with.known.keys().position(|known| *known == job).expect("known") });
        }
        with.check_books();
        let one: Vec<_> = with.drain().iter().map(|job| here[job]).collect();
        let other: Vec<_> = without.drain().iter().map(|job| there[job]).collect();
        prop_assert_eq!(one, other);
    }

    #[test]
    fn a_principals_jobs_keep_their_order_whatever_they_turn_out_to_cost(
        jobs in prop::collection::vec((1..300_u64, 1..300_u64), 1..40),
    ) {
        let mut bench = Bench::new();
        let mut order = Vec::new();
        for (estimate, real) in jobs {
            order.push(bench.insert(Priority::Normal, "one", Cost::new(estimate, 0), true, Deadline::NONE));
            bench.insert(Priority::Normal, "other", Cost::new(100, 0), false, Deadline::NONE);
            bench.apply(Op::PullRaw { jobs: 1, bytes: 0 });
            bench.apply(Op::Prepared { pick: 0, tokens: real });
        }
        let drained: Vec<_> = bench.drain().into_iter().filter(|job| order.contains(job)).collect();
        prop_assert_eq!(drained, order);
    }
}

#[test]
fn a_job_that_was_raised_while_it_was_leased_comes_back_so() {
    let mut bench = Bench::new();
    let low = bench.insert(Priority::Low, "a", Cost::new(10, 0), false, Deadline::NONE);
    assert_eq!(bench.lease(Room::jobs(1), true).taken, [low]);
    let normal = bench.insert(Priority::Normal, "a", Cost::new(10, 0), false, Deadline::NONE);
    bench.core.raise(low, Priority::High, bench.now);
    bench.apply(Op::GiveBack { pick: 0, alone: false });
    bench.check_books();
    assert_eq!(bench.drain(), [low, normal]);
}

#[test]
fn a_low_job_is_served_though_urgent_ones_keep_coming() {
    let mut bench = Bench::new();
    let low = bench.insert(Priority::Low, "batch", Cost::new(100, 0), false, Deadline::NONE);
    for second in 0..60 {
        bench.insert(Priority::Critical, "urgent", Cost::new(100, 0), false, Deadline::NONE);
        bench.insert(Priority::Critical, "urgent", Cost::new(100, 0), false, Deadline::NONE);
        let pull = bench.lease(Room::jobs(1), true);
        if pull.taken == [low] {
            assert!(second >= 30, "it rises a class each 10 s, not sooner: served after {second} s");
            return;
        }
        bench.now += Duration::from_secs(1);
    }
    panic!("starved");
}

#[test]
fn a_head_that_does_not_fit_is_not_passed_by() {
    let mut bench = Bench::new();
    let large = bench.insert(Priority::Normal, "a", Cost::new(500, 0), false, Deadline::NONE);
    bench.insert(Priority::Normal, "a", Cost::new(10, 0), false, Deadline::NONE);
    let room = Room::new(8, Tokens(100));
    assert_eq!(bench.lease(room, false).taken, []);
    // They have risen by now, and still are not what there is room for.
    bench.apply(Op::Wait { millis: 60_000 });
    assert_eq!(bench.lease(room, false).taken, []);
    assert_eq!(bench.lease(room, true).taken, [large], "but an idle worker takes it, and nothing with it");
}

#[test]
fn where_only_more_urgent_jobs_have_room_no_others_enter() {
    let mut bench = Bench::new();
    let [low, normal, high, urgent] = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical]
        .map(|class| bench.insert(class, "a", Cost::new(10, 0), false, Deadline::NONE));
    let room = Room::jobs(8).above(Priority::Normal);
    assert_eq!(bench.lease(room, false).taken, [urgent, high]);
    assert_eq!(bench.lease(room, false).taken, []);
    assert_eq!(bench.lease(room, true).taken, [normal, low], "an idle worker takes any");
}

#[test]
fn a_retried_job_runs_alone_and_keeps_its_place() {
    let mut bench = Bench::new();
    let first = bench.insert(Priority::Normal, "a", Cost::new(10, 0), false, Deadline::NONE);
    let second = bench.insert(Priority::Normal, "a", Cost::new(10, 0), false, Deadline::NONE);
    assert_eq!(bench.lease(Room::jobs(8), true).taken, [first, second]);
    for job in [second, first] {
        bench.apply(Op::Wait { millis: 1 });
        bench.core.give_back(job, true, bench.now);
        let known = bench.known.get_mut(&job).expect("known");
        (known.stage, known.alone) = (Stage::Ready, true);
    }
    let third = bench.insert(Priority::Normal, "a", Cost::new(10, 0), false, Deadline::NONE);
    assert_eq!(bench.lease(Room::jobs(8), false).taken, [], "a busy worker does not get it");
    assert_eq!(bench.drain(), [first, second, third]);
}
