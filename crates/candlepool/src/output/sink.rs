//! The way out: a file or standard output, buffered.

use std::fmt;
use std::io::{ErrorKind, IsTerminal as _, SeekFrom};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::anyhow;
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWrite, AsyncWriteExt as _, BufWriter};

use crate::failure::{OutputClosed, Usage};

/// Large enough that a vector's text does not cost a system call each.
const BUFFER: usize = 256 << 10;

/// Where output goes.
pub(crate) struct Sink {
    writer: BufWriter<Target>,
    name: String,
}

enum Target {
    Stdout(tokio::io::Stdout),
    File(File),
}

impl Sink {
    /// A file, made anew, or standard output.
    ///
    /// # Errors
    ///
    /// The file cannot be made.
    pub(crate) async fn open(out: Option<&Path>) -> anyhow::Result<Self> {
        Ok(match out {
            Some(path) => Self::file(path).await?,
            None => Self::new(Target::Stdout(tokio::io::stdout()), "standard output".to_owned()),
        })
    }

    /// The same, but for a format that goes back to its beginning.
    ///
    /// # Errors
    ///
    /// As [`Sink::open`]; or neither is a file that can be gone back in.
    pub(crate) async fn open_seekable(out: Option<&Path>) -> anyhow::Result<Self> {
        let mut sink = match out {
            Some(path) => Self::file(path).await?,
            None => Self::new(Target::File(seekable_stdout()?), "standard output".to_owned()),
        };
        // Before the first byte: an older file that a shell's >> adds to stays as it was.
        if is_appending(sink.seekable()?) {
            return Err(appending(&sink.name));
        }
        let file = sink.seekable()?;
        let is_file = file.metadata().await.is_ok_and(|metadata| metadata.is_file());
        let at = file.stream_position().await;
        match (is_file, at) {
            (true, Ok(0)) => Ok(sink),
            (true, Ok(_)) => Err(anyhow!(
                "{} is written to already; npy needs a file of its own: use --out FILE",
                sink.name
            )),
            _ => Err(no_seek(&sink.name)),
        }
    }

    async fn file(path: &Path) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        match File::create(path).await {
            Ok(file) => Ok(Self::new(Target::File(file), name)),
            Err(error) => {
                let told = format!("cannot write {name}: {error}; check --out");
                Err(anyhow!(error).context(told))
            }
        }
    }

    fn new(target: Target, name: String) -> Self {
        Self { writer: BufWriter::with_capacity(BUFFER, target), name }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = self.writer.write_all(bytes).await;
        written.map_err(|error| self.failed(error))
    }

    pub(crate) async fn flush(&mut self) -> anyhow::Result<()> {
        let flushed = self.writer.flush().await;
        flushed.map_err(|error| self.failed(error))
    }

    /// Overwrites the beginning, of a sink that is seekable. Nothing may be written after it.
    pub(crate) async fn rewrite_beginning(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.flush().await?;
        let name = self.name.clone();
        let file = self.seekable()?;
        let rewritten = async {
            let length = file.metadata().await?.len();
            file.seek(SeekFrom::Start(0)).await?;
            file.write_all(bytes).await?;
            file.flush().await?;
            Ok(file.metadata().await?.len() == length)
        };
        match rewritten.await {
            Ok(true) => Ok(()),
            // Where the system does not tell before.
            Ok(false) => Err(appending(&name)),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn seekable(&mut self) -> anyhow::Result<&mut File> {
        match self.writer.get_mut() {
            Target::File(file) => Ok(file),
            Target::Stdout(_) => Err(no_seek(&self.name)),
        }
    }

    fn failed(&self, error: std::io::Error) -> anyhow::Error {
        if error.kind() == ErrorKind::BrokenPipe {
            return anyhow!(OutputClosed);
        }
        let told = format!("cannot write {}: {error}", self.name);
        anyhow!(error).context(told)
    }
}

/// Whether whatever is written goes to the end, wherever the file's position is.
fn is_appending(file: &File) -> bool {
    #[cfg(unix)]
    return rustix::fs::fcntl_getfl(file).is_ok_and(|flags| flags.contains(rustix::fs::OFlags::APPEND));
    #[cfg(not(unix))]
    {
        let _ = file;
        false
    }
}

fn appending(name: &str) -> anyhow::Error {
    Usage::new(format!("{name} is opened for appending, so npy cannot be written to it; use > or --out FILE"))
        .into()
}

fn no_seek(name: &str) -> anyhow::Error {
    Usage::new(format!(
        "npy needs a file, since its header tells the number of rows, and {name} is none; use --out FILE"
    ))
    .into()
}

/// Standard output as a file, if it is one.
fn seekable_stdout() -> anyhow::Result<File> {
    let stdout = std::io::stdout();
    if stdout.is_terminal() {
        return Err(no_seek("the terminal"));
    }
    #[cfg(unix)]
    let handle = std::os::fd::AsFd::as_fd(&stdout).try_clone_to_owned();
    #[cfg(windows)]
    let handle = std::os::windows::io::AsHandle::as_handle(&stdout).try_clone_to_owned();
    match handle {
        Ok(handle) => Ok(File::from_std(std::fs::File::from(handle))),
        Err(_) => Err(no_seek("standard output")),
    }
}

impl AsyncWrite for Target {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Stdout(stdout) => Pin::new(stdout).poll_write(context, bytes),
            Self::File(file) => Pin::new(file).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Stdout(stdout) => Pin::new(stdout).poll_flush(context),
            Self::File(file) => Pin::new(file).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Stdout(stdout) => Pin::new(stdout).poll_shutdown(context),
            Self::File(file) => Pin::new(file).poll_shutdown(context),
        }
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("name", &self.name).finish_non_exhaustive()
    }
}
