//! `cargo xtask ci`: what continuous integration runs, step by step, each with its time.

#![expect(clippy::disallowed_types, reason = "no clock is paused here: steps are timed on the machine's own")]

use std::{
    env,
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::{Context as _, bail};
use cargo_metadata::MetadataCommand;
use clap::{Parser as _, ValueEnum};

use crate::{Cli, Task, python::workspace_root};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run these steps only
    #[arg(long, value_enum, value_name = "STEP")]
    only: Vec<Step>,
    /// Print the steps and what they run, and do nothing
    #[arg(long)]
    list: bool,
}

/// One step. They run in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    Fmt,
    Clippy,
    Audit,
    Doc,
    Models,
    Test,
    Explore,
}

/// The models that tests use must be there.
const REQUIRE_MODELS: (&str, &str) = ("CANDLEPOOL_REQUIRE_MODELS", "1");

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Fmt => "fmt",
            Self::Clippy => "clippy",
            Self::Audit => "audit",
            Self::Models => "models",
            Self::Test => "test",
            Self::Explore => "explore",
            Self::Doc => "doc",
        }
    }

    /// What it runs: cargo's arguments.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Fmt => &["fmt", "--all", "--check"],
            Self::Clippy => &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
            Self::Audit => &["xtask", "audit"],
            Self::Models => &["xtask", "models"],
            Self::Test => &["test", "--workspace"],
            Self::Explore => &["test", "-p", "pool-core", "--features", "shuttle", "--test", "explore"],
            Self::Doc => &["doc", "--workspace", "--no-deps"],
        }
    }

    fn environment(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Test | Self::Explore => Some(REQUIRE_MODELS),
            Self::Doc => Some(("RUSTDOCFLAGS", "-D warnings")),
            _ => None,
        }
    }

    /// As one would type it.
    fn shown(self) -> String {
        let environment = self.environment().map_or_else(String::new, |(name, value)| {
            if value.contains(' ') { format!("{name}='{value}' ") } else { format!("{name}={value} ") }
        });
        format!("{environment}cargo {}", self.arguments().join(" "))
    }

    fn run(self, root: &Path) -> anyhow::Result<()> {
        let arguments = self.arguments();
        if let ["xtask", task @ ..] = arguments {
            // This very program: a second cargo would only ask whether it is built.
            let cli = Cli::try_parse_from([&["xtask"], task].concat())?;
            let status = match cli.task {
                Task::Audit(args) => crate::audit::run(args)?,
                Task::Models(args) => crate::models::run(args)?,
                _ => bail!("`{}` is no step", task.join(" ")),
            };
            if status != ExitCode::SUCCESS {
                bail!("it found what must not be");
            }
            return Ok(());
        }
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(arguments).current_dir(root).stdin(Stdio::null()).envs(self.environment());
        let status = cargo.status().context("cannot start cargo")?;
        if !status.success() {
            bail!("`{}` ended with {status}", self.shown());
        }
        Ok(())
    }
}

/// Runs the steps until one fails.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let steps = Step::value_variants().iter().copied();
    let steps: Vec<Step> = steps.filter(|step| args.only.is_empty() || args.only.contains(step)).collect();
    if args.list {
        for step in steps {
            println!("{:8} {}", step.name(), step.shown());
        }
        return Ok(ExitCode::SUCCESS);
    }
    let root = workspace_root();
    let start = Instant::now();
    for step in steps {
        if step == Step::Explore && !has_explorer(&root)? {
            println!("== {}: left out, as pool-core has no test target `explore`", step.name());
            continue;
        }
        println!("== {}: {}", step.name(), step.shown());
        let step_start = Instant::now();
        let result = step.run(&root);
        let seconds = step_start.elapsed().as_secs_f64();
        result.with_context(|| format!("step {} failed after {seconds:.1} s", step.name()))?;
        println!("== {}: passed in {seconds:.1} s", step.name());
    }
    println!("== all passed in {:.1} s", start.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

/// Whether pool-core has its schedule explorer.
fn has_explorer(root: &Path) -> anyhow::Result<bool> {
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    Ok(metadata
        .packages
        .iter()
        .filter(|package| package.name.as_str() == "pool-core")
        .any(|package| package.targets.iter().any(|target| target.name == "explore" && target.is_test())))
}
