//! Small language models of random weights, and a trained one.

use serde_json::json;

pub(crate) use self::models::{LETTERS, Tiny, trained};

#[path = "../../../text-to-text/tests/it/models.rs"]
#[allow(dead_code, reason = "its own crate's tests ask more of it")]
mod models;

/// One that never ends an answer for as long as a test takes. Its chat template refuses a conversation whose last message
/// is `look`, and tells of whom its messages are.
pub(crate) fn endless() -> Tiny {
    let tiny = Tiny::new("smollm2");
    let mut config = tiny.fixture["config"].clone();
    config["max_position_embeddings"] = json!(500_000);
    tiny.write("config.json", &config);
    let look = "{% if messages[-1].content == 'look' %}\
        {{ raise_exception('roles ' ~ (messages | map(attribute='role') | join(' '))) }}{% endif %}";
    tiny.write("tokenizer_config.json", &json!({"chat_template": format!("{look}{}", models::TEMPLATE)}));
    tiny
}

/// One without a chat template.
pub(crate) fn bare() -> Tiny {
    let tiny = Tiny::new("smollm2");
    tiny.write("tokenizer_config.json", &json!({}));
    tiny
}

pub(crate) fn path(tiny: &Tiny) -> &str {
    tiny.folder.path().to_str().unwrap()
}
