//! The chat templates of real models, which `cargo xtask models` fetches, against transformers: byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use generation::{Chat, ChatTemplate, TemplateError};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// A model of which there are only templates, each in a file.
const COLLECTION: &str = "trl-chat-templates";

/// What a GGUF file calls its template.
const GGUF_KEY: &[u8] = b"tokenizer.chat_template";

/// More than the metadata of a GGUF file, whose weights are not looked at.
const METADATA: u64 = 32 << 20;

#[test]
fn real_templates_render_as_transformers_has_it() {
    let fixture = fixture();
    let mut wrong = Vec::new();
    let mut sources: BTreeMap<&str, Option<BTreeMap<String, String>>> = BTreeMap::new();
    for entry in list(&fixture, "templates") {
        let (model, name) = (text(entry, "model"), text(entry, "template"));
        let there = sources.entry(model).or_insert_with(|| fetched(model).map(|folder| templates(&folder)));
        let Some(there) = there else { continue };
        let source = there.get(name).unwrap_or_else(|| panic!("{model} has no template {name:?}"));
        let template = ChatTemplate::new(source).unwrap_or_else(|error| panic!("{model} {name}: {error}"));
        let renderings = renderings(&fixture, entry);
        for (conversation, given) in fixture["conversations"].as_object().unwrap() {
            let chat = chat(given.as_str().unwrap(), entry, text(&fixture, "now"));
            let expected = expected(renderings, conversation);
            if let Some(difference) = difference(template.render(&chat), expected) {
                wrong.push(format!("{model} {name}, {conversation}: {difference}"));
            }
        }
    }
    let all = list(&fixture, "templates").len();
    assert!(all >= 84, "the fixture has only {all} templates");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// A template nobody compares with would look like one that is right.
#[test]
fn every_template_there_is_has_been_rendered() {
    let fixture = fixture();
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for entry in list(&fixture, "templates") {
        known.entry(text(entry, "model")).or_default().insert(text(entry, "template"));
    }
    for model in list(&fixture, "without_template") {
        assert!(
            known.insert(model.as_str().unwrap(), BTreeSet::new()).is_none(),
            "{model} is told to have none"
        );
    }
    for (model, known) in &known {
        let Some(folder) = fetched(model) else { continue };
        let there = templates(&folder);
        assert_eq!(&there.keys().map(String::as_str).collect::<BTreeSet<_>>(), known, "{model}");
    }
}

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/real_chat_templates.json")).unwrap()
}

fn text<'f>(value: &'f Value, key: &str) -> &'f str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

fn list<'f>(value: &'f Value, key: &str) -> &'f [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("no list {key}"))
}

/// A model's folder, if it has been fetched. Where `CANDLEPOOL_REQUIRE_MODELS` is 1 it must have been.
fn fetched(model: &str) -> Option<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"));
    let folder = target.join("models").join(model);
    if folder.is_dir() {
        return Some(folder);
    }
    let required = std::env::var("CANDLEPOOL_REQUIRE_MODELS").is_ok_and(|value| value == "1");
    assert!(!required, "{} is not there; run cargo xtask models", folder.display());
    // Not eprintln: the test harness would keep it to itself.
    let _ = writeln!(std::io::stderr(), "skipped: {model} is not there; run cargo xtask models");
    None
}

/// The templates in a folder, by name. One without a name has an empty one.
fn templates(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if folder.ends_with(COLLECTION) {
        for path in files(folder, "jinja") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            found.insert(name, std::fs::read_to_string(&path).unwrap());
        }
        return found;
    }
    if let Some(path) = files(folder, "gguf").next() {
        found.extend(of_gguf(&path).map(|source| (String::new(), source)));
        return found;
    }
    let config = std::fs::read(folder.join("tokenizer_config.json")).unwrap();
    let config: Value = serde_json::from_slice(&config).unwrap();
    match &config["chat_template"] {
        Value::Null => {}
        Value::String(source) => {
            found.insert(String::new(), source.clone());
        }
        named => {
            for one in named.as_array().unwrap() {
                found.insert(text(one, "name").to_owned(), text(one, "template").to_owned());
            }
        }
    }
    found
}

