//! Reading the file and the environment into one configuration, and telling where a mistake was made.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use figment::Figment;
use figment::providers::{Env, Format as _, Toml};
use figment::value::{Dict, Map};
use figment::{Metadata, Profile, Provider};
use serde::de::Deserialize as _;

use super::Config;

/// What variables of this program's configuration begin with; sections follow after double underscores.
const PREFIX: &str = "CANDLEPOOL__";

/// The variables that override the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment(Dict);

impl Environment {
    /// Those of this process.
    pub(super) fn of_process() -> Self {
        let variables = Env::prefixed(PREFIX).split("__");
        let data = variables.data().unwrap_or_default();
        Self(data.into_values().next().unwrap_or_default())
    }

    /// Whether it has a value at the end of this path.
    fn has(&self, sections: &[&str], key: &str) -> bool {
        let inner = sections.iter().try_fold(&self.0, |dict, section| dict.get(*section)?.as_dict());
        inner.is_some_and(|dict| dict.contains_key(key))
    }

    #[cfg(test)]
    pub(super) fn of(variables: &[(&str, &str)]) -> Self {
        let nested = variables.iter().map(|(name, value)| {
            let path = name.trim_start_matches(PREFIX).to_lowercase().replace("__", ".");
            let value = value.parse().unwrap_or_else(|never| match never {});
            figment::util::nest(&path, value)
        });
        let merged = nested.fold(Figment::new(), |all, one| {
            all.merge(figment::providers::Serialized::from(one, Profile::Default))
        });
        let data = merged.data().unwrap();
        Self(data.into_values().next().unwrap_or_default())
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("the environment")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.0.clone())]))
    }
}

/// The file's text with the environment laid over it.
pub(super) fn merge(path: Option<&Path>, text: &str, environment: Environment) -> anyhow::Result<Config> {
    let name = path.map(|path| path.display().to_string()).unwrap_or_default();
    parse(&name, text)?;
    let merged = Figment::new().merge(Toml::string(text)).merge(&environment);
    // The file was right, so whatever is wrong now came with a variable.
    let mut config: Config = merged.extract().map_err(|error| variable_error(&error))?;
    // A path in the file is meant from where the file is; one in a variable, from here.
    if let Some(folder) = path.and_then(Path::parent) {
        let from_folder = |path: &mut Option<PathBuf>, sections: &[&str], key: &str| {
            if let Some(path) = path.as_mut().filter(|_| !environment.has(sections, key)) {
                *path = folder.join(&*path);
            }
        };
        from_folder(&mut config.server.api_keys_file, &["server"], "api_keys_file");
        from_folder(&mut config.realtime.history.file, &["realtime", "history"], "file");
        if !environment.has(&["context"], "folders") {
            // An empty one is told of when all is checked.
            let named = config.context.folders.iter_mut().filter(|context| !context.as_os_str().is_empty());
            named.for_each(|context| *context = folder.join(&*context));
        }
        for (name, model) in &mut config.models {
            from_folder(&mut model.chat_template, &["models", name], "chat_template");
        }
    }
    Ok(config)
}

/// The file alone; an error tells its line.
fn parse(name: &str, text: &str) -> anyhow::Result<Config> {
    let at = |error: &toml::de::Error, path: &str| {
        let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let place = match line {
            Some(line) => format!("{name} line {line}"),
            None => name.to_owned(),
        };
        anyhow!("{place}: {}", told(path, error.message()))
    };
    let parsed = toml::de::Deserializer::parse(text).map_err(|error| at(&error, ""))?;
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(parsed, &mut track);
    Config::deserialize(tracked).map_err(|error| at(&error, &track.path().to_string()))
}

