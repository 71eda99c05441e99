//! What is wanted of a model, and which of a repository's or folder's files that means. Pure: names in, names out.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::SourceError;
use crate::source::is_relative_path;

/// What a pool needs of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wanted {
    /// The modality as the configuration spells it (`text-embedding`); decides what a bare `builtin` means.
    pub modality: String,
    /// Whether the weights are wanted, or the configuration and tokenizer alone.
    pub weights: bool,
}

impl Wanted {
    /// A whole model: configuration, tokenizer and weights.
    pub fn model(modality: impl Into<String>) -> Self {
        Self { modality: modality.into(), weights: true }
    }

    /// The configuration and tokenizer alone.
    pub fn without_weights(modality: impl Into<String>) -> Self {
        Self { modality: modality.into(), weights: false }
    }
}

/// Small files at a model's top that mean something to a pool. Everything else there (read-mes, training leftovers,
/// exports for other runtimes) is left alone.
const TOP: &[&str] = &[
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "config.json",
    "config_sentence_transformers.json",
    "generation_config.json",
    "merges.txt",
    "model_index.json",
    "modules.json",
    "preprocessor_config.json",
    "processor_config.json",
    "sentence_bert_config.json",
    "sentence_distilbert_config.json",
    "sentence_roberta_config.json",
    "sentence_xlm-roberta_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
];

/// Names of weights, best first, without `.safetensors`.
const STEMS: &[&str] = &["model", "diffusion_pytorch_model"];

/// Modalities whose models may have their weights as GGUF; no other is offered any.
const GGUF_MODALITIES: &[&str] = &["text-to-text", "llava-vision"];

/// Modalities that read pictures beside text, whose GGUF files come in pairs.
const SEEING: &[&str] = &["llava-vision"];

/// Modalities whose models are pipelines of diffusers: folders of components, or all of it in one file.
const DRAWING: &[&str] = &["text-to-image"];

/// The components of a pipeline whose weights are read, and how their files are called, best first, without `.safetensors`:
/// of some there are only half-precision ones. What else a pipeline may have (`safety_checker`, `image_encoder`) stays away.
const COMPONENTS: &[(&str, [&str; 3])] = &[
    ("text_encoder", ["model", "model.fp16", "model.bf16"]),
    ("text_encoder_2", ["model", "model.fp16", "model.bf16"]),
    ("unet", ["diffusion_pytorch_model", "diffusion_pytorch_model.fp16", "diffusion_pytorch_model.bf16"]),
    ("vae", ["diffusion_pytorch_model", "diffusion_pytorch_model.fp16", "diffusion_pytorch_model.bf16"]),
];

/// The files that say which subfolders belong to a model.
pub(crate) const MANIFESTS: &[&str] = &["modules.json", "model_index.json"];

/// The subfolders named by `modules.json` (sentence-transformers) or `model_index.json` (diffusers).
pub(crate) fn subfolders(manifest: &str, content: &[u8], file: &str) -> Result<Vec<String>, SourceError> {
    #[derive(Deserialize)]
    struct Module {
        path: String,
    }
    let folders: Vec<String> = if manifest == "modules.json" {
        crate::json::parse::<Vec<Module>>(file, content)?.into_iter().map(|module| module.path).collect()
    } else {
        // Components are `"name": ["library", "class"]`; what begins with an underscore is about the pipeline, and a
        // component switched off is `[null, null]`.
        crate::json::parse::<serde_json::Map<String, serde_json::Value>>(file, content)?
            .into_iter()
            .filter(|(key, value)| {
                !key.starts_with('_')
                    && value.as_array().is_some_and(|pair| pair.iter().all(|v| v.is_string()))
            })
            .map(|(key, _)| key)
            .collect()
    };
    let folders: Vec<String> =
        folders.into_iter().filter(|path| !matches!(path.as_str(), "" | ".")).collect();
    match folders.iter().find(|path| !is_relative_path(path)) {
        Some(path) => Err(SourceError::InvalidJson {
            file: file.to_owned(),
            reason: format!("the path {path:?} leads out of the model's folder"),
        }),
        None => Ok(folders),
    }
}

