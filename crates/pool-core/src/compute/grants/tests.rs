use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const LIMIT: Duration = Duration::from_secs(30);
const AGEING: Duration = Duration::from_secs(2);

fn model(number: usize) -> ModelId {
    ModelId::new(format!("m{number}"))
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Claims for a test: the work is the ticket itself.
fn claim(
    grants: &mut Grants<Ticket>,
    ticket: Ticket,
    of: usize,
    priority: Priority,
    now: Instant,
) -> Claimed<Ticket> {
    let model = model(of);
    grants.claim(Request { ticket, model: &model, priority, limit: Some(LIMIT) }, now, ticket)
}

#[derive(Clone, Debug)]
enum Op {
    Claim {
        model: usize,
        priority: Priority,
    },
    /// Finishes one of those that run.
    Finish(prop::sample::Index),
    /// Cancels any claim there ever was: one that waits, runs, has ended or was thrown out.
    Cancel(prop::sample::Index),
    Advance(Duration),
    Sweep,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let priority = prop::sample::select(&Priority::ALL[..]);
    let op = prop_oneof![
        6 => (0..4usize, priority).prop_map(|(model, priority)| Op::Claim { model, priority }),
        4 => any::<prop::sample::Index>().prop_map(Op::Finish),
        2 => any::<prop::sample::Index>().prop_map(Op::Cancel),
        3 => (0..5_000u64).prop_map(|ms| Op::Advance(Duration::from_millis(ms))),
        1 => Just(Op::Advance(LIMIT)),
        2 => Just(Op::Sweep),
    ];
    prop::collection::vec(op, 0..200)
}

/// What the test knows by itself about each claim.
#[derive(Default)]
struct Ledger {
    claims: Vec<(usize, Priority, Instant)>,
    waiting: BTreeSet<Ticket>,
    running: BTreeMap<Ticket, Instant>,
    lost: BTreeSet<Ticket>,
    ended: BTreeSet<Ticket>,
}

impl Ledger {
    fn raised(&self, ticket: Ticket, now: Instant) -> u128 {
        let (_, priority, since) = self.claims[ticket as usize];
        (priority.index() as u128 + now.duration_since(since).as_nanos() / AGEING.as_nanos()).min(3)
    }

    fn lost_of(&self, model: usize) -> usize {
        self.lost.iter().filter(|ticket| self.claims[**ticket as usize].0 == model).count()
    }

    /// Takes all grants there are, each checked against everybody else who waits.
    fn take_grants(&mut self, grants: &mut Grants<Ticket>, now: Instant) {
        loop {
            let shares: BTreeMap<usize, Duration> = (0..4)
                .filter_map(|m| Some((m, grants.accounts[*grants.index.get(&model(m))?].share)))
                .collect();
            let Some(ticket) = grants.grant(now) else { break };
            assert!(self.waiting.remove(&ticket), "{ticket} was granted without waiting");
            let mine = self.raised(ticket, now);
            let of = self.claims[ticket as usize].0;
            for other in &self.waiting {
                assert!(self.raised(*other, now) <= mine, "{other} is more urgent than {ticket}");
                let whose = self.claims[*other as usize].0;
                if self.raised(*other, now) == mine && whose != of {
                    assert!(
                        shares[&of] <= shares[&whose],
                        "{other}'s model has computed less than {ticket}'s"
                    );
                }
                let class = |t: Ticket| self.claims[t as usize].1;
                if whose == of && class(*other) == class(ticket) {
                    assert!(ticket < *other, "{other} came before {ticket}");
                }
            }
            self.running.insert(ticket, now);
        }
    }

    fn check(&self, grants: &Grants<Ticket>) {
        assert_eq!(grants.waiting(), self.waiting.len());
        assert_eq!(grants.busy(), self.running.len() - self.lost.len());
        assert_eq!(grants.lost(), self.lost.len());
        // Never more than the slots at work, and never more threads out than the extra ones allow.
        assert!(grants.busy() <= grants.slots());
        let losers = (0..4).filter(|model| self.lost_of(*model) > 0).count();
        assert_eq!(grants.losers, losers);
        assert!(self.running.len() <= (grants.slots() + losers).max(self.lost.len() + 1));
        // No slot idles while somebody waits, and one slot at least is always alive.
        assert!(self.waiting.is_empty() || !grants.has_room());
        assert!(grants.has_room() || grants.busy() > 0);
        let active = grants.accounts.iter().filter(|account| account.is_active()).count();
        assert_eq!(grants.active, active);
    }
}

proptest! {
    #[test]
    fn slots_are_bounded_and_nobody_is_lost(slots in 1..5usize, ops in ops()) {
        let mut grants = Grants::new(slots, AGEING);
        let mut now = Instant::now();
        let mut ledger = Ledger::default();
        for op in ops {
            match op {
                Op::Claim { model, priority } => {
                    let ticket = ledger.claims.len() as Ticket;
                    ledger.claims.push((model, priority, now));
                    let refused = ledger.lost_of(model) >= 2;
                    match claim(&mut grants, ticket, model, priority, now) {
                        Claimed::Started(work) => {
                            prop_assert_eq!(work, ticket);
                            prop_assert!(!refused && ledger.waiting.is_empty());
                            ledger.running.insert(ticket, now);
                        }
                        Claimed::Waits => {
                            prop_assert!(!refused);
                            ledger.waiting.insert(ticket);
                        }
                        Claimed::Refused(work) => {
                            prop_assert_eq!(work, ticket);
                            prop_assert!(refused);
                            ledger.ended.insert(ticket);
                        }
                    }
                }
                Op::Finish(which) => {
                    let running: Vec<Ticket> = ledger.running.keys().copied().collect();
                    if running.is_empty() {
                        prop_assert_eq!(grants.finish(9_999, now), None);
                        continue;
                    }
                    let ticket = *which.get(&running);
                    let finished = grants.finish(ticket, now).unwrap();
                    let since = ledger.running.remove(&ticket).unwrap();
                    prop_assert_eq!(finished.took, now.duration_since(since));
                    prop_assert_eq!(finished.was_lost, ledger.lost.remove(&ticket));
                    ledger.ended.insert(ticket);
                    // Twice is once.
                    prop_assert_eq!(grants.finish(ticket, now), None);
                }
                Op::Cancel(which) => {
                    if ledger.claims.is_empty() {
                        continue;
                    }
                    let ticket = which.index(ledger.claims.len()) as Ticket;
                    let (of, priority, _) = ledger.claims[ticket as usize];
                    let waited = ledger.waiting.remove(&ticket);
                    let cancelled = grants.cancel(ticket, &model(of), priority);
                    prop_assert_eq!(cancelled, waited.then_some(ticket));
                    if waited {
                        ledger.ended.insert(ticket);
                    }
                }
                Op::Advance(by) => now += by,
                Op::Sweep => {
                    let overdue: Vec<Ticket> = (ledger.running.iter())
                        .filter(|(ticket, since)| now.duration_since(**since) >= LIMIT && !ledger.lost.contains(ticket))
                        .map(|(ticket, _)| *ticket)
                        .collect();
                    let swept = grants.sweep(now);
                    prop_assert_eq!(swept.lost.len(), overdue.len());
                    ledger.lost.extend(overdue);
                    for ticket in swept.thrown_out {
                        prop_assert!(ledger.waiting.remove(&ticket));
                        prop_assert!(ledger.lost_of(ledger.claims[ticket as usize].0) >= 2);
                        prop_assert!(grants.was_thrown_out(ticket));
                        prop_assert!(!grants.was_thrown_out(ticket));
                        ledger.ended.insert(ticket);
                    }
                    for (ticket, since) in &ledger.running {
                        let (of, priority, _) = ledger.claims[*ticket as usize];
                        let after = now.duration_since(*since);
                        let expected = match ledger.lost.contains(ticket) {
                            true => Standing::Lost { after },
                            false => Standing::Until(Some(*since + LIMIT)),
                        };
                        prop_assert_eq!(grants.standing(*ticket, &model(of), priority, now), expected);
                    }
                }
            }
            ledger.take_grants(&mut grants, now);
            ledger.check(&grants);
        }
        // Whatever runs returns in the end, and then everything is as it was at first.
        while let Some((&ticket, _)) = ledger.running.first_key_value() {
            grants.finish(ticket, now).unwrap();
            ledger.running.remove(&ticket);
            ledger.lost.remove(&ticket);
            ledger.ended.insert(ticket);
            ledger.take_grants(&mut grants, now);
            ledger.check(&grants);
        }
        prop_assert!(ledger.waiting.is_empty());
        prop_assert_eq!(ledger.ended.len(), ledger.claims.len());
        prop_assert_eq!((grants.lost, grants.losers, grants.active, grants.waiting), (0, 0, 0, 0));
        prop_assert!(grants.thrown_out.is_empty());
        for number in 0..4 {
            prop_assert!(grants.forget(&model(number)));
        }
        prop_assert!(grants.index.is_empty());
    }

    /// Two models that always want the slot get the same time, whatever their steps take.
    #[test]
    fn time_is_shared(steps in prop::array::uniform2(1..2_000u64), rounds in 200..400usize) {
        let mut grants = Grants::new(1, Duration::ZERO);
        let mut now = Instant::now();
        let mut tickets = 0..;
        let mut of = BTreeMap::new();
        let mut claim_for = |grants: &mut Grants<Ticket>, of: &mut BTreeMap<Ticket, usize>, number: usize, now| {
            let ticket = tickets.next().unwrap();
            of.insert(ticket, number);
            claim(grants, ticket, number, Priority::Normal, now)
        };
        let Claimed::Started(mut running) = claim_for(&mut grants, &mut of, 0, now) else { panic!("the slot was free") };
        prop_assert_eq!(claim_for(&mut grants, &mut of, 1, now), Claimed::Waits);
        for _ in 0..rounds {
            let number = of[&running];
            now += Duration::from_millis(steps[number]);
            grants.finish(running, now);
            // Its next step is asked for before the slot is granted again, as a busy worker would at best.
            let asked = claim_for(&mut grants, &mut of, number, now);
            running = match (asked, grants.grant(now)) {
                (Claimed::Waits, Some(granted)) => granted,
                (asked, granted) => panic!("somebody waited, so {asked:?} and {granted:?} cannot be"),
            };
        }
        let apart = grants.computed(&model(0)).abs_diff(grants.computed(&model(1)));
        prop_assert!(apart <= Duration::from_millis(steps[0].max(steps[1])), "{apart:?} apart");
    }
}

#[test]
fn a_newcomer_does_not_starve_those_who_have_computed_for_long() {
    let mut grants = Grants::new(1, Duration::ZERO);
    let mut now = Instant::now();
    assert_eq!(claim(&mut grants, 0, 0, Priority::Normal, now), Claimed::Started(0));
    now += seconds(1_000);
    grants.finish(0, now);
    // Idle for a moment, as between two steps: the newcomer must not count from zero now either.
    assert_eq!(claim(&mut grants, 1, 1, Priority::Normal, now), Claimed::Started(1));
    assert_eq!(claim(&mut grants, 2, 0, Priority::Normal, now), Claimed::Waits);
    now += seconds(1);
    grants.finish(1, now);
    assert_eq!(claim(&mut grants, 3, 1, Priority::Normal, now), Claimed::Waits);
    assert_eq!(grants.grant(now), Some(2), "the newcomer had its turn");
}

#[test]
fn a_model_that_was_idle_for_long_leads_by_little() {
    let mut grants = Grants::new(1, Duration::ZERO);
    let mut now = Instant::now();
    assert_eq!(claim(&mut grants, 0, 0, Priority::Normal, now), Claimed::Started(0));
    grants.finish(0, now);
    for ticket in 1..1_000 {
        assert_eq!(claim(&mut grants, ticket, 1, Priority::Normal, now), Claimed::Started(ticket));
        now += seconds(5);
        grants.finish(ticket, now);
    }
    // It comes back to one that always wants the slot. For how long does it go first?
    assert_eq!(claim(&mut grants, 1_000, 1, Priority::Normal, now), Claimed::Started(1_000));
    let mut ticket = 1_001;
    assert_eq!(claim(&mut grants, ticket, 0, Priority::Normal, now), Claimed::Waits);
    grants.finish(1_000, now);
    assert_eq!(claim(&mut grants, 9_999, 1, Priority::Normal, now), Claimed::Waits);
    let mut led = Duration::ZERO;
    while grants.grant(now) == Some(ticket) {
        now += Duration::from_millis(100);
        led += Duration::from_millis(100);
        grants.finish(ticket, now);
        ticket += 1;
        assert_eq!(claim(&mut grants, ticket, 0, Priority::Normal, now), Claimed::Waits);
    }
    assert!((CREDIT..=CREDIT + seconds(1)).contains(&led), "{led:?}");
}

#[test]
fn a_lost_model_does_not_hold_newcomers_back_at_its_own_share() {
    let mut grants = Grants::new(2, Duration::ZERO);
    let mut now = Instant::now();
    assert_eq!(claim(&mut grants, 0, 0, Priority::Normal, now), Claimed::Started(0));
    now += LIMIT;
    assert_eq!(grants.sweep(now).lost, vec![(model(0), LIMIT)]);
    assert_eq!(claim(&mut grants, 1, 1, Priority::Normal, now), Claimed::Started(1));
    now += seconds(20);
    grants.finish(1, now);
    assert_eq!(claim(&mut grants, 2, 1, Priority::Normal, now), Claimed::Started(2));
    assert_eq!(claim(&mut grants, 3, 2, Priority::Normal, now), Claimed::Started(3));
    let share = |number: usize| grants.accounts[grants.index[&model(number)]].share;
    assert_eq!(share(2), share(1), "counted from the one at work, not from the one that hangs");
}

#[test]
fn priority_goes_first_and_age_raises_it() {
    let mut grants = Grants::new(1, AGEING);
    let mut now = Instant::now();
    assert_eq!(claim(&mut grants, 0, 0, Priority::Normal, now), Claimed::Started(0));
    assert_eq!(claim(&mut grants, 1, 1, Priority::Low, now), Claimed::Waits);
    assert_eq!(claim(&mut grants, 2, 2, Priority::High, now), Claimed::Waits);
    grants.finish(0, now);
    assert_eq!(grants.grant(now), Some(2));
    now += AGEING * 3;
    assert_eq!(claim(&mut grants, 3, 2, Priority::Critical, now), Claimed::Waits);
    grants.finish(2, now);
    assert_eq!(
        grants.grant(now),
        Some(1),
        "after three intervals it is critical itself, and its model has computed less"
    );
}

#[test]
fn the_first_lost_thread_is_replaced_and_the_second_refuses_the_model() {
    let mut grants = Grants::new(1, AGEING);
    let mut now = Instant::now();
    assert_eq!(claim(&mut grants, 0, 0, Priority::Normal, now), Claimed::Started(0));
    assert_eq!(claim(&mut grants, 1, 0, Priority::Normal, now), Claimed::Waits);
    assert_eq!(claim(&mut grants, 2, 0, Priority::Normal, now), Claimed::Waits);
    assert_eq!(claim(&mut grants, 3, 1, Priority::Normal, now), Claimed::Waits);
    now += LIMIT;
    assert_eq!(grants.sweep(now), Swept { lost: vec![(model(0), LIMIT)], thrown_out: vec![] });
    assert_eq!(grants.grant(now), Some(3), "work goes on, with the model that has computed less");
    grants.finish(3, now);
    assert_eq!(grants.grant(now), Some(1));
    assert_eq!(grants.grant(now), None, "one slot in place of one");

    now += LIMIT;
    let swept = grants.sweep(now);
    assert_eq!(swept, Swept { lost: vec![(model(0), LIMIT)], thrown_out: vec![2] });
    assert!(grants.was_thrown_out(2));
    assert_eq!(claim(&mut grants, 4, 0, Priority::Critical, now), Claimed::Refused(4));
    assert_eq!(
        claim(&mut grants, 5, 1, Priority::Low, now),
        Claimed::Started(5),
        "others have a slot all the same"
    );
    assert_eq!(claim(&mut grants, 6, 1, Priority::Low, now), Claimed::Waits, "but one only");
    assert_eq!((grants.busy(), grants.lost(), grants.lost_of(&model(0))), (1, 2, 2));
    assert!(!grants.forget(&model(0)), "its threads are still out");

    assert_eq!(grants.finish(0, now), Some(Finished { took: LIMIT * 2, was_lost: true }));
    assert_eq!(grants.grant(now), None, "its replacement went with it");
    assert_eq!(claim(&mut grants, 7, 0, Priority::Normal, now), Claimed::Waits, "it is no longer refused");
    grants.finish(1, now);
    assert_eq!(grants.grant(now), None);
    grants.finish(5, now);
    assert_eq!(grants.grant(now), Some(7), "which is more urgent");
    assert_eq!(grants.grant(now), None);
}

#[test]
fn whoever_waits_is_told_when_to_look_again() {
    let mut grants = Grants::new(1, AGEING);
    let now = Instant::now();
    let patient =
        Request { ticket: 0, model: &model(0), priority: Priority::Normal, limit: Some(seconds(600)) };
    assert_eq!(grants.claim(patient, now, 0), Claimed::Started(0));
    assert_eq!(claim(&mut grants, 1, 1, Priority::Normal, now), Claimed::Waits);
    // Were it to start at once, its own limit would end before that of what runs.
    assert_eq!(grants.standing(1, &model(1), Priority::Normal, now), Standing::Until(Some(now + LIMIT)));
    let later = now + seconds(590);
    assert_eq!(
        grants.standing(1, &model(1), Priority::Normal, later),
        Standing::Until(Some(now + seconds(600)))
    );
    assert_eq!(grants.standing(9, &model(1), Priority::Normal, now), Standing::Ended);
}

#[test]
fn without_a_limit_nothing_is_ever_lost() {
    let mut grants = Grants::new(1, AGEING);
    let now = Instant::now();
    let forever = Request { ticket: 0, model: &model(0), priority: Priority::Normal, limit: None };
    assert_eq!(grants.claim(forever, now, 0), Claimed::Started(0));
    assert_eq!(grants.sweep(now + seconds(1_000_000)), Swept { lost: vec![], thrown_out: vec![] });
    assert_eq!(grants.standing(0, &model(0), Priority::Normal, now), Standing::Until(None));
}