/// What is wrong, with the key. A key nobody knows is in the message itself, and its section in the path.
fn told(path: &str, message: &str) -> String {
    let message = message.trim_end();
    match unknown(message) {
        Some((key, known)) => {
            let section = path.strip_suffix(key).unwrap_or(path).trim_end_matches('.');
            let section = if section.is_empty() { String::new() } else { format!(" in [{section}]") };
            format!("unknown key {key:?}{section}; {known}")
        }
        None if path.is_empty() || path == "." => message.to_owned(),
        None => format!("{path}: {message}"),
    }
}

/// The key and what would have been known, from serde's "unknown field `x`, expected one of `a`, `b`".
fn unknown(message: &str) -> Option<(&str, String)> {
    let rest = message.strip_prefix("unknown field `")?;
    let (key, rest) = rest.split_once('`')?;
    let known = rest.split_once("expected ").map_or("", |(_, known)| known);
    let known = known.trim_start_matches("one of ").replace("` or `", "`, `").replace('`', "");
    Some((key, if known.is_empty() { "remove it".to_owned() } else { format!("known are {known}") }))
}

fn variable_error(error: &figment::Error) -> anyhow::Error {
    let message = match &error.kind {
        figment::error::Kind::UnknownField(key, known) => {
            let section = error.path.iter().filter(|part| part != &key).cloned().collect::<Vec<_>>();
            return anyhow!(
                "environment variable {}: unknown key {key:?}; known are {}",
                variable(&[section, vec![key.clone()]].concat()),
                known.join(", ")
            );
        }
        kind => kind.to_string(),
    };
    anyhow!("environment variable {}: {message}", variable(&error.path))
}