fn files(folder: &Path, extension: &'static str) -> impl Iterator<Item = PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(move |path| path.extension().is_some_and(|found| found == extension))
}

/// The template in a GGUF file's metadata: behind its key the type of a text, the length and the text.
fn of_gguf(path: &Path) -> Option<String> {
    let mut metadata = Vec::new();
    File::open(path).unwrap().take(METADATA).read_to_end(&mut metadata).unwrap();
    let at = metadata.windows(GGUF_KEY.len()).position(|window| window == GGUF_KEY)?;
    let (kind, rest) = metadata[at + GGUF_KEY.len()..].split_at(4);
    let (length, rest) = rest.split_at(8);
    assert_eq!(kind, 8_u32.to_le_bytes(), "the template is no text");
    let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
    Some(String::from_utf8(rest[..length].to_vec()).unwrap())
}

/// What each conversation is to become.
fn renderings<'f>(fixture: &'f Value, entry: &'f Value) -> &'f Map<String, Value> {
    let like = entry.get("renders_as").map(|name| {
        let same = |other: &&Value| other["model"] == entry["model"] && other["template"] == *name;
        list(fixture, "templates").iter().find(same).unwrap()
    });
    like.unwrap_or(entry)["renderings"].as_object().unwrap()
}

fn expected<'f>(renderings: &'f Map<String, Value>, conversation: &str) -> &'f Value {
    let told = &renderings[conversation];
    told.get("as").map_or(told, |other| &renderings[other.as_str().unwrap()])
}

fn chat(given: &str, entry: &Value, now: &str) -> Chat {
    let given: Value = serde_json::from_str(given).unwrap();
    let flag = |name: &str| given.get(name).and_then(Value::as_bool).unwrap_or(false);
    let mut chat = Chat::new(list(&given, "messages").to_vec());
    chat.tools = given.get("tools").cloned();
    chat.add_generation_prompt = flag("add_generation_prompt");
    chat.continue_final_message = flag("continue_final_message");
    chat.now = Some(now.parse().unwrap());
    chat.variables.extend(entry["special_tokens"].as_object().unwrap().clone());
    chat.variables.extend(given.get("documents").map(|pages| ("documents".to_owned(), pages.clone())));
    chat.variables.extend(given.get("variables").and_then(Value::as_object).cloned().unwrap_or_default());
    chat
}

/// How a rendering is not what it should be.
fn difference(rendered: Result<String, TemplateError>, expected: &Value) -> Option<String> {
    match (rendered, expected, expected.get("error").and_then(Value::as_str)) {
        (Err(error), _, Some(expected)) => {
            let message = error.to_string();
            if message.contains('\n') {
                return Some(format!("the error has several lines: {message}"));
            }
            let raised = expected.strip_prefix("TemplateError: ")?;
            let same = matches!(&error, TemplateError::Refused(told) if told == raised);
            (!same).then(|| format!("{message}, expected the refusal {raised:?}"))
        }
        (Ok(text), _, Some(expected)) => Some(format!("got {text:?}, expected {expected}")),
        (Err(error), ..) => Some(format!("{error}")),
        (Ok(text), Value::String(expected), None) => {
            (text != *expected).then(|| format!("\n  got      {text:?}\n  expected {expected:?}"))
        }
        (Ok(text), hashes, None) => {
            if digits(&text, 64) == hashes["sha256"].as_str().unwrap() {
                return None;
            }
            let lines = hashes["lines"].as_str().unwrap().split(' ');
            let got: Vec<&str> = text.split('\n').collect();
            let line = lines.clone().zip(&got).position(|(hash, line)| digits(line, 4) != hash);
            let line = line.unwrap_or_else(|| got.len().min(lines.count()));
            let (got, length) = (got.get(line).copied().unwrap_or("nothing"), text.len());
            Some(format!(
                "line {} of the text differs, and it has {length} bytes for {}\n  got {got:?}\n  of  {text:?}",
                line + 1,
                hashes["bytes"]
            ))
        }
    }
}

/// The first digits of a text's SHA-256.
fn digits(text: &str, count: usize) -> String {
    let mut digits: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    digits.truncate(count);
    digits
}
