//! What a download tells while it runs.

/// Hears of a download as it goes on. Called from within async code: a method must return at once.
///
/// `()` hears nothing.
pub trait Progress: Send + Sync {
    /// So many more files with so many more bytes are to come. Called once or twice for a model: the small files that say
    /// which others belong to it come first. Never called if the cache holds everything.
    fn planned(&self, files: usize, bytes: u64) {
        let _ = (files, bytes);
    }

    /// `done` of `total` bytes of a file are here, those of an earlier, cut-off download included. May fall back to zero
    /// where a download must begin anew.
    fn received(&self, file: &str, done: u64, total: u64) {
        let _ = (file, done, total);
    }

    /// Another process downloads this file; waiting for it.
    fn waiting(&self, file: &str) {
        let _ = file;
    }

    /// The file is whole and in its place.
    fn finished(&self, file: &str) {
        let _ = file;
    }
}

impl Progress for () {}
