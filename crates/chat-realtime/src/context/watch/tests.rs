use std::pin::pin;
use std::task::{Context, Poll, Waker};

use notify::event::{CreateKind, Flag};

use super::*;

fn next(changes: &mut Changes) -> Option<Change> {
    match pin!(changes.next()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(change) => Some(change),
        Poll::Pending => None,
    }
}

fn created(path: &str) -> notify::Result<Event> {
    Ok(Event::new(EventKind::Create(CreateKind::File)).add_path(path.into()))
}

#[test]
fn what_there_is_no_room_for_is_somewhere_and_told_once() {
    let (teller, mut changes) = changes(2);
    assert_eq!(next(&mut changes), None);
    for path in ["/a", "/b", "/c", "/d"] {
        teller.event(created(path));
    }
    let told: Vec<_> = std::iter::from_fn(|| next(&mut changes)).collect();
    assert_eq!(told, [Change::Somewhere, Change::At("/a".into()), Change::At("/b".into())]);
    teller.event(created("/e"));
    assert_eq!(next(&mut changes), Some(Change::At("/e".into())));
}

#[tokio::test]
async fn a_change_that_is_lost_after_all_others_were_taken_still_wakes_the_task() {
    let (teller, mut changes) = changes(1);
    let waiting = tokio::spawn(async move { changes.next().await });
    tokio::task::yield_now().await;
    teller.tell(Change::Somewhere);
    assert_eq!(waiting.await.unwrap(), Change::Somewhere);
}

#[test]
fn gaps_make_everything_be_looked_at_and_reading_is_no_change() {
    let (teller, mut changes) = changes(8);
    teller.event(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)));
    assert_eq!(next(&mut changes), Some(Change::Somewhere));
    teller.event(Err(notify::Error::generic("the queue broke")));
    assert_eq!(next(&mut changes), Some(Change::Somewhere));
    for kind in [AccessKind::Open(AccessMode::Any), AccessKind::Close(AccessMode::Read), AccessKind::Read] {
        teller.event(Ok(Event::new(EventKind::Access(kind)).add_path("/a".into())));
    }
    assert_eq!(next(&mut changes), None);
    let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
    teller.event(Ok(Event::new(written).add_path("/a".into())));
    assert_eq!(next(&mut changes), Some(Change::At("/a".into())));
}
