//! Tiny checkpoints of every architecture: what transformers writes, through all layers down to the public face.

use generation::FinishReason;

use crate::models::{LETTERS, Tiny};

async fn writes_as_the_reference(name: &str, spelling: &str) {
    let tiny = Tiny::new(name);
    tiny.write("config.json", &tiny.fixture[spelling]);
    let (prompt, greedy) = tiny.greedy();
    let pool = tiny.load().await.unwrap();
    let generation = pool.complete(prompt.clone()).max_tokens(greedy.len()).await.unwrap();
    let choice = &generation.choices[0];
    let tokens: Vec<u32> = choice.tokens.iter().map(|written| written.token).collect();
    assert_eq!(tokens, greedy, "{name}, {spelling}");
    let letters: Vec<char> = LETTERS.chars().collect();
    let text: String = greedy.iter().map(|token| letters[*token as usize]).collect();
    assert_eq!((generation.text(), choice.finish), (text.as_str(), FinishReason::Length));
    assert_eq!((generation.usage.prompt, generation.usage.completion), (prompt.len(), greedy.len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_architecture_writes_what_transformers_writes() {
    let names = [
        "gemma2",
        "gemma3",
        "llama-bias",
        "llama2",
        "llama3",
        "mistral",
        "phi3",
        "qwen2-window",
        "qwen3",
        "smollm2",
    ];
    for name in names {
        writes_as_the_reference(name, "config").await;
        writes_as_the_reference(name, "config_4").await;
    }
}
