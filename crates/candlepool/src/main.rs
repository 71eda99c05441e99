//! The `candlepool` command: local models at a shell, and behind an HTTP server that speaks OpenAI's protocol.
//!
//! Owns the command line, the configuration, the HTTP face and the process: its runtime, allocator, signals and exit
//! status. It computes nothing itself: models live in pools, and heavy work of its own (large JSON) goes through the
//! engine's lanes.

mod allocator;
mod cli;
mod config;
mod failure;
mod http;
mod logging;
mod number;
mod output;
mod pixels;
mod progress;
mod registry;
mod remote_images;
mod shutdown;
mod stderr;
mod tls;

use std::process::ExitCode;

fn main() -> ExitCode {
    allocator::give_back_at_once();
    fix_compute_threads();
    run()
}

#[tokio::main]
async fn run() -> ExitCode {
    let writing = tokio::spawn(stderr::of_process().run());
    let status = Box::pin(cli::run(std::env::args_os())).await;
    stderr::flush().await;
    writing.abort();
    // Not returned: the runtime's end would wait for a thread that hangs in a model or in reading a terminal.
    std::process::exit(status)
}

/// Tells rayon how many threads there are. Where the variable is unset, candle counts the processors anew for every
/// matrix product, which takes longer than a small product.
fn fix_compute_threads() {
    const VARIABLE: &str = "RAYON_NUM_THREADS";
    if std::env::var_os(VARIABLE).is_none()
        && let Ok(threads) = std::thread::available_parallelism()
    {
        #[allow(unsafe_code, reason = "the environment can only be set before threads start, which is here")]
        // SAFETY: `main` calls this first, so this is the only thread and nobody else reads the environment.
        unsafe {
            std::env::set_var(VARIABLE, threads.to_string());
        }
    }
}
