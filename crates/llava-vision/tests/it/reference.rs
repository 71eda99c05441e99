//! Conversations about pictures: what transformers writes, through all layers down to the public face.

use futures::StreamExt as _;
use llava_vision::{Chat, LlavaVision, Message};

use crate::tiny::{CASES, Conversation, SPELLINGS, Tiny, about, picture, tokens};

fn ask(pool: &LlavaVision, conversation: &Conversation) -> Chat {
    pool.chat(conversation.messages())
        .pictures(conversation.pictures())
        .max_tokens(conversation.ids("greedy").len())
}

async fn answers_as_the_reference(pool: &LlavaVision, tiny: &Tiny, what: &str) {
    for conversation in tiny.conversations() {
        let answer = ask(pool, &conversation).await.unwrap();
        assert_eq!(tokens(&answer), conversation.ids("greedy"), "{what} {:?}", conversation.names());
        assert_eq!(answer.usage.prompt, conversation.ids("tokens").len(), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_model_answers_as_transformers_does_in_every_spelling() {
    for name in CASES {
        for spelling in SPELLINGS {
            let tiny = Tiny::spelled(name, spelling);
            let pool = tiny.load().await.unwrap();
            answers_as_the_reference(&pool, &tiny, &format!("{name}, {spelling:?}")).await;
            assert_eq!(
                pool.info().architecture,
                if name.starts_with("next") { "llava_next" } else { "llava" }
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completion_with_pictures_is_the_same() {
    for name in ["llava-llama", "next-qwen2"] {
        let tiny = Tiny::new(name);
        let pool = tiny.load().deterministic(true).await.unwrap();
        for conversation in tiny.conversations() {
            let call = pool.complete(conversation.text()).pictures(conversation.pictures());
            let answer = call.max_tokens(conversation.ids("greedy").len()).await.unwrap();
            assert_eq!(tokens(&answer), conversation.ids("greedy"), "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_language_model_and_what_reads_pictures_may_each_be_a_gguf_file() {
    // Both in one folder, one of them named, and each from elsewhere.
    let tiny = Tiny::gguf("llava-llama");
    let whole = Tiny::new("llava-llama");
    let (language, mmproj) =
        (tiny.folder.path().join("model.gguf"), tiny.folder.path().join("mmproj-model-f16.gguf"));
    let alone = tempfile::tempdir().unwrap();
    std::fs::copy(&language, alone.path().join("model.gguf")).unwrap();
    for (what, load) in [
        ("one folder", LlavaVision::load(tiny.folder.path())),
        ("one file of the folder", LlavaVision::load(&*language)),
        ("an mmproj from elsewhere", LlavaVision::load(alone.path()).vision(&*mmproj)),
        ("a folder with both, elsewhere", LlavaVision::load(alone.path()).vision(tiny.folder.path())),
        ("a checkpoint's tower", LlavaVision::load(alone.path()).vision(whole.folder.path())),
        ("a checkpoint's language model", LlavaVision::load(whole.folder.path()).vision(&*mmproj)),
    ] {
        let pool = load.name("tiny").await.unwrap_or_else(|error| panic!("{what}: {error}"));
        // An mmproj file without a processor's file beside it pads pictures to a square.
        let cropped = what.starts_with("a checkpoint's");
        for conversation in tiny.conversations() {
            if cropped
                || !conversation.names().iter().any(|name| ["landscape", "portrait"].contains(&&**name))
            {
                let answer = ask(&pool, &conversation).await.unwrap();
                assert_eq!(tokens(&answer), conversation.ids("greedy"), "{what} {:?}", conversation.names());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_language_model_by_itself_sees_with_an_mmproj_file() {
    let tiny = Tiny::new("llava-llama");
    tiny.edit("config.json", |config| *config = config["text_config"].take());
    tiny.keep_tensors(|name| name.strip_prefix("language_model.").map(str::to_owned));
    std::fs::remove_file(tiny.folder.path().join("processor_config.json")).unwrap();
    let message = tiny.load().await.unwrap_err().to_string();
    assert!(message.contains("model_type \"llama\" is not supported; llava and llava_next"), "{message}");
    let mmproj = crate::tiny::fixtures().join("llava-llama/gguf/mmproj-model-f16.gguf");
    let pool = tiny.load().vision(&*mmproj).await.unwrap();
    let conversation = &tiny.conversations()[0];
    assert_eq!(tokens(&ask(&pool, conversation).await.unwrap()), conversation.ids("greedy"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vocabulary_may_lack_the_image_token_and_a_template_parts_of_messages() {
    let tiny = Tiny::gguf("llava-llama");
    let path = tiny.folder.path().join("model.gguf");
    let mut bytes = std::fs::read(&path).unwrap();
    let token = bytes.windows(7).position(|bytes| bytes == b"<image>").unwrap();
    bytes[token..token + 7].copy_from_slice(b"<other>");
    std::fs::write(path, bytes).unwrap();
    let template = "{% for message in messages %}USER: {{ message.content }} {% endfor %}ASSISTANT:";
    for load in [tiny.load(), tiny.load().chat_template(template)] {
        let pool = load.await.unwrap();
        let conversation = &tiny.conversations()[0];
        let answer = ask(&pool, conversation).await.unwrap();
        assert_eq!(tokens(&answer), conversation.ids("greedy"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_template_that_knows_parts_only_loses_no_text() {
    // As those of published LLaVA models are: pictures first, and of a text that is no part not a letter.
    let template = "{% for message in messages %}{{ message['role'].upper() }}: \
        {%- for part in message['content'] | selectattr('type', 'equalto', 'image') %}{{ ' <image>\n' }}{% endfor %}\
        {%- for part in message['content'] | selectattr('type', 'equalto', 'text') %}{{ ' ' + part['text'] }}{% endfor %}\
        {{ ' ' }}{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}";
    let tiny = Tiny::new("llava-llama");
    let pool = tiny.load().chat_template(template).await.unwrap();
    let parts = |text: &str| serde_json::json!([{"type": "text", "text": text}]);
    let ask = async |content: serde_json::Value, pictures: usize| {
        let asked = [Message::system(content), about(pictures, "What is it?")];
        let call = pool.chat(asked).pictures(vec![picture("square"); pictures]).max_tokens(8);
        let answer = call.await.unwrap();
        (answer.usage.prompt, tokens(&answer))
    };
    for pictures in [0, 1] {
        let spelled = ask(parts("Be brief about it."), pictures).await;
        assert_eq!(ask("Be brief about it.".into(), pictures).await, spelled);
        assert_ne!(ask("Be long.".into(), pictures).await, spelled);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_of_its_own_is_used_in_tiles_whatever_the_language_model_says_of_itself() {
    let tiny = Tiny::new("next-llama");
    tiny.edit("config.json", |config| config["text_config"]["tie_word_embeddings"] = true.into());
    answers_as_the_reference(&tiny.load().await.unwrap(), &tiny, "a text_config that ties").await;
    tiny.keep_tensors(|name| (!name.contains("lm_head")).then(|| name.to_owned()));
    let error = tiny.load().await.unwrap_err().to_string();
    assert!(error.contains("lm_head.weight"), "{error}");
    // The upper level has the last word.
    tiny.edit("config.json", |config| config["tie_word_embeddings"] = true.into());
    tiny.load().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_mmproj_file_knows_tiles_and_newlines() {
    let tiny = Tiny::new("next-llama");
    let mmproj = crate::tiny::fixtures().join("next-llama/gguf/mmproj-model-f16.gguf");
    let pool = tiny.load().vision(&*mmproj).await.unwrap();
    assert_eq!(pool.info().architecture, "llava_next");
    answers_as_the_reference(&pool, &tiny, "next-llama with mmproj").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_is_an_answer_to_a_question_and_streams() {
    let tiny = Tiny::new("llava-llama");
    let pool = tiny.load().await.unwrap();
    let conversation = &tiny.conversations()[0];
    let question = conversation.text().trim_start_matches("USER: <image>\n").trim_end_matches(" ASSISTANT:");
    let describe = || pool.describe(picture(&conversation.names()[0]), question).max_tokens(32);
    let answer = describe().await.unwrap();
    assert_eq!(tokens(&answer), conversation.ids("greedy"));
    let (mut text, mut stream) = (String::new(), describe().stream().await.unwrap());
    while let Some(delta) = stream.next().await {
        text.push_str(&delta.unwrap().text);
    }
    assert_eq!(stream.finish().await.unwrap().text(), text);
    assert_eq!(answer.text(), text);
}
