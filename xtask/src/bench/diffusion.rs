//! Seconds of Stable Diffusion's parts: `text-to-image` in release, and torch through diffusers, in turn; then what the
//! server takes in memory to draw one picture.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::side::Side;
use super::spread::Spread;
use super::{built_binary, built_example, machine};
use crate::python::{Python, workspace_root};

/// Arguments of `bench diffusion`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often each side measures everything, in turn.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Pixels of a picture's side.
    #[arg(long, default_value_t = 256)]
    size: u32,
    /// Steps of a whole picture.
    #[arg(long, default_value_t = 4)]
    steps: u32,
}

/// What is measured, as the sides and as the table call it.
const PARTS: [(&str, &str); 4] = [
    ("text", "text encoder, two prompts"),
    ("unet", "UNet, both halves of guidance"),
    ("decode", "VAE decoder"),
    ("picture", "whole picture"),
];

/// What is measured in one line of the table, and what came of it.
struct Cell {
    part: &'static str,
    name: &'static str,
    ours: Vec<f64>,
    theirs: Vec<f64>,
    others: Vec<f64>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let root = workspace_root();
    let python = Python::prepare(&root)?;
    let model = root.join("target/bench-diffusion");
    python.script("bench_torch_diffusion.py", |command| {
        command.arg("make").arg(&model);
    })?;
    let binary = built_binary(&root)?;
    let example = built_example(&root, "text-to-image", "drawing_speed")?;
    let threads = machine::threads().to_string();

    let mut ours = Command::new(example);
    let mut ours = Side::start("candlepool", ours.arg(&model).env("RAYON_NUM_THREADS", &threads))?;
    let mut theirs = python.command("bench_torch_diffusion.py");
    let theirs = theirs.arg("speed").arg(&model).env("OMP_NUM_THREADS", &threads);
    let mut theirs = Side::start("torch", theirs)?;
    let mut cells = PARTS.map(|(part, name)| Cell {
        part,
        name,
        ours: Vec::new(),
        theirs: Vec::new(),
        others: Vec::new(),
    });
    for round in 0..args.rounds {
        for cell in &mut cells {
            let asked = json!({"part": cell.part, "size": args.size, "steps": args.steps});
            // Whoever goes first goes last in the next round.
            let mut both = [(&mut ours, &mut cell.ours), (&mut theirs, &mut cell.theirs)];
            if round % 2 == 1 {
                both.reverse();
            }
            for (side, seconds) in both {
                let measured = side.measure(&asked)?;
                seconds.push(measured.number("seconds")?);
                cell.others.extend(measured.others);
            }
            eprintln!("round {}: {}", round + 1, cell.row());
        }
    }
    let described = theirs.described.to_string();
    drop((ours, theirs));

    println!("Machine: {}. Peer: {described}.", machine::described());
    println!(
        "{}x{} pixels, {} steps. Median of {} rounds (lowest to highest), seconds.\n",
        args.size, args.size, args.steps, args.rounds
    );
    println!("| part | candlepool | torch | torch / candlepool | others' share |");
    println!("| --- | --- | --- | --- | --- |");
    for cell in &cells {
        println!("{}", cell.row());
    }

    let mut server = python.command("bench_torch_diffusion.py");
    server.arg("memory").arg(binary).arg(&model).arg(args.size.to_string()).arg(args.steps.to_string());
    let output = server.env("RAYON_NUM_THREADS", &threads).output().context("cannot start Python")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).context("the script gave no JSON")?;
    let bytes = |key: &str| told[key].as_f64().with_context(|| format!("no {key} in {told}"));
    let (peak, reserved) = (bytes("peak")?, bytes("reserved")?);
    let mib = f64::from(1 << 20);
    println!(
        "\nThe server, from its start to the picture: {:.0} MiB resident at most, {:.0} MiB reserved at most ({:+.1} % of \
         what is resident), {:.1} s for loading and drawing.",
        peak / mib,
        reserved / mib,
        (reserved / peak - 1.0) * 100.0,
        bytes("seconds")?
    );
    Ok(())
}

impl Cell {
    fn row(&self) -> String {
        let [ours, theirs, others] =
            [&self.ours, &self.theirs, &self.others].map(|numbers| Spread::of(numbers.iter().copied()));
        format!(
            "| {} | {} | {} | {:.2} | {:.0} to {:.0} % |",
            self.name,
            ours.shown(3),
            theirs.shown(3),
            theirs.median / ours.median,
            others.lowest * 100.0,
            others.highest * 100.0
        )
    }
}
