//! The pool as its callers see it: against the reference's numbers, with bad input, under load.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on should panic")]

mod bad_input;
mod fixture;
mod reference;
mod scheduling;
