//! Random walks of the task: a client, a model and a server that do what they want, when they want.

use super::*;
use crate::session::checked::Draw;
use crate::session::machine::tests::walk::{answered, event};

fn script(draw: &mut Draw) -> Vec<Act> {
    let mut acts = Vec::new();
    for _ in 0..draw.below(8) {
        acts.push(match draw.below(3) {
            0 => Act::Wait(Duration::from_millis(draw.below(40) as u64)),
            _ => Act::Say(["Hel", "lo", "é"][draw.below(3)]),
        });
    }
    acts.push(
        draw.one(&[Act::End(Finish::Stop), Act::End(Finish::Length), Act::Fail, Act::BreakOff]).clone(),
    );
    acts
}

/// One session from its beginning to its end; how many events the client has seen.
async fn walk(seed: u64) -> usize {
    let mut draw = Draw(seed);
    let model = Model::new((0..40).map(|_| script(&mut draw)).collect());
    let limits =
        SessionLimits { items: 8, bytes: 4000, text_bytes: 90, errors: 40, ..SessionLimits::default() };
    let context = (draw.below(2) == 0).then(|| {
        let (progress, _) = watch::channel(Progress::default());
        Arc::new(Files { progress }) as Arc<dyn Citations>
    });
    let mut client = Client::with(options(limits, context), &model);
    client.until("session.created").await;
    let (mut asked, mut told, mut closed) = (Vec::new(), Vec::new(), None);
    for number in 0..draw.below(120) {
        let active = client.checked.active().map(str::to_owned);
        let mut event = event(&mut draw, &client.checked.items, active.as_deref());
        if event.is_object() {
            event["event_id"] = json!(number.to_string());
            asked.push(event.clone());
        }
        if client.incoming.send(Inbound::Text(event.to_string().into())).await.is_err() {
            break;
        }
        let reads = Instant::now() + Duration::from_millis(draw.below(30) as u64);
        while closed.is_none()
            && let Ok(next) = tokio::time::timeout_at(reads, client.next()).await
        {
            match next {
                Ok(event) => told.push(event),
                Err(code) => closed = Some(code),
            }
        }
        if closed.is_some() {
            break;
        }
    }
    let code = if let Some(code) = closed {
        assert_eq!(client.task.await.unwrap(), code);
        code
    } else {
        // All that was said is read before the server goes, which may be in the middle of an answer.
        let all_read = async {
            while client.incoming.capacity() < client.incoming.max_capacity() && !client.incoming.is_closed()
            {
                sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), all_read).await.expect("messages are read");
        sleep(Duration::from_millis(draw.below(50) as u64)).await;
        client.closing.cancel();
        let (events, code) = client.rest().await;
        told.extend(events);
        code
    };
    assert_eq!(model.live.load(Ordering::SeqCst), 0, "nothing is written for a session that has ended");
    match code {
        CloseCode::ShuttingDown => nothing_is_lost(&asked, &told),
        code => assert_eq!(code, CloseCode::TooManyErrors),
    }
    told.len()
}

/// Each event of a client is answered: with its error, or with what was asked for.
fn nothing_is_lost(asked: &[Value], told: &[Value]) {
    let name = |event: &Value| event["event_id"].as_str().unwrap().to_owned();
    let refused: Vec<&str> = told.iter().filter_map(|event| event["error"]["event_id"].as_str()).collect();
    let kinds = [
        "session.updated",
        "conversation.item.retrieved",
        "conversation.item.truncated",
        "conversation.item.deleted",
        "response.created",
    ];
    for kind in kinds {
        let obeyed = asked.iter().filter(|event| answered(event) == kind);
        let obeyed = obeyed.filter(|event| !refused.contains(&name(event).as_str())).count();
        assert_eq!(obeyed, told.iter().filter(|event| event["type"] == kind).count(), "{kind}");
    }
    for event in asked.iter().filter(|event| answered(event) == "error") {
        assert!(refused.contains(&name(event).as_str()), "{event}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_sessions_in_any_order() {
    let mut seen = 0;
    for seed in 0..1000 {
        seen += walk(seed).await;
    }
    assert!(seen > 100_000, "{seen}");
}
