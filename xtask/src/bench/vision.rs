//! Pictures a second of vision towers: `image-embedding` in release, and torch, in turn.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;

use super::side::Side;
use super::spread::Spread;
use super::{built_example, machine};
use crate::python::{Python, workspace_root};

/// Arguments of `bench vision`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often each side measures everything, in turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Pictures at once.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8])]
    batches: Vec<usize>,
}

/// What is measured: CLIP's image towers, with random weights, made by the script.
const TOWERS: [&str; 2] = ["ViT-B-32", "ViT-L-14"];

/// Pictures there are; a batch has no picture twice.
const PICTURES: usize = 8;

/// What is measured in one line of the table, and what came of it.
struct Cell {
    batch: usize,
    files: bool,
    ours: Vec<f64>,
    theirs: Vec<f64>,
    others: Vec<f64>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    ensure!(
        args.batches.iter().all(|batch| (1..=PICTURES).contains(batch)),
        "batches are of 1 to {PICTURES} pictures"
    );
    let root = workspace_root();
    let python = Python::prepare(&root)?;
    let made = root.join("target/bench-vision");
    python.script("bench_torch_vision.py", |command| {
        command.arg("make").arg(&made);
    })?;
    let example = built_example(&root, "image-embedding", "picture_speed")?;
    let mut rows = Vec::new();
    let mut version = String::new();
    for tower in TOWERS {
        let (cells, described) = measure(&python, &example, &made, tower, args)?;
        version = described;
        rows.extend(cells.iter().map(|cell| cell.row(tower)));
    }
    println!("Machine: {}. Peer: {version}.", machine::described());
    println!("Median of {} rounds (lowest to highest), pictures a second.\n", args.rounds);
    println!("| tower | pictures at once | from | candlepool | torch | ratio | others' share |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for row in rows {
        println!("{row}");
    }
    Ok(())
}

/// Every cell of a tower, and what torch says of itself.
fn measure(
    python: &Python,
    example: &Path,
    made: &Path,
    tower: &str,
    args: &Args,
) -> Result<(Vec<Cell>, String)> {
    let threads = machine::threads().to_string();
    let (model, pictures) = (made.join(tower), made.join("pictures"));
    let mut ours = Command::new(example);
    let ours = ours.arg(&model).arg(&pictures).env("RAYON_NUM_THREADS", &threads);
    let mut ours = Side::start("candlepool", ours)?;
    let mut theirs = python.command("bench_torch_vision.py");
    let theirs = theirs.arg("speed").arg(&model).arg(&pictures).env("OMP_NUM_THREADS", &threads);
    let mut theirs = Side::start("torch", theirs)?;
    let lines = args.batches.iter().flat_map(|batch| [(*batch, true), (*batch, false)]);
    let mut cells: Vec<Cell> = lines.map(|(batch, files)| Cell::new(batch, files)).collect();
    for round in 0..args.rounds {
        for cell in &mut cells {
            let asked = json!({"batch": cell.batch, "files": cell.files});
            // Whoever goes first goes last in the next round.
            let mut both = [(&mut ours, &mut cell.ours), (&mut theirs, &mut cell.theirs)];
            if round % 2 == 1 {
                both.reverse();
            }
            for (side, speeds) in both {
                let measured = side.measure(&asked)?;
                speeds.push(measured.number("pictures")?);
                cell.others.extend(measured.others);
            }
            eprintln!("{tower}, round {}: {}", round + 1, cell.row("so far"));
        }
    }
    Ok((cells, theirs.described.to_string()))
}

impl Cell {
    fn new(batch: usize, files: bool) -> Self {
        Self { batch, files, ours: Vec::new(), theirs: Vec::new(), others: Vec::new() }
    }

    fn row(&self, tower: &str) -> String {
        let [ours, theirs, others] =
            [&self.ours, &self.theirs, &self.others].map(|numbers| Spread::of(numbers.iter().copied()));
        format!(
            "| {tower} | {} | {} | {} | {} | {:.2} | {:.0} to {:.0} % |",
            self.batch,
            if self.files { "JPEG files" } else { "pixel values" },
            ours.shown(2),
            theirs.shown(2),
            ours.median / theirs.median,
            others.lowest * 100.0,
            others.highest * 100.0
        )
    }
}
