//! The task, with paused time and a scripted model.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::stream;
use pool_core::compute::{LanesConfig, Scripted, ScriptedCompute};
use pool_core::{Principal, Priority};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::context::ProgressState;
use crate::delivery::{Out, Receiver};
use crate::model::{Finish, Usage};
use crate::session::checked::Checked;

mod endings;
mod walk;

/// What a scripted model does next.
#[derive(Clone, Debug)]
enum Act {
    Say(&'static str),
    Wait(Duration),
    Fail,
    End(Finish),
    /// The stream ends without an end.
    BreakOff,
}

/// A model that does what it is told to, once a prompt.
#[derive(Debug)]
struct Model {
    script: Mutex<Vec<Vec<Act>>>,
    prompts: Mutex<Vec<Prompt>>,
    /// Answers that are being written.
    live: Arc<AtomicUsize>,
}

/// Counts as long as it lives.
struct Live(Arc<AtomicUsize>);

impl Live {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Model {
    /// The first script is for the first prompt; the last is for all that follow.
    fn new(mut script: Vec<Vec<Act>>) -> Arc<Self> {
        script.reverse();
        Arc::new(Self { script: Mutex::new(script), prompts: Mutex::default(), live: Arc::default() })
    }
}

impl Responder for Model {
    fn model(&self) -> &str {
        "small"
    }

    fn sees(&self) -> bool {
        true
    }

    fn respond(&self, prompt: Prompt) -> BoxFuture<'static, Result<Answer, ModelFailure>> {
        self.prompts.lock().unwrap().push(prompt);
        let mut script = self.script.lock().unwrap();
        let acts = if script.len() > 1 { script.pop().unwrap() } else { script.last().unwrap().clone() };
        let live = Live::new(&self.live);
        Box::pin(async move {
            let mut acts = acts.into_iter().peekable();
            while let Some(Act::Wait(time)) = acts.peek() {
                sleep(*time).await;
                acts.next();
            }
            if matches!(acts.peek(), Some(Act::Fail)) {
                return Err(broken());
            }
            let answer = stream::unfold((acts, live), |(mut acts, live)| async move {
                let piece = loop {
                    match acts.next()? {
                        Act::Wait(time) => sleep(time).await,
                        Act::Say(text) => break Ok(Piece::Text(text.to_owned())),
                        Act::Fail => break Err(broken()),
                        Act::End(finish) => break Ok(Piece::End { finish, usage: Usage::default() }),
                        Act::BreakOff => return None,
                    }
                };
                Some((piece, (acts, live)))
            });
            let answer: Answer = Box::pin(answer);
            Ok(answer)
        })
    }
}

fn broken() -> ModelFailure {
    ModelFailure { kind: FailureKind::Failed, message: "the model is broken; try another".to_owned() }
}

/// Files that say one thing.
#[derive(Debug)]
struct Files {
    progress: watch::Sender<Progress>,
}

impl Citations for Files {
    fn find(&self, question: String, most: usize) -> BoxFuture<'static, Result<Vec<Passage>, ModelFailure>> {
        Box::pin(async move {
            sleep(Duration::from_millis(5)).await;
            assert!(most > 0);
            Ok(vec![Passage { path: "a.md".to_owned(), lines: (1, 1), text: question.into(), score: 0.5 }])
        })
    }

    fn updates(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }
}

/// A client with its session.
struct Client {
    incoming: mpsc::Sender<Inbound>,
    outgoing: Receiver,
    task: JoinHandle<CloseCode>,
    closing: CancellationToken,
    checked: Checked,
}

fn options(limits: SessionLimits, context: Option<Arc<dyn Citations>>) -> SessionOptions {
    SessionOptions {
        model: "small".to_owned(),
        instructions: None,
        principal: Principal::default(),
        priority: Priority::default(),
        limits,
        context,
        lanes: Lanes::new(LanesConfig::default(), ScriptedCompute::taking(Duration::from_millis(50))),
        closing: CancellationToken::new(),
    }
}

impl Client {
    fn new(model: &Arc<Model>) -> Self {
        Self::with(options(SessionLimits::default(), None), model)
    }

    fn with(options: SessionOptions, model: &Arc<Model>) -> Self {
        let closing = options.closing.clone();
        let (Connection { incoming, outgoing }, task) =
            session(options, Arc::clone(model) as Arc<dyn Responder>);
        let task = tokio::spawn(task);
        Self { incoming, outgoing, task, closing, checked: Checked::default() }
    }

    async fn say(&self, event: Value) {
        self.incoming.send(Inbound::Text(event.to_string().into())).await.unwrap();
    }