/// The small files among `names`: at the top by name, in the given subfolders by kind.
pub(crate) fn small_files<'a>(names: &'a [String], folders: &[String]) -> Vec<&'a str> {
    let wanted = |name: &str| match name.rsplit_once('/') {
        None => TOP.contains(&name),
        Some((folder, file)) => {
            folders.iter().any(|f| f == folder)
                && matches!(extension(file), "json" | "txt" | "model" | "jinja")
                && !file.ends_with(".index.json")
        }
    };
    names.iter().map(String::as_str).filter(|name| wanted(name)).collect()
}

/// The weights among `names`: of the model's top and of each of its subfolders, or the one file that was named.
///
/// `place` and `example` are for the errors: where this is, and how to name one file there.
pub(crate) fn weights<'a>(
    names: &'a [String],
    folders: &[String],
    file: Option<&str>,
    modality: &str,
    place: &str,
    example: impl Fn(&str) -> String,
) -> Result<Vec<&'a str>, SourceError> {
    let reads_gguf = GGUF_MODALITIES.contains(&modality);
    if let Some(file) = file {
        if extension(file) == "gguf" && !reads_gguf {
            return Err(SourceError::InvalidFile {
                file: example(file),
                reason: format!("is GGUF, which {modality} does not read; name the model as safetensors"),
            });
        }
        if is_pickle(file) {
            return Err(SourceError::InvalidFile {
                file: example(file),
                reason: "is pickle, which is never read; name a .safetensors file".to_owned(),
            });
        }
        let found = names.iter().find(|name| *name == file);
        return found.map(|name| with_projector(names, name, modality)).ok_or_else(|| {
            SourceError::MissingFile { place: place.to_owned(), file: file.to_owned(), hint: offer(names) }
        });
    }
    let pipeline = names.iter().any(|name| name == "model_index.json");
    if pipeline && DRAWING.contains(&modality) {
        return components(names, folders, place);
    }
    let mut chosen = BTreeSet::new();
    let mut unclear: Vec<&str> = Vec::new();
    for folder in std::iter::once("").chain(folders.iter().map(String::as_str)) {
        let here = in_folder(names, folder);
        let safetensors: Vec<&str> =
            here.iter().copied().filter(|name| extension(name) == "safetensors").collect();
        // A pipeline's own folder may hold the same weights once more, all in one file, for other programs.
        if safetensors.is_empty() || (folder.is_empty() && pipeline) {
            continue;
        }
        match STEMS.iter().find_map(|stem| stem_weights(names, &here, folder, stem)) {
            Some(found) => chosen.extend(found),
            None if safetensors.len() == 1 => chosen.extend(safetensors),
            None => unclear.extend(safetensors),
        }
    }
    if !chosen.is_empty() {
        return Ok(chosen.into_iter().collect());
    }
    let gguf: Vec<&str> = in_folder(names, "").into_iter().filter(|name| extension(name) == "gguf").collect();
    if unclear.is_empty() && reads_gguf {
        match gguf.as_slice() {
            [only] => return Ok(vec![only]),
            several => unclear.extend(several.iter().filter(|name| !is_projector(name))),
        }
        if let [only] = unclear.as_slice() {
            return Ok(with_projector(names, only, modality));
        }
    }
    if let Some(first) = unclear.first() {
        let mut listed = unclear.iter().take(8).copied().collect::<Vec<_>>().join(", ");
        if unclear.len() > 8 {
            listed.push_str(", ...");
        }
        return Err(SourceError::Ambiguous {
            place: place.to_owned(),
            names: listed,
            example: example(first),
        });
    }
    Err(match names.iter().find(|name| is_pickle(name)) {
        Some(pickle) => SourceError::PickleOnly { place: place.to_owned(), file: pickle.clone() },
        None => {
            let mut hint = " (model.safetensors, or its shards with model.safetensors.index.json)".to_owned();
            if let Some(first) = gguf.first() {
                hint.push_str(&format!("; it has {first}, but {modality} does not read GGUF"));
            }
            SourceError::MissingFile { place: place.to_owned(), file: "weights".to_owned(), hint }
        }
    })
}

/// Whether a GGUF file holds what reads pictures (llama.cpp's mmproj) and no language model: nothing but its name tells.
pub(crate) fn is_projector(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    extension(file) == "gguf" && file.to_ascii_lowercase().contains("mmproj")
}

