use crate::request_queue::order::FairShare;
use crate::types::{Principal, Tokens};

#[test]
fn a_principal_that_comes_late_is_not_behind_anothers_backlog() {
    let mut share = FairShare::default();
    let (busy, late) = (Principal::from("busy"), Principal::from("late"));
    let tags: Vec<u64> = (0..10).map(|_| share.arrive(&busy, Tokens(100))).collect();
    share.advance(tags[0]);
    share.serve(&busy);
    share.advance(tags[1]);
    share.serve(&busy);
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
        share.serve(&busy);
    }
    assert_eq!(share.arrive(&idle, Tokens(1)), 500, "it starts where the class has come to");
}

#[test]
fn cancelling_everything_costs_nothing() {
    let mut share = FairShare::default();
    let (one, other) = (Principal::from("one"), Principal::from("other"));
    let tags: Vec<u64> = (0..50).map(|_| share.arrive(&one, Tokens(1000))).collect();
    for tag in tags.iter().rev() {
        share.leave(&one, *tag);
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
        share.serve(&principal);
    }
    assert!(share.principals() <= 512, "{}", share.principals());
}
