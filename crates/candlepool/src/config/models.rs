//! What a model is told: `[models.NAME]` and `--model NAME=MODALITY:SOURCE`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{anyhow, bail};
use model_source::{Dtype, Source};
use pool_core::{Bytes, GroupConfig, QueueLimits, Workers};
use serde::Deserialize;
use serde::de::{self, Deserializer};

use super::{Size, Span};
use crate::number::Whole;

/// `[models.NAME]`, as spelled.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct ModelConfig {
    pub(crate) modality: Option<String>,
    pub(crate) source: Option<Source>,
    pub(crate) dtype: Option<Dtype>,
    pub(crate) workers: Option<WorkersConfig>,
    pub(crate) idle_evict_after: Option<Span>,
    pub(crate) queue: QueueConfig,
    /// Of models that write text.
    pub(crate) kv_cache: Option<Size>,
    pub(crate) context: Option<Whole<1>>,
    pub(crate) sequences: Option<Whole<1>>,
    pub(crate) deterministic: Option<bool>,
    pub(crate) chat_template: Option<PathBuf>,
    /// Of models that write about pictures.
    pub(crate) vision: Option<Source>,
    pub(crate) picture_cache: Option<Size>,
}

/// `workers = { min, max }`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct WorkersConfig {
    min: Option<Whole<0>>,
    max: Option<Whole<1>>,
}

/// `queue = { jobs, max_wait }`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct QueueConfig {
    jobs: Option<Whole<1>>,
    max_wait: Option<MaxWait>,
}

/// How long a job may be expected to wait: a duration, or `"none"` where any wait is accepted.
#[derive(Clone, Copy, Debug)]
enum MaxWait {
    Span(Span),
    Unbounded,
}

impl<'de> Deserialize<'de> for MaxWait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MaxWaitVisitor;

        impl de::Visitor<'_> for MaxWaitVisitor {
            type Value = MaxWait;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, such as \"30s\", or \"none\" for any wait")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<MaxWait, E> {
                match text {
                    "none" => Ok(MaxWait::Unbounded),
                    text => text
                        .parse()
                        .map(MaxWait::Span)
                        .map_err(|error| E::custom(format!("{error}; or \"none\" for any wait"))),
                }
            }
        }

        deserializer.deserialize_any(MaxWaitVisitor)
    }
}

/// What a model does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Modality {
    /// Texts to vectors, and ranking.
    TextEmbedding,
    /// Pictures to vectors, and texts to vectors in the same space.
    ImageEmbedding,
    /// Text that follows texts and pictures.
    LlavaVision,
    /// Pictures of what a text says.
    TextToImage,
    /// Text that follows text: chats and completions.
    TextToText,
}

impl Modality {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::TextEmbedding => "text-embedding",
            Self::ImageEmbedding => "image-embedding",
            Self::LlavaVision => "llava-vision",
            Self::TextToImage => "text-to-image",
            Self::TextToText => "text-to-text",
        }
    }

    /// Whether its models write text.
    const fn writes(self) -> bool {
        matches!(self, Self::LlavaVision | Self::TextToText)
    }
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no modality this program serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UnknownModality(String);

impl fmt::Display for UnknownModality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = "text-embedding, image-embedding, llava-vision, text-to-image and text-to-text";
        write!(f, "unknown modality {:?}; there are {known}", self.0)
    }
}

impl std::error::Error for UnknownModality {}

impl FromStr for Modality {
    type Err = UnknownModality;

    fn from_str(text: &str) -> Result<Self, UnknownModality> {
        match text {
            "text-embedding" => Ok(Self::TextEmbedding),
            "image-embedding" => Ok(Self::ImageEmbedding),
            "llava-vision" => Ok(Self::LlavaVision),
            "text-to-image" => Ok(Self::TextToImage),
            "text-to-text" => Ok(Self::TextToText),
            _ => Err(UnknownModality(text.to_owned())),
        }
    }
}

/// `NAME=MODALITY:SOURCE`.
#[derive(Clone, Debug)]
pub(crate) struct ModelFlag {
    pub(crate) name: String,
    pub(crate) modality: Modality,
    pub(crate) source: Source,
}