fn variable(path: &[String]) -> String {
    format!("{PREFIX}{}", path.join("__").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, Size, Span};

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        merge(Some(Path::new("etc/candlepool.toml")), text, Environment::of(variables))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_documented_example_is_read() {
        let config = read(
            r#"
            [server]
            listen = "127.0.0.1:8080"
            api_keys_file = "keys.txt"
            [memory]
            limit = "6GiB"
            [models.minilm]
            modality = "text-embedding"
            source = "hf:sentence-transformers/all-MiniLM-L6-v2"
            dtype = "int8"
            workers = { min = 0, max = 2 }
            idle_evict_after = "5m"
            queue = { jobs = 1024, max_wait = "30s" }
            [models.writer]
            modality = "text-to-text"
            source = "hf:HuggingFaceTB/SmolLM2-135M-Instruct"
            chat_template = "writer.jinja"
            "#,
            &[],
        )
        .unwrap();
        let template = |config: &Config| config.models["writer"].chat_template.clone();
        assert_eq!(template(&config).as_deref(), Some(Path::new("etc/writer.jinja")));
        let told = "[models.writer]\nchat_template = \"a.jinja\"";
        let config_with_variable =
            read(told, &[("CANDLEPOOL__MODELS__WRITER__CHAT_TEMPLATE", "b.jinja")]).unwrap();
        assert_eq!(template(&config_with_variable).as_deref(), Some(Path::new("b.jinja")));
        assert_eq!(config.server.listen, "127.0.0.1:8080");
        assert_eq!(config.server.api_keys_file.as_deref(), Some(Path::new("etc/keys.txt")));
        assert_eq!(config.memory.limit, Some(Size(6 << 30)));
        let models = config.models().unwrap();
        assert_eq!(models.len(), 2);
        assert_eq!(models[0].name, "minilm");
        assert_eq!(models[0].group.workers.max, 2);
        assert_eq!(models[0].group.idle_evict_after, Some(std::time::Duration::from_secs(300)));
    }

    #[test]
    fn paths_of_realtime_are_meant_from_the_files_folder() {
        let text = "[realtime]\nhistory = { file = \"rooms.sqlite\" }\n[context]\nfolders = [\"notes\", \"/srv/docs\"]\n";
        let mut config = read(text, &[]).unwrap();
        assert_eq!(config.realtime.history.file.as_deref(), Some(Path::new("etc/rooms.sqlite")));
        assert_eq!(config.context.folders, [Path::new("etc/notes"), Path::new("/srv/docs")]);
        let context = vec!["elsewhere".into()];
        config.apply(Overrides { context, ..Overrides::default() }).unwrap();
        assert_eq!(config.context.folders, [Path::new("elsewhere")]);
        let variable = read(text, &[("CANDLEPOOL__REALTIME__HISTORY__FILE", "here.sqlite")]).unwrap();
        assert_eq!(variable.realtime.history.file.as_deref(), Some(Path::new("here.sqlite")));
    }

    #[test]
    fn variables_override_the_file_and_flags_override_both() {
        let text = "[server]\nlisten = \"a:1\"\n[memory]\nlimit = \"1GiB\"\n[models.m]\nsource = \"builtin\"\nmodality = \"text-embedding\"\n";
        let variables = [
            ("CANDLEPOOL__SERVER__LISTEN", "b:2"),
            ("CANDLEPOOL__MODELS__M__WORKERS", "{min=1, max=3}"),
            ("CANDLEPOOL__SERVER__DRAIN_TIMEOUT", "5s"),
            ("CANDLEPOOL__SERVER__ALLOWED_HOSTS", "[candlepool, models.example.org]"),
        ];
        let mut config = read(text, &variables).unwrap();
        assert_eq!(config.server.listen, "b:2");
        assert_eq!(config.memory.limit, Some(Size(1 << 30)));
        assert_eq!(config.server.drain_timeout, Span::seconds(5));
        assert_eq!(config.server.allowed_hosts, ["candlepool", "models.example.org"]);
        assert_eq!(config.models().unwrap()[0].group.workers.min, 1);
        let flags =
            Overrides { listen: Some("c:3".to_owned()), memory: Some(Size(7)), ..Overrides::default() };
        config.apply(flags).unwrap();
        assert_eq!((config.server.listen.as_str(), config.memory.limit), ("c:3", Some(Size(7))));
    }

    #[test]
    fn values_that_would_serve_nobody_are_refused() {
        let mut small = Config::default();
        small.apply(Overrides { memory: Some(Size(1)), ..Overrides::default() }).unwrap();
        let error = small.check().unwrap_err().to_string();
        assert!(error.starts_with("memory.limit is 1 B") && error.contains("at least 16.0 MiB"), "{error}");
        for (text, wanted) in [
            ("[memory]\nlimit = \"15MiB\"\n", "memory.limit is 15.0 MiB"),
            ("[server]\nlisten = \"\"\n", "server.listen is empty"),
            ("[server]\nrequest_timeout = \"0s\"\n", "server.request_timeout is 0"),
            ("[server]\nheader_timeout = \"0s\"\n", "server.header_timeout is 0"),
            ("[server]\nbody_timeout = \"0ms\"\n", "server.body_timeout is 0"),
            ("[server]\nbody_limit = 0\n", "server.body_limit is 0"),
            ("[images]\nremote_limit = 0\n", "images.remote_limit and images.remote_timeout must be"),
            ("[realtime]\nping_interval = \"0s\"\n", "realtime.ping_interval is 0"),
            ("[realtime]\nmessage_limit = 0\n", "realtime.message_limit is 0"),
            ("[context]\nfolders = [\"\"]\n", "context.folders has an empty path"),
            ("[images]\nremote_timeout = \"0s\"\n", "images.remote_limit and images.remote_timeout must be"),
        ] {
            let error = read(text, &[]).unwrap().check().unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{text:?} gave {error:?}");
        }
        assert!(read("[memory]\nlimit = \"16MiB\"\n", &[]).unwrap().check().is_ok());
    }

    #[test]
    fn mistakes_are_told_with_key_and_line() {
        for (text, wanted) in [
            (
                "[server]\nlisten = \"a:1\"\nlistn = 3\n",
                "etc/candlepool.toml line 3: unknown key \"listn\" in [server]; known are listen, ",
            ),
            (
                "[servr]\n",
                "etc/candlepool.toml line 1: unknown key \"servr\"; known are server, memory, images, log, realtime, context, models",
            ),
            (
                "[realtime]\nhistory = { path = \"x\" }\n",
                "line 2: unknown key \"path\" in [realtime.history]; known are file, messages, bytes",
            ),
            (
                "[context]\nfolder = \"x\"\n",
                "line 2: unknown key \"folder\" in [context]; known are folders, model",
            ),
            (
                "[memory]\nlimit = \"6 gigs\"\n",
                "etc/candlepool.toml line 2: memory.limit: \"6 gigs\" is no size",
            ),
            (
                "[memory]\nlimit = true\n",
                "etc/candlepool.toml line 2: memory.limit: invalid type: boolean `true`, expected a size",
            ),
            ("[memory]\nlimit = -5\n", "memory.limit: \"-5\" is no size"),
            (
                "[models.a]\nidle_evict_after = 5\n",
                "line 2: models.a.idle_evict_after: invalid type: integer `5`, expected a duration",
            ),
            (
                "[models.a]\nqueue = { jobs = 1, depth = 2 }\n",
                "line 2: unknown key \"depth\" in [models.a.queue]; known are jobs, max_wait",
            ),
            ("[models.a]\nsource = \"x.onnx\"\n", "line 2: models.a.source: \"x.onnx\" is no model source"),
            ("[models.a]\ndtype = \"fp8\"\n", "line 2: models.a.dtype: dtype is \"fp8\""),
            (
                "[models.a]\nworkers = { max = 0 }\n",
                "models.a.workers.max: invalid value: integer `0`, expected a whole number from 1 to 4294967295",
            ),
            (
                "[models.a]\nworkers = { min = -1 }\n",
                "workers.min: invalid value: integer `-1`, expected a whole number",
            ),
            (
                "[models.a]\nqueue = { jobs = 0 }\n",
                "models.a.queue.jobs: invalid value: integer `0`, expected a whole",
            ),
            ("[models.a]\nqueue = { max_wait = \"off\" }\n", "queue.max_wait: \"off\" is no duration"),
            (
                "[server]\nmax_connections = 0\n",
                "server.max_connections: invalid value: integer `0`, expected a whole",
            ),
            (
                "[server]\nmax_connections = \"x\"\n",
                "invalid type: string \"x\", expected a whole number from 1",
            ),
            ("server = 5\n", "line 1: server: invalid type: integer `5`, expected a table"),
            ("[server\n", "etc/candlepool.toml line 1: "),
            ("a = 1\na = 2\n", "etc/candlepool.toml line 2: "),
        ] {
            let error = read(text, &[]).unwrap_err();
            assert!(error.contains(wanted), "{text:?} gave {error:?}");
            assert!(!crate::failure::one_line(&error).contains("  "), "{error}");
            for leaked in ["usize", "u32", "u64", "struct ", "Config"] {
                assert!(!error.contains(leaked), "{error}");
            }
        }
    }

    #[test]
    fn mistakes_in_variables_are_told_with_the_variable() {
        for (name, value, wanted) in [
            (
                "CANDLEPOOL__MEMORY__LIMIT",
                "lots",
                "environment variable CANDLEPOOL__MEMORY__LIMIT: \"lots\" is no size",
            ),
            (
                "CANDLEPOOL__MEMORY__LIMITS",
                "1GiB",
                "environment variable CANDLEPOOL__MEMORY__LIMITS: unknown key \"limits\"; known are limit",
            ),
            (
                "CANDLEPOOL__SERVER__MAX_CONNECTIONS",
                "many",
                "environment variable CANDLEPOOL__SERVER__MAX_CONNECTIONS: invalid type: found string \"many\", expected a whole number from 1",
            ),
        ] {
            let error = read("", &[(name, value)]).unwrap_err();
            assert!(error.starts_with(wanted), "{error:?}");
        }
        assert_eq!(
            read("", &[("CANDLEPOOL__MEMORY__LIMIT", "1024")]).unwrap().memory.limit,
            Some(Size(1024))
        );
    }
}
