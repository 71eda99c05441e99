//! Tokens a second of language models: `text-to-text` in release, and llama.cpp, in turn.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::llama_cpp::LlamaCpp;
use super::side::{Measured, Side};
use super::spread::Spread;
use super::{built_example, chosen, fixtures, gguf, machine};
use crate::python::workspace_root;

/// Arguments of `bench text`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often each side measures everything, in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Tokens that each stream writes.
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..))]
    tokens: u32,
    /// Tokens of a prompt.
    #[arg(long, value_delimiter = ',', default_values_t = [226, 1000])]
    prompts: Vec<usize>,
    /// Streams at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8])]
    streams: Vec<usize>,
    /// The models to measure [default: all]
    #[arg(value_name = "NAME")]
    models: Vec<String>,
}

/// What is measured in one line of the table, and what came of it.
struct Cell {
    prompt: usize,
    streams: usize,
    ours: Vec<Speed>,
    theirs: Vec<Speed>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    ensure!(
        args.prompts.iter().chain(&args.streams).all(|number| *number > 0),
        "prompts of no tokens, or no streams, take no time to measure"
    );
    let models = chosen(&args.models)?;
    let root = workspace_root();
    let peer = LlamaCpp::prepare(&root)?;
    let example = built_example(&root, "text-to-text", "speed")?;
    let mut tables = Vec::new();
    let mut version = Value::Null;
    for model in models {
        let (cells, described) = measure(&root, &peer, &example, model, args)?;
        version = described;
        tables.extend(cells.iter().map(|cell| cell.row(model)));
    }
    println!("Machine: {}. llama.cpp: {version}.", machine::described());
    println!("Median of {} rounds (lowest to highest), tokens a second.\n", args.rounds);
    println!(
        "| model | prompt | streams | prefill | llama.cpp | ratio | decode | llama.cpp | ratio | others' share |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for row in tables {
        println!("{row}");
    }
    Ok(())
}

/// Tokens a second, and what part of the machine others took meanwhile.
#[derive(Clone, Copy)]
struct Speed {
    prefill: f64,
    decode: f64,
    others: Option<f64>,
}

impl Speed {
    fn of(measured: &Measured) -> Result<Self> {
        let number = |key| measured.number(key);
        Ok(Self { prefill: number("prefill")?, decode: number("decode")?, others: measured.others })
    }
}

/// Every cell of a model, and what llama.cpp says of itself.
fn measure(
    root: &Path,
    peer: &LlamaCpp,
    example: &Path,
    model: &str,
    args: &Args,
) -> Result<(Vec<Cell>, Value)> {
    let file = gguf(root, model)?;
    let threads = machine::threads().to_string();
    let context = args.prompts.iter().max().copied().unwrap_or_default() + args.tokens as usize + 1;
    // Without the variable the tensor library asks the system for the number on every product.
    let mut ours = Command::new(example);
    let mut ours = Side::start("candlepool", ours.arg(&file).env("RAYON_NUM_THREADS", &threads))?;
    let mut theirs = peer.command("speed", &file);
    let mut theirs = Side::start("llama.cpp", theirs.arg("--context").arg(context.to_string()))?;
    let mut prompts = Prompts::read(root, model)?;
    let lines =
        args.prompts.iter().flat_map(|prompt| args.streams.iter().map(move |streams| (*prompt, *streams)));
    let mut cells: Vec<Cell> = lines.map(|(prompt, streams)| Cell::new(prompt, streams)).collect();
    for round in 0..args.rounds {
        for cell in &mut cells {
            let asked = json!({"prompts": prompts.next(cell.streams, cell.prompt), "tokens": args.tokens});
            // Whoever goes first goes last in the next round.
            let mut both = [(&mut ours, &mut cell.ours), (&mut theirs, &mut cell.theirs)];
            if round % 2 == 1 {
                both.reverse();
            }
            for (side, speeds) in both {
                speeds.push(Speed::of(&side.measure(&asked)?)?);
            }
            eprintln!("{model}, round {}: {}", round + 1, cell.row("so far"));
        }
    }
    Ok((cells, theirs.described.clone()))
}

/// Prompts no two of which begin alike, so that no prefix is found in a cache.
struct Prompts {
    tokens: Vec<Value>,
    made: usize,
}

impl Prompts {
    /// From the tokens of the committed text.
    fn read(root: &Path, model: &str) -> Result<Self> {
        let path = fixtures(root).join(format!("{model}.json"));
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut fixture: Value = serde_json::from_str(&text)?;
        let Value::Array(tokens) = fixture["tokens"].take() else {
            anyhow::bail!("{} has no tokens", path.display());
        };
        ensure!(!tokens.is_empty(), "{} has no tokens", path.display());
        Ok(Self { tokens, made: 0 })
    }

    /// So many prompts: the text from one place on, and from its beginning again after its end.
    fn next(&mut self, prompts: usize, length: usize) -> Vec<Vec<Value>> {
        let from = self.made;
        self.made += prompts;
        // A prime step reaches every place before it comes back to the first.
        let start = |number: usize| number * 37 % self.tokens.len();
        let prompt = |number| self.tokens.iter().cycle().skip(start(number)).take(length).cloned().collect();
        (from..self.made).map(prompt).collect()
    }
}

impl Cell {
    fn new(prompt: usize, streams: usize) -> Self {
        Self { prompt, streams, ours: Vec::new(), theirs: Vec::new() }
    }

    fn row(&self, model: &str) -> String {
        let side = |speeds: &[Speed], of: fn(&Speed) -> f64| Spread::of(speeds.iter().map(of));
        let prefill = [&self.ours, &self.theirs].map(|speeds| side(speeds, |speed| speed.prefill));
        let decode = [&self.ours, &self.theirs].map(|speeds| side(speeds, |speed| speed.decode));
        let others = Spread::of(self.ours.iter().chain(&self.theirs).filter_map(|speed| speed.others));
        let compared = |[ours, theirs]: [Spread; 2]| {
            format!("{} | {} | {:.2}", ours.shown(0), theirs.shown(0), ours.median / theirs.median)
        };
        format!(
            "| {model} | {} | {} | {} | {} | {:.0} to {:.0} % |",
            self.prompt,
            self.streams,
            compared(prefill),
            compared(decode),
            others.lowest * 100.0,
            others.highest * 100.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_prompts_begin_alike() {
        let mut prompts = Prompts { tokens: (0..100).map(Value::from).collect(), made: 0 };
        let mut made = prompts.next(8, 226);
        made.extend(prompts.next(50, 226));
        assert!(made.iter().all(|prompt| prompt.len() == 226));
        let firsts: std::collections::BTreeSet<u64> =
            made.iter().filter_map(|prompt| prompt[0].as_u64()).collect();
        assert_eq!(firsts.len(), made.len());
    }
}