impl FromStr for ModelFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = "write NAME=MODALITY:SOURCE, such as minilm=text-embedding:hf:sentence-transformers/all-MiniLM-L6-v2";
        let (name, rest) = text.split_once('=').ok_or(form)?;
        let (modality, source) = rest.split_once(':').ok_or(form)?;
        check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            modality: modality.parse().map_err(|error: UnknownModality| error.to_string())?,
            source: source.parse().map_err(|error: model_source::SourceError| error.to_string())?,
        })
    }
}

/// Names go into addresses, headers, metrics and logs.
fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@');
    if name.is_empty() || name.len() > 128 || !name.chars().all(plain) {
        return Err(format!("{name:?} cannot name a model: use up to 128 letters, digits and - _ . / : @"));
    }
    Ok(())
}

/// A model as it is to be run.
#[derive(Clone, Debug)]
pub(crate) struct ModelSettings {
    pub(crate) name: String,
    pub(crate) modality: Modality,
    pub(crate) source: Source,
    pub(crate) dtype: Dtype,
    pub(crate) group: GroupConfig,
    pub(crate) text: TextSettings,
}

/// What is told besides of a model that writes text. `None`: as the model's crate has it.
#[derive(Clone, Default, Debug)]
pub(crate) struct TextSettings {
    pub(crate) kv_cache: Option<Bytes>,
    pub(crate) context: Option<usize>,
    pub(crate) sequences: Option<usize>,
    pub(crate) deterministic: bool,
    /// A file with Jinja in it.
    pub(crate) chat_template: Option<PathBuf>,
    /// Where the vision tower is, if it is not with the language model.
    pub(crate) vision: Option<Source>,
    /// What computed pictures may take that are kept for the next question.
    pub(crate) picture_cache: Option<Bytes>,
}

/// More jobs than the longest list of inputs OpenAI's clients send at once, 2,048.
const QUEUE_JOBS: usize = 4096;
/// More would only wait for each other's cores.
const MOST_WORKERS: usize = 256;

impl ModelSettings {
    /// The model that is served where none is configured.
    pub(crate) fn builtin() -> Self {
        Self::plain("builtin", Source::Builtin(None))
    }

    fn plain(name: &str, source: Source) -> Self {
        let mut group = GroupConfig::new(name);
        group.limits.jobs = QUEUE_JOBS;
        Self {
            name: name.to_owned(),
            modality: Modality::TextEmbedding,
            source,
            dtype: Dtype::Auto,
            group,
            text: TextSettings::default(),
        }
    }

    /// Checks what a configuration says.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its key.
    pub(crate) fn check(name: &str, model: &ModelConfig) -> anyhow::Result<Self> {
        check_name(name).map_err(|error| anyhow!("models: {error}"))?;
        let Some(modality) = &model.modality else {
            bail!(
                "models.{name} has no modality; write modality = \"text-embedding\", \"image-embedding\", \"llava-vision\", \"text-to-image\" or \"text-to-text\""
            );
        };
        let Some(source) = &model.source else {
            bail!("models.{name} has no source; write source = \"hf:owner/name\", a folder or \"builtin\"");
        };
        let modality = modality.parse().map_err(|error| anyhow!("models.{name}.modality: {error}"))?;
        let mut settings = Self::plain(name, source.clone());
        settings.modality = modality;
        settings.text = text(name, modality, model)?;
        settings.dtype = model.dtype.unwrap_or_default();
        settings.group.workers = workers(name, model.workers.unwrap_or_default())?;
        settings.group.idle_evict_after = idle_evict_after(name, model.idle_evict_after)?;
        settings.group.limits = limits(name, modality, model.queue)?;
        Ok(settings)
    }
}

