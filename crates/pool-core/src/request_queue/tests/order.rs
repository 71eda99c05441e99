use crate::request_queue::order::FairShare;
use crate::types::{Principal, Tokens};

#[test]
fn a_principal_that_comes_late_is_not_behind_anothers_backlog() {
    let mut share = FairShare::default();
    let (busy, late) = (Principal::from("busy"), Principal::from("late"));
    let tags: Vec<u64> = (0..10).map(|_| share.arrive(&busy, Tokens(100))).collect();
    share.advance(tags[0]);
    share.serve(&busy, Tokens(100));
    share.advance(tags[1]);
    share.serve(&busy, Tokens(100));
    let tag = share.arrive(&late, Tokens(100));
    assert_eq!(tag, tags[1], "it starts at the class's virtual time");
    assert!(tag < tags[2]);
}

#[test]
fn who_was_idle_gets_no_credit_for_it() {
    let mut share = FairShare::default();
    let (busy, idle) = (Principal::from("busy"), Principal::from("idle"));
    for _ in 0..5 {
        let tag = share.arrive(&busy, Tokens(100));
        share.advance(tag);
        share.serve(&busy, Tokens(100));
    }
    assert_eq!(share.arrive(&idle, Tokens(1)), 500, "it starts where the class has come to");
}

#[test]
fn cancelling_everything_costs_nothing() {
    let mut share = FairShare::default();
    let (one, other) = (Principal::from("one"), Principal::from("other"));
    for _ in 0..50 {
        share.arrive(&one, Tokens(1000));
    }
    for _ in 0..50 {
        share.leave(&one, Tokens(1000));
    }
    assert_eq!(share.arrive(&one, Tokens(1)), share.arrive(&other, Tokens(1)));
}

#[test]
fn principals_that_came_and_went_are_forgotten() {
    let mut share = FairShare::default();
    for number in 0..10_000 {
        let principal = Principal::new(format!("p{number}"));
        let tag = share.arrive(&principal, Tokens(1));
        share.advance(tag);
        share.serve(&principal, Tokens(1));
    }
    assert!(share.principals() <= 512, "{}", share.principals());
}

#[test]
fn whom_to_forget_is_not_looked_for_at_every_arrival() {
    let mut share = FairShare::default();
    for number in 0..1000 {
        share.arrive(&Principal::new(format!("p{number}")), Tokens(1));
        assert!(share.principals() <= share.forgets_at(), "all of them wait, so none can be forgotten");
    }
    assert!(share.forgets_at() >= 1000, "only twice as many as there were are worth another look");
}

#[test]
fn gaps_of_a_long_line_are_closed_once_a_part_of_it_has_gone() {
    let closings = |jobs: usize| {
        let mut share = FairShare::default();
        let (one, other) = (Principal::from("one"), Principal::from("other"));
        share.arrive(&other, Tokens(1));
        for _ in 0..jobs {
            share.arrive(&one, Tokens(1));
        }
        let closes = |_: &usize| {
            share.leave(&one, Tokens(1));
            let closes = share.has_gaps();
            if closes {
                share.begin_to_close();
                share.end_closing();
            }
            closes
        };
        (0..64).filter(closes).count()
    };
    assert_eq!(closings(100), 64);
    assert_eq!(closings(1000), 1, "each closing looks at all of them");
    assert_eq!(closings(100_000), 0);
}
