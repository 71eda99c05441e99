//! Tasks of this workspace, run as `cargo xtask TASK`.

#![allow(clippy::print_stdout, reason = "a command line's results go to standard output")]

mod audit;
mod bench;
mod ci;
mod distill;
mod models;
mod mutants;
mod parity;
mod python;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Tasks of this workspace")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Prove that no forbidden concurrency primitive, channel, runtime or crate edge is in the tree.
    Audit(audit::Args),
    /// Measure this project beside its peers, on the same files, in turn.
    Bench(bench::Args),
    /// Run what continuous integration runs, in its order.
    Ci(ci::Args),
    /// Make the built-in static embedding model from all-MiniLM-L6-v2.
    Distill(distill::Args),
    /// Fetch the trained models and tokenizers that tests use into `target/models`.
    Models(models::Args),
    /// Plant known defects in a copy of pool-core, and see that the tests notice each.
    Mutants(mutants::Args),
    /// Compare the reference fixtures with what the reference implementations produce, or regenerate them.
    Parity(parity::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Audit(args) => audit::run(args),
        Task::Bench(args) => bench::run(args),
        Task::Ci(args) => ci::run(args),
        Task::Distill(args) => distill::run(args),
        Task::Models(args) => models::run(args),
        Task::Mutants(args) => mutants::run(args),
        Task::Parity(args) => parity::run(args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
