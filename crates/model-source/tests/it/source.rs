//! How sources are spelt.

use model_source::Source;
use proptest::prelude::*;

fn error(given: &str) -> String {
    given.parse::<Source>().unwrap_err().to_string()
}

#[test]
fn every_form_is_told_apart_and_printed_as_it_was_given() {
    for given in [
        "hf:sentence-transformers/all-MiniLM-L6-v2",
        "hf:gpt2",
        "hf:owner/name@v1.0",
        "hf:owner/name@refs/pr/3:sub/model.Q4_0.gguf",
        "hf:owner/name:model.gguf",
        "builtin",
        "builtin:static-minilm",
        "target/models/all-MiniLM-L6-v2",
        "./a:b",
        "model.safetensors",
        "/models/x.Q4_K_M.gguf",
    ] {
        assert_eq!(given.parse::<Source>().unwrap().to_string(), given);
    }
    let Source::Hub(model) = "hf:o/n@v1:x.gguf".parse().unwrap() else { panic!("not a hub model") };
    assert_eq!((model.repo.as_str(), model.revision(), model.file.as_deref()), ("o/n", "v1", Some("x.gguf")));
    let Source::Hub(model) = "hf:o/n".parse().unwrap() else { panic!("not a hub model") };
    assert_eq!(model.revision(), "main");
    assert!(matches!("X.GGUF".parse(), Ok(Source::File(_))));
    assert!(matches!("C:\\models\\x".parse(), Ok(Source::Folder(_))));
}

#[test]
fn what_is_no_source_is_refused_in_one_line_that_says_what_to_write() {
    assert_eq!(
        error(""),
        "\"\" is no model source: a source is hf:owner/name[@revision][:file], a folder, a .safetensors or .gguf \
         file, or builtin[:name]"
    );
    for (given, advice) in [
        ("https://huggingface.co/owner/name/tree/main", "write hf:owner/name"),
        ("https://example.com/model.gguf", "not fetched from other addresses"),
        ("ollama:llama3", "unknown scheme ollama:"),
        ("hf:", "the repository's name is missing"),
        ("hf:a/b/c", "a file in it follows a colon"),
        ("hf:owner/na me", "of letters, digits"),
        ("hf:../..", "neither begins nor ends with"),
        ("hf:owner/name@", "the revision after @"),
        ("hf:owner/name@../../x", "the revision after @"),
        ("hf:owner/name:../../etc/passwd", "a path inside the repository"),
        ("hf:owner/name:config.json", "a .safetensors or .gguf file"),
        ("pytorch_model.bin", "convert the weights to safetensors"),
        ("model.onnx", "not supported"),
        ("builtin:", "the name after the colon is missing"),
        ("a\nb", "control character"),
    ] {
        let error = error(given);
        assert!(error.contains(advice) && error.lines().count() == 1, "{given:?}: {error}");
    }
}

#[test]
fn configuration_files_spell_it_as_a_string() {
    let source: Source = serde_json::from_str(r#""hf:owner/name""#).unwrap();
    assert_eq!(serde_json::to_string(&source).unwrap(), r#""hf:owner/name""#);
    let error = serde_json::from_str::<Source>(r#""hf:""#).unwrap_err().to_string();
    assert!(error.contains("the repository's name is missing"), "{error}");
}

proptest! {
    #[test]
    fn no_text_panics_and_whatever_parses_prints_itself(
        given in "(hf:|builtin:|https://)?[a-zA-Z0-9:@/._\\-\u{e9} \u{0}]{0,40}|\\PC*"
    ) {
        match given.parse::<Source>() {
            Ok(source) => {
                prop_assert_eq!(source.to_string(), given);
            }
            Err(error) => prop_assert_eq!(error.to_string().lines().count(), 1),
        }
    }
}