/// What is told of how a text is written; refused where the model writes none.
fn text(name: &str, modality: Modality, model: &ModelConfig) -> anyhow::Result<TextSettings> {
    let given = [
        ("kv_cache", model.kv_cache.is_some()),
        ("context", model.context.is_some()),
        ("sequences", model.sequences.is_some()),
        ("deterministic", model.deterministic.is_some()),
        ("chat_template", model.chat_template.is_some()),
    ];
    if !modality.writes()
        && let Some((key, _)) = given.into_iter().find(|(_, given)| *given)
    {
        bail!("models.{name}.{key} is for models that write text, and {modality} ones do not; leave it out");
    }
    let given = [("vision", model.vision.is_some()), ("picture_cache", model.picture_cache.is_some())];
    if modality != Modality::LlavaVision
        && let Some((key, _)) = given.into_iter().find(|(_, given)| *given)
    {
        bail!("models.{name}.{key} is for llava-vision models, and this one is for {modality}; leave it out");
    }
    if modality != Modality::TextEmbedding {
        if let Some(dtype) = model.dtype.filter(|dtype| !matches!(dtype, Dtype::Auto | Dtype::F32)) {
            bail!("models.{name}.dtype is {dtype}; {modality} models take auto or f32");
        }
        if let Some(Source::Builtin(_)) = model.source {
            bail!(
                "models.{name}.source is built in, and no {modality} model is; name a folder, a file or hf:owner/name"
            );
        }
    }
    Ok(TextSettings {
        kv_cache: model.kv_cache.map(Size::bytes),
        context: model.context.map(Whole::count),
        sequences: model.sequences.map(Whole::count),
        deterministic: model.deterministic.unwrap_or_default(),
        chat_template: model.chat_template.clone(),
        vision: model.vision.clone(),
        picture_cache: model.picture_cache.map(Size::bytes),
    })
}

fn workers(name: &str, config: WorkersConfig) -> anyhow::Result<Workers> {
    let min = config.min.map_or(0, Whole::count);
    let max = config.max.map_or(min.max(1), Whole::count);
    if max > MOST_WORKERS {
        bail!("models.{name}.workers.max is {max}; at most {MOST_WORKERS} are allowed");
    }
    if min > max {
        bail!("models.{name}.workers.min is {min}, more than max, which is {max}");
    }
    Ok(Workers { min, max })
}

fn idle_evict_after(name: &str, after: Option<Span>) -> anyhow::Result<Option<Duration>> {
    if after.is_some_and(|after| after.0.is_zero()) {
        bail!(
            "models.{name}.idle_evict_after is 0: the model would be unloaded after each request; allow more than 0, or leave it out for never"
        );
    }
    Ok(after.map(|after| after.0))
}

