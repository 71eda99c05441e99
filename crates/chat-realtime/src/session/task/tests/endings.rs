//! How sessions end: always, and always with their response first.

use super::*;

fn endless() -> Vec<Act> {
    vec![Act::Say("Hel"), Act::Wait(Duration::from_secs(3600))]
}

/// A client whose answer is being written.
async fn answered(model: &Arc<Model>, limits: SessionLimits) -> Client {
    let mut client = Client::with(options(limits, None), model);
    client.say(json!({"type": "response.create"})).await;
    client.until("response.output_text.delta").await;
    client
}

#[tokio::test(start_paused = true)]
async fn a_server_that_shuts_down_ends_the_response_and_says_so() {
    let model = Model::new(vec![endless()]);
    let client = answered(&model, SessionLimits::default()).await;
    client.closing.cancel();
    let (events, code) = client.rest().await;
    assert_eq!(code, CloseCode::ShuttingDown);
    let done = events.last().unwrap();
    assert_eq!((&done["type"], &done["response"]["status"]), (&json!("response.done"), &json!("cancelled")));
    assert_eq!(model.live.load(Ordering::SeqCst), 0, "and nothing is written any more");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_takes_its_response_along() {
    let model = Model::new(vec![endless()]);
    let Client { incoming, outgoing, task, .. } = answered(&model, SessionLimits::default()).await;
    drop(incoming);
    assert_eq!(task.await.unwrap(), CloseCode::Normal);
    drop(outgoing);
    // Its reader alone, while nothing is sent that would tell of it.
    let Client { incoming, outgoing, task, .. } = answered(&model, SessionLimits::default()).await;
    drop(outgoing);
    let ended = tokio::time::timeout(Duration::from_secs(1), task).await.expect("noticed at once");
    assert_eq!(ended.unwrap(), CloseCode::Normal);
    assert!(incoming.is_closed());
    assert_eq!(model.live.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_keeps_erring_is_closed() {
    let limits = SessionLimits { errors: 5, ..SessionLimits::default() };
    let model = Model::new(vec![endless()]);
    let client = answered(&model, limits).await;
    for _ in 0..6 {
        client.incoming.send(Inbound::NotUtf8).await.unwrap();
    }
    let (events, code) = client.rest().await;
    assert_eq!(code, CloseCode::TooManyErrors);
    assert_eq!(events.iter().filter(|event| event["type"] == "error").count(), 6);
    assert_eq!(events.last().unwrap()["response"]["status"], "cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_read_is_closed_and_its_answer_with_it() {
    let outgoing = crate::delivery::Limits { frames: 50, bytes: 1 << 20 };
    let limits = SessionLimits { outgoing, ..SessionLimits::default() };
    let mut acts = vec![Act::Say("a"); 200];
    acts.push(Act::Wait(Duration::from_secs(3600)));
    let model = Model::new(vec![acts]);
    let client = Client::with(options(limits, None), &model);
    client.say(json!({"type": "response.create"})).await;
    let Client { mut outgoing, task, incoming: _incoming, .. } = client;
    assert_eq!(task.await.unwrap(), CloseCode::Slow);
    assert_eq!(outgoing.next().await, Some(Out::Close(CloseCode::Slow)));
    assert_eq!(model.live.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn the_longest_answer_makes_no_reader_slow() {
    // The longest text in the longest form: each of its characters takes six bytes in JSON.
    let long: &'static str = "\u{1}".repeat(300 << 10).leak();
    let model = Model::new(vec![vec![Act::Say(long)]]);
    let mut client = Client::new(&model);
    client.say(json!({"type": "response.create"})).await;
    let done = client.until("response.done").await;
    assert_eq!(done["response"]["status_details"]["reason"], "max_output_tokens");
    let text = done["response"]["output"][0]["content"][0]["text"].as_str().unwrap();
    assert_eq!(text.len(), SessionLimits::default().text_bytes);
}
