//! Pictures from calls to answers: where they stand in a prompt, what is refused, what is kept.

use language_model::{Bytes, Chat, Complete, Error, LanguageModel, Load, Message, Tool};
use pool_core::{Cost, Error as PoolError, QueueLimits};
use serde_json::json;

use crate::sketch::{Sketch, Tiny};

type Pool = LanguageModel<Sketch>;

fn invalid(error: Error) -> String {
    assert!(matches!(error.pool(), Some(PoolError::Invalid { .. })), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains('\n') && !message.is_empty(), "{message:?}");
    message
}

/// What follows a text.
async fn after(pool: &Pool, text: &str) -> Vec<u32> {
    tokens(pool.complete(text)).await
}

async fn tokens(call: Complete<Sketch>) -> Vec<u32> {
    let answer = call.max_tokens(12).await.unwrap();
    answer.choices[0].tokens.iter().map(|written| written.token).collect()
}

async fn said(call: Chat<Sketch>) -> Vec<u32> {
    let answer = call.max_tokens(12).await.unwrap();
    answer.choices[0].tokens.iter().map(|written| written.token).collect()
}

fn counts(given: usize, places: usize) -> String {
    format!(
        "pictures given: {given}, places for one (<image>) in the prompt: {places}; there must be as many"
    )
}

/// A model does not load, and the message says so.
async fn too_small(tiny: &Tiny, load: Load<Sketch>, expected: &str) {
    let error = load.await.unwrap_err().to_string();
    assert!(error.starts_with(&tiny.folder.path().display().to_string()), "{error}");
    assert!(error.ends_with(expected) && !error.contains('\n'), "{error}");
}