    async fn next(&mut self) -> Result<Value, CloseCode> {
        // Virtual time: whoever waits for what never comes fails at once.
        let next = tokio::time::timeout(Duration::from_secs(7200), self.outgoing.next()).await;
        match next.expect("nothing comes any more").expect("a close comes first") {
            Out::Frame(text) => {
                let event = serde_json::from_str(&text).unwrap();
                self.checked.see(&event);
                Ok(event)
            }
            Out::Close(code) => {
                self.checked.close();
                Err(code)
            }
        }
    }

    /// The next event of a type; those before it are passed over.
    async fn until(&mut self, kind: &str) -> Value {
        loop {
            let event = self.next().await.unwrap_or_else(|code| panic!("closed with {code} before {kind}"));
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// Everything up to the close, and its code, which is also the task's.
    async fn rest(mut self) -> (Vec<Value>, CloseCode) {
        let mut events = Vec::new();
        let code = loop {
            match self.next().await {
                Ok(event) => events.push(event),
                Err(code) => break code,
            }
        };
        assert_eq!(self.outgoing.next().await, None);
        assert_eq!(self.task.await.unwrap(), code);
        (events, code)
    }
}

fn hello() -> Vec<Act> {
    let tenth = Duration::from_millis(100);
    vec![Act::Wait(tenth), Act::Say("Hel"), Act::Wait(tenth), Act::Say("lo."), Act::End(Finish::Stop)]
}

fn message(text: &str) -> Value {
    let content = json!([{"type": "input_text", "text": text}]);
    json!({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}})
}

#[tokio::test(start_paused = true)]
async fn a_conversation_is_held() {
    let model = Model::new(vec![hello()]);
    let mut client = Client::new(&model);
    client.until("session.created").await;
    for turns in [1, 3] {
        client.say(message("Hello?")).await;
        client.say(json!({"type": "response.create"})).await;
        let done = client.until("response.done").await;
        assert_eq!(done["response"]["output"][0]["content"][0]["text"], "Hello.");
        assert_eq!(model.prompts.lock().unwrap().last().unwrap().turns.len(), turns);
    }
    let Client { incoming, mut outgoing, task, .. } = client;
    drop(incoming);
    assert_eq!(outgoing.next().await, Some(Out::Close(CloseCode::Normal)));
    assert_eq!(task.await.unwrap(), CloseCode::Normal);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_cancelled_is_written_no_more() {
    let model = Model::new(vec![vec![Act::Say("Hel"), Act::Wait(Duration::from_secs(3600))], hello()]);
    let mut client = Client::new(&model);
    client.say(json!({"type": "response.create"})).await;
    client.until("response.output_text.delta").await;
    assert_eq!(model.live.load(Ordering::SeqCst), 1);
    client.say(json!({"type": "response.cancel"})).await;
    assert_eq!(client.until("response.done").await["response"]["status"], "cancelled");
    assert_eq!(model.live.load(Ordering::SeqCst), 0);
    client.say(json!({"type": "response.create"})).await;
    assert_eq!(
        client.until("response.done").await["response"]["status"],
        "completed",
        "the session lives on"
    );
}

#[tokio::test(start_paused = true)]
async fn a_model_that_fails_says_so() {
    let scripts = vec![
        vec![Act::Fail],
        vec![Act::Say("Hel"), Act::Fail],
        vec![Act::Say("Hel"), Act::BreakOff],
        hello(),
    ];
    let model = Model::new(scripts);
    let mut client = Client::new(&model);
    for why in ["is broken", "is broken", "broke off"] {
        client.say(json!({"type": "response.create"})).await;
        let done = client.until("response.done").await;
        assert_eq!(done["response"]["status"], "failed");
        let message = done["response"]["status_details"]["error"]["message"].as_str().unwrap();
        assert!(message.contains(why), "{message}");
        assert_eq!(model.live.load(Ordering::SeqCst), 0);
    }
    client.say(json!({"type": "response.create"})).await;
    assert_eq!(client.until("response.done").await["response"]["status"], "completed");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_event_is_refused_and_the_session_lives_on() {
    let limits = SessionLimits { message_bytes: 100_000, ..SessionLimits::default() };
    let model = Model::new(vec![hello()]);
    let mut client = Client::with(options(limits, None), &model);
    let bad = [
        (Inbound::Binary { bytes: 3 }, "binary_message"),
        (Inbound::NotUtf8, "invalid_utf8"),
        (Inbound::TooLong { limit: 10 }, "message_too_long"),
        (Inbound::Text(vec![b' '; 100_001].into()), "message_too_long"),
        (Inbound::Text(vec![b' '; 99_999].into()), "invalid_json"),
        (Inbound::Text(Bytes::new()), "invalid_json"),
        (Inbound::Text(b"\"\xff\"".as_slice().into()), "invalid_json"),
    ];
    for (inbound, code) in bad {
        client.incoming.send(inbound).await.unwrap();
        assert_eq!(client.until("error").await["error"]["code"], code);
    }
    client.say(json!({"type": "response.create"})).await;
    assert_eq!(client.until("response.done").await["response"]["status"], "completed");
}

#[tokio::test(start_paused = true)]
async fn long_messages_are_read_in_a_lane_and_in_order_while_an_answer_goes_on() {
    let compute = ScriptedCompute::new(|_, _| Scripted::Run { after: Duration::from_secs(1) });
    let lanes = Lanes::new(LanesConfig::default(), Arc::<ScriptedCompute>::clone(&compute));
    let model = Model::new(vec![hello()]);
    let mut client =
        Client::with(SessionOptions { lanes, ..options(SessionLimits::default(), None) }, &model);
    client.say(json!({"type": "response.create"})).await;
    client.say(message(&"a".repeat(100_000))).await;
    client.say(message("b")).await;
    let began = Instant::now();
    client.until("response.done").await;
    assert!(began.elapsed() < Duration::from_secs(1), "the answer did not wait for it");
    let first = client.until("conversation.item.added").await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(
        compute.executed(pool_core::compute::Lane::Prepare),
        1,
        "and the short one was parsed in place"
    );
    assert_eq!(first["item"]["content"][0]["text"].as_str().map(str::len), Some(100_000));
    let second = client.until("conversation.item.added").await;
    assert_eq!(second["previous_item_id"], first["item"]["id"], "in order");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_is_told_of() {
    let compute = ScriptedCompute::new(|_, _| Scripted::Hang);
    let lanes = Lanes::new(LanesConfig::default(), Arc::<ScriptedCompute>::clone(&compute));
    let model = Model::new(vec![hello()]);
    let mut client =
        Client::with(SessionOptions { lanes, ..options(SessionLimits::default(), None) }, &model);
    client.say(message(&"a".repeat(100_000))).await;
    client.until("session.created").await;
    while compute.held() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(compute.abandon(), 1);
    let error = client.until("error").await;
    assert_eq!(
        (&error["error"]["code"], &error["error"]["type"]),
        (&json!("unread"), &json!("server_error"))
    );
    client.say(json!({"type": "response.create"})).await;
    assert_eq!(client.until("response.done").await["response"]["status"], "completed");
}

#[tokio::test(start_paused = true)]
async fn a_client_in_haste_is_read_at_leisure_and_nothing_is_lost() {
    let limits = SessionLimits { events_a_second: 10, events_at_once: 20, ..SessionLimits::default() };
    let model = Model::new(vec![hello()]);
    let mut client = Client::with(options(limits, None), &model);
    client.until("session.created").await;
    let began = Instant::now();
    let incoming = client.incoming.clone();
    let sent = tokio::spawn(async move {
        for number in 0..120 {
            let event = message(&number.to_string());
            incoming.send(Inbound::Text(event.to_string().into())).await.unwrap();
        }
    });
    for number in 0..120 {
        let item = client.until("conversation.item.added").await;
        assert_eq!(item["item"]["content"][0]["text"], number.to_string());
    }
    sent.await.unwrap();
    let took = began.elapsed();
    assert!((Duration::from_secs(10)..Duration::from_millis(10_100)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn files_are_cited_and_how_far_they_are_read_is_told() {
    let (progress, _) = watch::channel(Progress::default());
    let files = Arc::new(Files { progress });
    let model = Model::new(vec![hello()]);
    let context = Some(Arc::<Files>::clone(&files) as Arc<dyn Citations>);
    let mut client = Client::with(options(SessionLimits::default(), context), &model);
    let told = client.until("context.updated").await;
    assert_eq!(told["progress"]["state"], "scanning", "as it is at the beginning");
    let current = Progress { files: 2, files_done: 2, state: ProgressState::Current, ..Progress::default() };
    files.progress.send_replace(current);
    let told = client.until("context.updated").await;
    assert_eq!((&told["progress"]["state"], &told["progress"]["files_done"]), (&json!("current"), &json!(2)));
    client.say(message("Where?")).await;
    client.say(json!({"type": "response.create"})).await;
    let done = client.until("response.done").await;
    assert_eq!(done["response"]["citations"][0]["path"], "a.md");
    assert_eq!(model.prompts.lock().unwrap()[0].turns[0].parts.len(), 2, "the passage and the question");
    client.say(json!({"type": "response.create"})).await;
    client.until("response.created").await;
    client.say(json!({"type": "response.cancel"})).await;
    assert_eq!(client.until("response.done").await["response"]["status"], "cancelled");
}