fn limits(name: &str, modality: Modality, config: QueueConfig) -> anyhow::Result<QueueLimits> {
    let jobs = config.jobs.map_or(QUEUE_JOBS, Whole::count);
    let usual = match modality {
        Modality::TextToImage => text_to_image::usual_limits(),
        _ => QueueLimits::default(),
    };
    let max_wait = match config.max_wait {
        None => usual.max_wait,
        Some(MaxWait::Unbounded) => None,
        Some(MaxWait::Span(wait)) if wait.0.is_zero() => bail!(
            "models.{name}.queue.max_wait is 0: every request that finds another would be refused; allow more than 0, or write \"none\" for any wait"
        ),
        Some(MaxWait::Span(wait)) => Some(wait.0),
    };
    Ok(QueueLimits { jobs, max_wait, ..usual })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_names_model_modality_and_source() {
        let flag: ModelFlag = "mini.lm=text-embedding:hf:owner/name@main".parse().unwrap();
        assert_eq!(flag.name, "mini.lm");
        assert_eq!(flag.source.to_string(), "hf:owner/name@main");
        let error = |text: &str| text.parse::<ModelFlag>().unwrap_err();
        assert!(error("minilm").starts_with("write NAME=MODALITY:SOURCE"));
        assert!(error("a=text-embedding").starts_with("write NAME=MODALITY:SOURCE"));
        assert!(error("=text-embedding:builtin").contains("cannot name a model"));
        assert!(error("a b=text-embedding:builtin").contains("cannot name a model"));
        assert_eq!(
            error("a=embedding:builtin"),
            "unknown modality \"embedding\"; there are text-embedding, image-embedding, llava-vision, text-to-image and \
             text-to-text"
        );
        assert!(error("a=text-embedding:ftp://x").contains("is no model source"));
    }

    #[test]
    fn numbers_that_would_serve_nothing_are_refused() {
        let check = |toml: &str| {
            let model: ModelConfig = toml::from_str(toml).unwrap();
            ModelSettings::check("m", &model).map(drop).map_err(|error| error.to_string())
        };
        let wait = |toml: &str| {
            let settings = ModelSettings::check("m", &toml::from_str(toml).unwrap()).unwrap();
            settings.group.limits.max_wait.map(|wait| wait.as_secs())
        };
        let base = "source = \"builtin\"\nmodality = \"text-embedding\"\n";
        let text = base.replace("text-embedding", "text-to-text").replace("\"builtin\"", "\"hf:owner/name\"");
        let told = "kv_cache = \"1GiB\"\ncontext = 2048\nsequences = 8\ndeterministic = true";
        assert_eq!(check(&format!("{text}{told}")), Ok(()));
        assert_eq!(check(base), Ok(()));
        assert_eq!(check(&format!("{base}queue = {{ max_wait = \"none\" }}")), Ok(()));
        assert_eq!(check(&format!("{base}workers = {{ min = 2 }}")), Ok(()));
        assert!(check(&format!("{text}dtype = \"int8\"")).unwrap_err().contains("take auto or f32"));
        let builtin = text.replace("hf:owner/name", "builtin");
        assert!(check(&builtin).unwrap_err().contains("no text-to-text model is"));
        let llava = text.replace("text-to-text", "llava-vision");
        assert_eq!(
            check(&format!("{llava}{told}\nvision = \"mmproj.gguf\"\npicture_cache = \"64MiB\"")),
            Ok(())
        );
        let images = text.replace("text-to-text", "image-embedding");
        assert_eq!(check(&images), Ok(()));
        assert!(check(&format!("{images}{told}")).unwrap_err().contains("and image-embedding ones do not"));
        let drawing = text.replace("text-to-text", "text-to-image");
        let group = "workers = { max = 2 }\nidle_evict_after = \"5m\"\nqueue = { jobs = 8 }\ndtype = \"f32\"";
        assert_eq!(check(&format!("{drawing}{group}")), Ok(()));
        assert_eq!((wait(&images), wait(&drawing)), (Some(30), Some(600)));
        assert_eq!(wait(&format!("{drawing}queue = {{ max_wait = \"5s\" }}")), Some(5));
        for (extra, wanted) in [
            ("dtype = \"bf16\"", "models.m.dtype is bf16; text-to-image models take auto or f32"),
            ("sequences = 8", "models.m.sequences is for models that write text, and text-to-image ones"),
            ("picture_cache = \"1MiB\"", "models.m.picture_cache is for llava-vision models, and this one"),
        ] {
            let error = check(&format!("{drawing}{extra}")).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
        let builtin = drawing.replace("hf:owner/name", "builtin");
        assert!(check(&builtin).unwrap_err().contains("no text-to-image model is"));
        for (extra, wanted) in [
            ("workers = { min = 3, max = 2 }", "models.m.workers.min is 3, more than max"),
            ("workers = { max = 100000 }", "at most 256"),
            ("idle_evict_after = \"0s\"", "models.m.idle_evict_after is 0"),
            ("queue = { max_wait = \"0s\" }", "models.m.queue.max_wait is 0"),
            ("chat_template = \"a.jinja\"", "models.m.chat_template is for models that write text"),
            ("kv_cache = \"1GiB\"", "models.m.kv_cache is for models that write text"),
            ("vision = \"a.gguf\"", "models.m.vision is for llava-vision models"),
            ("picture_cache = \"1MiB\"", "models.m.picture_cache is for llava-vision models"),
            ("deterministic = false", "models.m.deterministic is for models that write text"),
        ] {
            let error = check(&format!("{base}{extra}")).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
        assert!(check("source = \"builtin\"").unwrap_err().contains("has no modality"));
        assert!(check("modality = \"text-embedding\"").unwrap_err().contains("has no source"));
    }
}
