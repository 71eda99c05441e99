//! A terminal to type in, which the command has for its own: it gets the signals of its keys.

use std::fs::File;
use std::process::{ExitStatus, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::process::PATIENCE;

/// What a line editor tells a terminal when it begins to read a line.
const READS_A_LINE: &str = "\u{1b}[?2004h";

/// A command in a terminal.
pub(crate) struct Terminal {
    pub(crate) child: Child,
    keys: tokio::fs::File,
    screen: tokio::fs::File,
    /// What was shown and not looked at yet.
    shown: Vec<u8>,
}

impl Terminal {
    /// Starts a command in one. Its standard output stays where it is, if it is to go elsewhere.
    pub(crate) fn start(mut command: Command, stdout: Option<Stdio>) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        tcsetwinsize(&theirs, Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let theirs = || Stdio::from(theirs.try_clone().unwrap());
        command.env("TERM", "xterm").stdin(theirs()).stderr(theirs());
        command.stdout(stdout.unwrap_or_else(theirs));
        let own_the_terminal = || {
            rustix::process::setsid()?;
            Ok(rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?)
        };
        #[allow(unsafe_code, reason = "only a process itself can take a terminal for its own")]
        // SAFETY: between fork and exec, it makes two system calls and nothing else.
        unsafe {
            command.pre_exec(own_the_terminal)
        };
        let child = command.spawn().unwrap();
        // The command holds the terminal's other end, and with that open there is no end to read to.
        drop(command);
        let ours = File::from(ours);
        // A read that waits must not hold up what is typed.
        let keys = tokio::fs::File::from_std(ours.try_clone().unwrap());
        Self { child, keys, screen: tokio::fs::File::from_std(ours), shown: Vec::new() }
    }

    pub(crate) async fn type_in(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).await.unwrap();
        self.keys.flush().await.unwrap();
    }

    /// Waits until the command reads a line; gives what was shown before.
    pub(crate) async fn prompt(&mut self) -> String {
        self.until(READS_A_LINE).await
    }

    /// Waits until a text is shown; gives what was shown before it.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.shown.windows(text.len()).position(|shown| shown == text.as_bytes()) {
                let mut before: Vec<u8> = self.shown.drain(..at + text.len()).collect();
                before.truncate(at);
                return String::from_utf8(before).unwrap();
            }
            let read = tokio::time::timeout(PATIENCE, self.screen.read_buf(&mut self.shown)).await;
            // Linux ends a terminal whose other end is closed with an error.
            let more = matches!(read, Ok(Ok(1..)));
            assert!(more, "{text:?} was not shown: {read:?}: {:?}", String::from_utf8_lossy(&self.shown));
        }
    }

    /// Waits for whatever is shown next.
    pub(crate) async fn some(&mut self) -> String {
        if self.shown.is_empty() {
            let read = tokio::time::timeout(PATIENCE, self.screen.read_buf(&mut self.shown)).await;
            assert!(matches!(read, Ok(Ok(1..))), "{read:?}");
        }
        String::from_utf8(std::mem::take(&mut self.shown)).unwrap()
    }

    /// Waits for its end; gives how it ended, and what was shown to the end.
    pub(crate) async fn end(mut self) -> (ExitStatus, String) {
        let read = async { while let Ok(1..) = self.screen.read_buf(&mut self.shown).await {} };
        let both = async { tokio::join!(read, self.child.wait()).1 };
        let status = tokio::time::timeout(PATIENCE, both).await.expect("it does not end").unwrap();
        (status, String::from_utf8(self.shown).unwrap())
    }
}