/// A message of parts: pictures, and between them texts.
fn message(texts: &[&str]) -> Message {
    let text = |text: &&str| json!({"type": "text", "text": text});
    let mut parts: Vec<_> = texts.iter().map(text).collect();
    for at in (1..texts.len()).rev() {
        parts.insert(at, json!({"type": "image"}));
    }
    Message::user(parts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_of_letters_is_answered_as_the_letters_are() {
    let pool = Tiny::new().load().await.unwrap();
    assert_eq!((pool.info().architecture.as_str(), pool.info().picture_tokens), ("sketch", Some(40)));
    let expected = after(&pool, "abcdefghijk").await;
    assert_eq!(tokens(pool.complete("abc<image>hijk").pictures(["defg"])).await, expected);
    assert_eq!(tokens(pool.complete("<image>hijk").pictures(["abcdefg"])).await, expected);
    assert_eq!(tokens(pool.complete("abcd<image>").pictures(["efghijk"])).await, expected);
    // Two, next to each other and apart, and one twice.
    assert_eq!(tokens(pool.complete("a<image><image>k").pictures(["bcde", "fghij"])).await, expected);
    assert_eq!(tokens(pool.complete("a<image>f<image>k").pictures(["bcde", "ghij"])).await, expected);
    let twice = tokens(pool.complete("<image>x<image>").pictures(["abc", "abc"])).await;
    assert_eq!(twice, after(&pool, "abcxabc").await);
    // In a conversation, through its template.
    let expected = after(&pool, "user:abcdef;assistant:hm;user:ghijkl;assistant:").await;
    let messages = [message(&["ab", "ef"]), Message::assistant("hm"), message(&["", "", "l"])];
    assert_eq!(said(pool.chat(messages).pictures(["cd", "ghi", "jk"])).await, expected);
    let expected = after(&pool, "user:abcdWhat.is.it;assistant:").await;
    assert_eq!(said(pool.describe("abcd", "What.is.it")).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vocabulary_with_the_image_token_is_read_as_a_whole() {
    let tiny = Tiny::new();
    tiny.write("preprocessor_config.json", &json!({"image_token": "!"}));
    let pool = tiny.load().await.unwrap();
    let expected = after(&pool, "abcdefghijk").await;
    assert_eq!(tokens(pool.complete("abc!hijk").pictures(["defg"])).await, expected);
    // Its id is as good.
    let ids: Vec<u32> = vec![0, 66, 8, 9, 10];
    assert_eq!(tokens(pool.complete(ids).pictures(["bcdefgh"])).await, expected);
    let error = pool.complete("What!").await.unwrap_err();
    let refused = "pictures given: 0, places for one (!) in the prompt: 1; there must be as many";
    assert_eq!(invalid(error), refused);
    let error = pool.complete(vec![0, 66]).await.unwrap_err();
    assert_eq!(invalid(error), refused);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_knows_no_parts_gets_texts() {
    let tiny = Tiny::new();
    let template =
        "{% for message in messages %}{{ message.role + ':' + message.content }};{% endfor %}assistant:";
    tiny.write("tokenizer_config.json", &json!({"chat_template": template}));
    let pool = tiny.load().await.unwrap();
    let picture = Message::user(json!([{"type": "image"}]));
    let expected = after(&pool, "user:abcd;assistant:").await;
    assert_eq!(said(pool.chat([picture]).pictures(["abcd"])).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_template_wrote_begins_as_the_modality_says() {
    let bos = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": ":", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {":": {"id": ":", "ids": [64], "tokens": [":"]}},
    });
    for (special, template, expected) in [
        (false, "{{ messages[0].content }}", "abc"),
        (true, "{{ messages[0].content }}", ":abc"),
        (true, ":{{ messages[0].content }}", ":abc"),
        (false, ":{{ messages[0].content }}", ":abc"),
    ] {
        let tiny = Tiny::new();
        tiny.tokenizer(&bos);
        tiny.write("tokenizer_config.json", &json!({"chat_template": template, "bos_token": ":"}));
        tiny.write("preprocessor_config.json", &json!({"image_token": "<image>", "special": special}));
        let pool = tiny.load().await.unwrap();
        let answer = pool.chat([Message::user("abc")]).max_tokens(12).await.unwrap();
        assert_eq!(answer.usage.prompt, expected.len(), "{special} {template}");
        let alone: Vec<u32> = answer.choices[0].tokens.iter().map(|written| written.token).collect();
        assert_eq!(alone, tokens(pool.complete(expected).add_special(false)).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_that_cannot_be_read_are_told_in_one_line() {
    let tiny = Tiny::new();
    let pool = tiny.load().await.unwrap();
    let long = "a".repeat(200);
    for (call, expected) in [
        (
            pool.complete("one <image>").pictures(["a", "b"]),
            counts(2, 1),
        ),
        (
            pool.complete("<image><image><image>").pictures(["a"]),
            counts(1, 3),
        ),
        (
            pool.complete("<image>"),
            counts(0, 1),
        ),
        (
            pool.complete("<image>").pictures([long.as_str()]),
            "the prompt's pictures (1) have 200 tokens; the model takes 192 of prompt and answer together; send fewer, \
             or smaller ones"
                .to_owned(),
        ),
        (
            pool.complete(format!("<image>{}", "a".repeat(100))).pictures([&long[..100]]),
            "the prompt has 200 tokens; the model takes 192 of prompt and answer together, so at most 191 of the prompt"
                .to_owned(),
        ),
        (pool.complete("<image>").pictures(["a b"]), "picture 1: it has no size".to_owned()),
        (pool.complete("<image><image>").pictures(["ab", "a b"]), "picture 2: it has no size".to_owned()),
        (
            pool.complete("<image><image>c<image>").pictures(["a", "a", "torn?"]),
            "picture 3: the picture is damaged: it ends in its middle".to_owned(),
        ),
    ] {
        assert_eq!(invalid(call.clone().await.unwrap_err()), expected);
        let streamed = match call.stream().await {
            Err(error) => error,
            Ok(stream) => stream.finish().await.unwrap_err(),
        };
        assert_eq!(invalid(streamed), expected);
    }
    assert_eq!(tiny.begun(), 0, "none of them came to the tower");
    let error = pool.complete("<image>").pictures(["ab~"]).await.unwrap_err().to_string();
    assert_eq!(error, "model tiny failed: the picture cannot be computed: it shows what is no letter");
    assert_eq!(tokens(pool.complete("<image>c").pictures(["ab"])).await, after(&pool, "abc").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn text_that_spells_a_pictures_place_is_refused_in_conversations() {
    let pool = Tiny::new().load().await.unwrap();
    let part = "leave it out, or give a picture and a part {\"type\": \"image\"}";
    let spelled = |place: &str| format!("{place} spells <image>, which stands for a picture; {part}");
    let ask = |text: &str| pool.chat([Message::system("hm"), Message::user(text)]);
    assert_eq!(invalid(ask("Look: <image>").await.unwrap_err()), spelled("messages[1]"));
    // As many as there are pictures is no better: nobody may say where they stand but parts.
    assert_eq!(invalid(ask("Look: <image>").pictures(["ab"]).await.unwrap_err()), spelled("messages[1]"));
    let nested = pool.chat([message(&["a", "<image>"])]).pictures(["ab"]);
    assert_eq!(invalid(nested.await.unwrap_err()), spelled("messages[0]"));
    let variable = ask("hm").template_variable("documents", json!([{"text": "<image>"}]));
    assert_eq!(invalid(variable.await.unwrap_err()), spelled("the template variable documents"));
    let parameters = json!({"type": "object", "properties": {"<image>": {"type": "string"}}});
    let tool = Tool { name: "draw".to_owned(), description: None, parameters };
    assert_eq!(invalid(ask("hm").tools([tool]).await.unwrap_err()), spelled("tools[0]"));
    let error = pool.chat([message(&["a", "b"])]).await.unwrap_err();
    assert_eq!(invalid(error), counts(0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_without_pictures_refuses_them_by_name() {
    let tiny = Tiny::new();
    std::fs::remove_file(tiny.folder.path().join("preprocessor_config.json")).unwrap();
    let pool = tiny.load().await.unwrap();
    assert_eq!((pool.info().architecture.as_str(), pool.info().picture_tokens), ("llama", None));
    let error = pool.complete("<image>").pictures(["a"]).await.unwrap_err();
    assert_eq!(invalid(error), "model tiny reads no pictures; leave them out");
    // What reads pictures may come from elsewhere.
    let vision = Tiny::new();
    let pool = tiny.load().vision(vision.folder.path()).await.unwrap();
    assert_eq!(tokens(pool.complete("<image>c").pictures(["ab"])).await, after(&pool, "abc").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cache_that_no_picture_fits_into_is_refused() {
    let tiny = Tiny::new();
    // 288 bytes a token, 16 tokens a block.
    let load = |bytes: u64| tiny.load().deterministic(false).kv_cache(Bytes(bytes));
    let least = "kv_cache is 13823 bytes, which has room for 32 tokens; a picture of 40 tokens and an answer take \
                 13824 bytes; give it more";
    too_small(&tiny, load(13_823), least).await;
    let pool = load(13_824).await.unwrap();
    let largest = "a".repeat(40);
    let expected = pool.complete(largest.as_str()).max_tokens(1).await.unwrap().choices[0].tokens[0].token;
    let answer = pool.complete("<image>").pictures([largest.as_str()]).max_tokens(1).await.unwrap();
    assert_eq!(answer.choices[0].tokens[0].token, expected);
    // One that the context has no room for is refused when it comes.
    load(4608).context(16).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_are_kept_and_counted() {
    let tiny = Tiny::new();
    // Rows of 36 numbers for one picture of 40 letters, and no more.
    let loose = || tiny.load().deterministic(false);
    let least = "a picture of 40 tokens takes 5760 bytes; give it more";
    too_small(&tiny, loose().picture_cache(Bytes(5759)), least).await;
    // A chunk of 64 computed whole may have the end of one, the beginning of another and whatever is between.
    let least = "deterministic computes 64 tokens at once, and the pictures of 40 that these may be part of take 20448 bytes; \
                 give it more";
    too_small(&tiny, tiny.load().picture_cache(Bytes(20_447)), least).await;
    tiny.load().picture_cache(Bytes(20_448)).await.unwrap();
    let pool = loose().picture_cache(Bytes(5760)).await.unwrap();
    let (one, two) = ("a".repeat(30), "b".repeat(30));
    for (at, picture) in [&one, &one, &two, &two, &one].into_iter().enumerate() {
        tokens(pool.complete(format!("{at}<image>")).pictures([picture.as_str()])).await;
    }
    assert_eq!(tiny.begun(), 3, "one was dropped for the other, and computed again");
    // The same question: it is in the cache of keys and values, all but its end.
    let before = tiny.begun();
    for _ in 0..2 {
        let question = format!("{}<image>{}", "c".repeat(30), "d".repeat(80));
        let answer = pool.complete(question).pictures([two.as_str()]).max_tokens(1).await.unwrap();
        assert_eq!(answer.usage.prompt, 140);
    }
    assert_eq!(tiny.begun(), before + 1);
    let resident = |pool: &Pool| pool.group().stats().resident.get();
    let large = loose().picture_cache(Bytes(5760 + 144_000)).await.unwrap();
    assert_eq!(resident(&large) - resident(&pool), 144_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_decoding_takes_counts_until_it_is_done_and_once_for_all_pictures() {
    let tiny = Tiny::new();
    // A letter takes a thousand bytes while it is decoded.
    let limit = |bytes: u64| QueueLimits { cost: Cost::new(u64::MAX, bytes), ..QueueLimits::default() };
    let pool = tiny.load().limits(limit(25_000)).await.unwrap();
    let ask = |pictures: &[&str]| {
        pool.complete("<image>".repeat(pictures.len())).pictures(pictures.iter().copied()).max_tokens(1)
    };
    let (small, large) = ("a".repeat(20), "b".repeat(30));
    assert_eq!(ask(&[&small, &small[1..]]).await.unwrap().usage.prompt, 39, "one after the other");
    let error = ask(&["a", &large]).await.unwrap_err();
    assert!(matches!(error.pool(), Some(PoolError::TooLarge { .. })), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_picture_that_crashes_the_tower_is_known_when_it_comes_again() {
    let tiny = Tiny::new();
    let pool = tiny.load().await.unwrap();
    let ask = |text: &str, picture: &str| pool.complete(text).pictures([picture]).max_tokens(2);
    let error = ask("<image>", "a#").await.unwrap_err();
    assert!(matches!(error.pool(), Some(PoolError::Crashed { .. })), "{error:?}");
    let again = ask("<image>", "a#").temperature(1.0).seed(7).await;
    assert!(matches!(again.unwrap_err().pool(), Some(PoolError::Crashed { .. })), "asked otherwise");
    let again = ask("<image>", "a#").await.unwrap_err();
    assert!(matches!(again.pool(), Some(PoolError::Convicted { .. })), "{again:?}");
    assert_eq!(ask("<image>", "ab").await.unwrap().usage.prompt, 2);
}