/// The file of a language model, and the projector beside it, if it is GGUF and there is one: of several, nobody knows which.
fn with_projector<'a>(names: &'a [String], file: &'a str, modality: &str) -> Vec<&'a str> {
    let mut found = vec![file];
    if extension(file) == "gguf" && !is_projector(file) && SEEING.contains(&modality) {
        let folder = file.rsplit_once('/').map_or("", |(parent, _)| parent);
        let projectors: Vec<&str> =
            in_folder(names, folder).into_iter().filter(|name| is_projector(name)).collect();
        if let [only] = projectors.as_slice() {
            found.push(only);
        }
    }
    found
}

/// The weights of a pipeline's components. Without a UNet nothing is chosen: it is another kind of pipeline, which whoever
/// reads its `model_index.json` refuses, and better before all of it is downloaded.
fn components<'a>(names: &'a [String], folders: &[String], place: &str) -> Result<Vec<&'a str>, SourceError> {
    let mut chosen = BTreeSet::new();
    if !folders.iter().any(|folder| folder == "unet") {
        return Ok(Vec::new());
    }
    for (folder, stems) in COMPONENTS.iter().filter(|(name, _)| folders.iter().any(|folder| folder == name)) {
        let here = in_folder(names, folder);
        let Some(found) = stems.iter().find_map(|stem| stem_weights(names, &here, folder, stem)) else {
            let pickle = here.iter().find(|name| is_pickle(name));
            return Err(match pickle {
                Some(file) => SourceError::PickleOnly { place: place.to_owned(), file: (*file).to_owned() },
                None => SourceError::MissingFile {
                    place: place.to_owned(),
                    file: join(folder, &format!("{}.safetensors", stems[0])),
                    hint: ", the weights of a component that its model_index.json names".to_owned(),
                },
            });
        };
        chosen.extend(found);
    }
    Ok(chosen.into_iter().collect())
}

/// Whether a file is weights that can run code.
fn is_pickle(name: &str) -> bool {
    matches!(extension(name), "bin" | "pt" | "pth" | "ckpt" | "pkl")
        && !name.ends_with("training_args.bin")
        && !name.ends_with("openvino_model.bin")
}

/// `STEM.safetensors`, or its shards with their index, in one folder.
fn stem_weights<'a>(names: &'a [String], here: &[&'a str], folder: &str, stem: &str) -> Option<Vec<&'a str>> {
    let single = join(folder, &format!("{stem}.safetensors"));
    if let Some(name) = names.iter().find(|name| **name == single) {
        return Some(vec![name]);
    }
    let index = join(folder, &format!("{stem}.safetensors.index.json"));
    let index = names.iter().find(|name| **name == index)?;
    let shard = join(folder, &format!("{stem}-"));
    let mut found: Vec<&str> = vec![index];
    found.extend(here.iter().filter(|name| {
        // STEM-00001-of-00002.safetensors, not STEM-fp16-00001-of-00002.safetensors
        let middle = name.strip_prefix(&shard).and_then(|rest| rest.strip_suffix(".safetensors"));
        middle.is_some_and(|m| m.replace("-of-", "").bytes().all(|b| b.is_ascii_digit()))
    }));
    Some(found)
}

fn in_folder<'a>(names: &'a [String], folder: &str) -> Vec<&'a str> {
    let inside = |name: &&str| name.rsplit_once('/').map_or("", |(parent, _)| parent) == folder;
    names.iter().map(String::as_str).filter(inside).collect()
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

pub(crate) fn extension(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    file.rsplit_once('.').map_or("", |(_, extension)| extension)
}

