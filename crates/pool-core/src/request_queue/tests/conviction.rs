use std::time::Duration;

use tokio::time::Instant;

use crate::request_queue::conviction::{Convictions, SENTENCE};
use crate::types::Fingerprint;

#[test]
fn an_input_is_refused_for_its_sentence_and_no_longer() {
    let mut convictions = Convictions::default();
    let (bad, good) = (Fingerprint::of(&"bad"), Fingerprint::of(&"good"));
    let start = Instant::now();
    convictions.convict(bad, start);
    assert_eq!(convictions.remaining(bad, start), Some(SENTENCE));
    assert_eq!(convictions.remaining(good, start), None);
    let later = start + SENTENCE - Duration::from_secs(1);
    assert_eq!(convictions.remaining(bad, later), Some(Duration::from_secs(1)));
    assert_eq!(convictions.remaining(bad, start + SENTENCE), None);
    assert!(convictions.is_empty());
}

#[test]
fn a_second_conviction_outlasts_the_first() {
    let mut convictions = Convictions::default();
    let bad = Fingerprint::of(&"bad");
    let start = Instant::now();
    convictions.convict(bad, start);
    convictions.convict(bad, start + Duration::from_secs(100));
    assert_eq!(convictions.remaining(bad, start + SENTENCE), Some(Duration::from_secs(100)));
}

#[test]
fn no_more_than_so_many_are_remembered() {
    let mut convictions = Convictions::default();
    let start = Instant::now();
    for number in 0..3000_u32 {
        convictions.convict(Fingerprint::of(&number), start);
    }
    assert!(convictions.remaining(Fingerprint::of(&0_u32), start).is_none());
    assert!(convictions.remaining(Fingerprint::of(&2999_u32), start).is_some());
}
