use proptest::prelude::*;

use super::*;

fn kept(text: &str) -> Frame {
    Frame { text: text.into(), class: Class::Kept }
}

fn noise(key: &str, text: &str) -> Frame {
    Frame { text: text.into(), class: Class::Noise { key: key.into() } }
}

async fn texts(receiver: &mut Receiver) -> (Vec<String>, Option<CloseCode>) {
    let mut texts = Vec::new();
    loop {
        match receiver.next().await {
            Some(Out::Frame(text)) => texts.push(text.to_string()),
            Some(Out::Close(code)) => {
                assert_eq!(receiver.next().await, None, "nothing follows a close");
                return (texts, Some(code));
            }
            None => return (texts, None),
        }
    }
}

#[tokio::test]
async fn frames_come_in_order_and_the_close_after_them() {
    let (sender, mut receiver) = outbox(Limits::default());
    for text in ["a", "b", "c"] {
        sender.send(kept(text)).unwrap();
    }
    sender.close(CloseCode::ShuttingDown);
    sender.close(CloseCode::Internal);
    assert_eq!(sender.send(kept("d")), Err(Closed(CloseCode::ShuttingDown)));
    let expected = (["a", "b", "c"].map(String::from).to_vec(), Some(CloseCode::ShuttingDown));
    assert_eq!(texts(&mut receiver).await, expected);
}

#[tokio::test]
async fn noise_is_merged_moved_to_the_end_and_dropped_before_anything_else() {
    let (sender, mut receiver) = outbox(Limits { frames: 8, bytes: 1000 });
    sender.send(noise("ada types", "1")).unwrap();
    sender.send(kept("2")).unwrap();
    sender.send(noise("ada types", "3")).unwrap();
    sender.send(noise("bob types", "4")).unwrap();
    assert_eq!(sender.dropped(), 2, "one merged, and with a quarter of the limit waiting, one dropped");
    for number in 5..12 {
        sender.send(kept(&number.to_string())).unwrap();
    }
    assert_eq!(sender.dropped(), 3, "the last noise made way");
    assert_eq!(sender.send(kept("12")), Err(Closed(CloseCode::Slow)));
    assert_eq!(texts(&mut receiver).await, (vec![], Some(CloseCode::Slow)));
}

#[tokio::test]
async fn a_single_frame_may_be_longer_than_the_limit_and_a_reader_that_goes_closes() {
    let (sender, receiver) = outbox(Limits { frames: 8, bytes: 10 });
    sender.send(kept("longer than ten bytes")).unwrap();
    assert_eq!(receiver.waiting(), (1, 21));
    drop(receiver);
    assert_eq!(sender.send(kept("a")), Err(Closed(CloseCode::Normal)));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_waits_is_woken_by_a_frame_and_by_a_close() {
    let (sender, mut receiver) = outbox(Limits::default());
    let reader = tokio::spawn(async move { texts(&mut receiver).await });
    tokio::task::yield_now().await;
    sender.send(kept("a")).unwrap();
    tokio::task::yield_now().await;
    sender.close(CloseCode::Ended);
    assert_eq!(reader.await.unwrap(), (vec!["a".to_owned()], Some(CloseCode::Ended)));
}

proptest! {
    /// Until it is closed, what is kept comes out whole and in order, whatever noise is between, and no more waits than may.
    #[test]
    fn what_is_kept_is_never_lost_and_bounds_hold(
        frames in proptest::collection::vec((0_usize..4, 1_usize..20), 0..200),
        reads in proptest::collection::vec(0_usize..5, 0..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let limits = Limits { frames: 12, bytes: 100 };
            let (sender, mut receiver) = outbox(limits);
            let (mut expected, mut got, mut slow) = (Vec::new(), Vec::new(), false);
            for (number, (kind, len)) in frames.into_iter().enumerate() {
                let text = format!("{number}{}", "x".repeat(len));
                let frame = if kind == 0 { kept(&text) } else { noise(&kind.to_string(), &text) };
                if sender.send(frame).is_err() {
                    slow = true;
                    break;
                }
                if kind == 0 {
                    expected.push(text);
                }
                let (count, bytes) = receiver.waiting();
                prop_assert!(count <= limits.frames && (bytes <= limits.bytes || count == 1));
                for _ in 0..reads.get(number).copied().unwrap_or(0).min(count) {
                    if let Some(Out::Frame(text)) = receiver.next().await {
                        got.push(text.to_string());
                    }
                }
            }
            sender.close(CloseCode::Ended);
            let (rest, code) = texts(&mut receiver).await;
            got.extend(rest);
            got.retain(|text| expected.contains(text));
            prop_assert_eq!(code, Some(if slow { CloseCode::Slow } else { CloseCode::Ended }));
            if slow {
                prop_assert_eq!(&got[..], &expected[..got.len()]);
            } else {
                prop_assert_eq!(got, expected);
            }
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_notices_that_its_reader_goes_before_or_after_it_asks() {
    let (sender, receiver) = outbox(Limits::default());
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move { sender.left().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(receiver);
    let second = std::time::Duration::from_secs(1);
    tokio::time::timeout(second, waiting).await.expect("told").unwrap();
    tokio::time::timeout(second, sender.left()).await.expect("known");
}