fn offer(names: &[String]) -> String {
    let found: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|name| matches!(extension(name), "gguf" | "safetensors"))
        .take(8)
        .collect();
    if found.is_empty() { String::new() } else { format!("; it has {}", found.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn pick(list: &[&str], folders: &[&str], file: Option<&str>) -> Result<Vec<String>, String> {
        pick_for("text-to-text", list, folders, file)
    }

    fn pick_for(
        modality: &str,
        list: &[&str],
        folders: &[&str],
        file: Option<&str>,
    ) -> Result<Vec<String>, String> {
        weights(&names(list), &names(folders), file, modality, "PLACE", |name| format!("PLACE:{name}"))
            .map(|found| found.into_iter().map(str::to_owned).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn one_file_is_preferred_to_shards_pickles_and_exports() {
        let repo = [
            "config.json",
            "model-00001-of-00002.safetensors",
            "model.safetensors",
            "model.safetensors.index.json",
            "onnx/model.onnx",
            "pytorch_model.bin",
            "tf_model.h5",
        ];
        assert_eq!(pick(&repo, &[], None), Ok(names(&["model.safetensors"])));
    }

    #[test]
    fn shards_come_with_their_index_and_without_variants() {
        let repo = [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model-fp16-00001-of-00001.safetensors",
            "model.safetensors.index.json",
        ];
        let expected = names(&[repo[0], repo[1], repo[3]]);
        assert_eq!(pick(&repo, &[], None), Ok(expected));
    }

    #[test]
    fn a_pipeline_takes_its_components_not_the_single_checkpoint() {
        let repo = [
            "model_index.json",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
            "v1-5-pruned.safetensors",
            "safety_checker/model.safetensors",
        ];
        assert_eq!(pick(&repo, &["unet"], None), Ok(names(&["unet/diffusion_pytorch_model.safetensors"])));
    }

    #[test]
    fn of_a_pipeline_come_the_components_that_draw_half_precision_where_there_is_no_other() {
        let repo = [
            "model_index.json",
            "sd_xl_base_1.0.safetensors",
            "safety_checker/model.safetensors",
            "text_encoder/flax_model.msgpack",
            "text_encoder/model.fp16.safetensors",
            "text_encoder/model.safetensors",
            "text_encoder/openvino_model.bin",
            "text_encoder_2/model-00001-of-00002.safetensors",
            "text_encoder_2/model-00002-of-00002.safetensors",
            "text_encoder_2/model.safetensors.index.json",
            "unet/diffusion_pytorch_model.bin",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "unet/diffusion_pytorch_model.non_ema.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
        ];
        let folders = ["safety_checker", "scheduler", "text_encoder", "text_encoder_2", "unet", "vae"];
        let picked = pick_for("text-to-image", &repo, &folders, None);
        assert_eq!(picked, Ok(names(&[repo[5], repo[7], repo[8], repo[9], repo[11], repo[13]])));
        // One file that has it all is taken where it is named.
        assert_eq!(pick_for("text-to-image", &repo, &folders, Some(repo[1])), Ok(names(&[repo[1]])));
        let alone = ["sd_xl_base_1.0.safetensors", "sd_xl_base_1.0.ckpt"];
        assert_eq!(pick_for("text-to-image", &alone, &[], None), Ok(names(&[alone[0]])));
        let error = pick_for("text-to-image", &alone, &[], Some(alone[1])).unwrap_err();
        assert_eq!(
            error,
            "PLACE:sd_xl_base_1.0.ckpt is pickle, which is never read; name a .safetensors file"
        );
    }

    #[test]
    fn a_component_without_weights_is_named() {
        let folders = ["text_encoder", "unet", "vae"];
        let mut repo = vec![
            "model_index.json",
            "text_encoder/model.safetensors",
            "unet/diffusion_pytorch_model.bin",
            "vae/diffusion_pytorch_model.safetensors",
        ];
        let error = pick_for("text-to-image", &repo, &folders, None).unwrap_err();
        assert!(error.contains("as pickle only (unet/diffusion_pytorch_model.bin)"), "{error}");
        repo[2] = "unet/config.json";
        let error = pick_for("text-to-image", &repo, &folders, None).unwrap_err();
        assert_eq!(
            error,
            "PLACE has no unet/diffusion_pytorch_model.safetensors, the weights of a component that its \
             model_index.json names"
        );
        // Of another kind of pipeline nothing is brought.
        assert_eq!(pick_for("text-to-image", &repo, &["transformer", "vae"], None), Ok(Vec::new()));
    }

    #[test]
    fn what_reads_pictures_comes_with_its_language_model_and_is_none_itself() {
        let repo = ["a.Q4_0.gguf", "mmproj-a-f16.gguf", "other/mmproj-b.gguf"];
        let both = Ok(names(&[repo[0], repo[1]]));
        assert_eq!(pick_for("llava-vision", &repo, &[], None), both);
        assert_eq!(pick_for("llava-vision", &repo, &[], Some(repo[0])), both);
        assert_eq!(pick_for("llava-vision", &repo, &[], Some(repo[1])), Ok(names(&[repo[1]])));
        // A modality that reads text only wants the language model alone.
        assert_eq!(pick(&repo, &[], None), Ok(names(&[repo[0]])));
        assert_eq!(pick(&repo, &[], Some(repo[0])), Ok(names(&[repo[0]])));
        // Of two, nobody knows which.
        let repo = ["a.Q4_0.gguf", "a-mmproj-f16.gguf", "a.MMPROJ-q8_0.gguf"];
        assert_eq!(pick_for("llava-vision", &repo, &[], None), Ok(names(&[repo[0]])));
        let repo = ["a.Q4_0.gguf", "a.Q8_0.gguf", "mmproj.gguf"];
        let error = pick_for("llava-vision", &repo, &[], None).unwrap_err();
        assert!(
            error.starts_with("PLACE has several weights files: a.Q4_0.gguf, a.Q8_0.gguf; name one"),
            "{error}"
        );
    }

    #[test]
    fn several_quantisations_must_be_named() {
        let repo = ["a.Q4_0.gguf", "a.Q8_0.gguf"];
        let error = pick(&repo, &[], None).unwrap_err();
        assert_eq!(
            error,
            "PLACE has several weights files: a.Q4_0.gguf, a.Q8_0.gguf; name one: PLACE:a.Q4_0.gguf"
        );
        assert_eq!(pick(&repo, &[], Some("a.Q8_0.gguf")), Ok(names(&["a.Q8_0.gguf"])));
        assert_eq!(pick(&["only.gguf"], &[], None), Ok(names(&["only.gguf"])));
        let error = pick(&repo, &[], Some("a.gguf")).unwrap_err();
        assert_eq!(error, "PLACE has no a.gguf; it has a.Q4_0.gguf, a.Q8_0.gguf");
    }

    #[test]
    fn gguf_is_offered_to_no_modality_that_does_not_read_it() {
        let error = pick_for("text-embedding", &["a.Q4_0.gguf", "b.gguf"], &[], None).unwrap_err();
        assert!(error.ends_with("; it has a.Q4_0.gguf, but text-embedding does not read GGUF"), "{error}");
        let error = pick_for("text-embedding", &["a.gguf"], &[], Some("a.gguf")).unwrap_err();
        assert!(error.starts_with("PLACE:a.gguf is GGUF, which text-embedding does not read"), "{error}");
        assert!(!pick_for("text-embedding", &["config.json"], &[], None).unwrap_err().contains("gguf"));
    }

    #[test]
    fn pickle_is_refused_by_name() {
        let error = pick(&["config.json", "training_args.bin", "pytorch_model.bin"], &[], None).unwrap_err();
        assert!(
            error.contains("pytorch_model.bin") && error.contains("convert them to safetensors"),
            "{error}"
        );
        let error = pick(&["config.json"], &[], None).unwrap_err();
        assert!(error.starts_with("PLACE has no weights"), "{error}");
    }

    #[test]
    fn manifests_name_the_subfolders() {
        let modules = br#"[{"idx":0,"name":"0","path":"","type":"T"},{"path":"1_Pooling","type":"P"}]"#;
        assert_eq!(subfolders("modules.json", modules, "modules.json").unwrap(), ["1_Pooling"]);
        let index =
            br#"{"_class_name":"P","unet":["diffusers","U"],"image_encoder":[null,null],"flag":true}"#;
        assert_eq!(subfolders("model_index.json", index, "model_index.json").unwrap(), ["unet"]);
        let escape = br#"[{"path":"../../etc"}]"#;
        let error = subfolders("modules.json", escape, "modules.json").unwrap_err().to_string();
        assert!(error.contains("leads out of the model's folder"), "{error}");
    }

    #[test]
    fn small_files_leave_exports_and_leftovers_alone() {
        let repo = names(&[
            "README.md",
            "config.json",
            "data_config.json",
            "onnx/config.json",
            "1_Pooling/config.json",
            "tokenizer.json",
        ]);
        let folders = names(&["1_Pooling"]);
        assert_eq!(small_files(&repo, &folders), ["config.json", "1_Pooling/config.json", "tokenizer.json"]);
    }
}
