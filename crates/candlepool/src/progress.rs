//! Progress bars: on standard error, and only where that is a terminal.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use model_source::Progress;

/// Redraws so often at most; more would slow down what is measured.
const REDRAWS_A_SECOND: u8 = 10;

fn bar(template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(REDRAWS_A_SECOND));
    // A template that does not parse would be this file's own mistake; the default style does as well.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// Shows a model's download.
#[derive(Debug)]
pub(crate) struct DownloadBar {
    bar: ProgressBar,
    received: Mutex<HashMap<String, u64>>,
}

impl DownloadBar {
    pub(crate) fn new() -> Self {
        let bar = bar("{spinner} {msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        Self { bar, received: Mutex::new(HashMap::new()) }
    }
}

impl Progress for DownloadBar {
    fn planned(&self, _files: usize, bytes: u64) {
        self.bar.inc_length(bytes);
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    fn received(&self, file: &str, done: u64, _total: u64) {
        let mut received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.insert(file.to_owned(), done);
        let sum = received.values().sum();
        drop(received);
        self.bar.set_message(file.to_owned());
        self.bar.set_position(sum);
    }

    fn waiting(&self, file: &str) {
        self.bar.set_message(format!("{file}: another process is downloading it, waiting"));
    }

    fn finished(&self, file: &str) {
        self.bar.set_message(file.to_owned());
    }
}

impl Drop for DownloadBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Shows how far a picture is.
#[derive(Debug)]
pub(crate) struct StepBar {
    bar: ProgressBar,
}

impl StepBar {
    /// No step is taken before the model is loaded.
    pub(crate) fn new() -> Self {
        let bar = bar("{spinner} {msg} {elapsed}");
        bar.set_message("loading the model");
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar }
    }

    /// So many steps of so many are taken.
    pub(crate) fn taken(&self, step: u64, steps: u64) {
        if self.bar.length() != Some(steps) {
            if let Ok(style) =
                ProgressStyle::with_template("{msg} [{wide_bar}] {pos}/{len} {elapsed} left {eta}")
            {
                self.bar.set_style(style);
            }
            self.bar.set_message("drawing");
            self.bar.set_length(steps);
            self.bar.reset_elapsed();
            self.bar.reset_eta();
        }
        self.bar.set_position(step);
    }
}

impl Drop for StepBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Shows how far a list of items is.
#[derive(Debug)]
pub(crate) struct ItemBar {
    bar: ProgressBar,
    items: u64,
    by_bytes: bool,
}

impl ItemBar {
    /// With the input's size in bytes, if it is known.
    pub(crate) fn new(bytes: Option<u64>) -> Self {
        let bar = match bytes {
            Some(bytes) => {
                let bar = bar("{msg} [{wide_bar}] {bytes}/{total_bytes} {eta}");
                bar.set_length(bytes);
                bar
            }
            None => bar("{spinner} {msg} {elapsed}"),
        };
        Self { bar, items: 0, by_bytes: bytes.is_some() }
    }

    /// One more item is done, which took so many bytes of the input.
    pub(crate) fn done(&mut self, bytes: u64) {
        self.items += 1;
        self.bar.set_message(format!("{} texts", self.items));
        if self.by_bytes {
            self.bar.inc(bytes);
        } else {
            self.bar.tick();
        }
    }
}

impl Drop for ItemBar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
