//! A terminal to run a command in: the one place where it shows progress.

use std::fs::File;
use std::process::{ExitStatus, Stdio};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::binary::PATIENCE;

/// Runs a command whose standard error is a terminal; gives its status, what was shown there, and its standard output.
pub(super) async fn run(mut command: Command) -> (ExitStatus, String, String) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let size = Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&theirs, size).unwrap();
    command.env("TERM", "xterm").stderr(Stdio::from(theirs)).stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    // It holds the terminal's other end, and with that open there is no end to read to.
    drop(command);
    let mut terminal = tokio::fs::File::from_std(File::from(ours));
    let read = async {
        let (mut shown, mut bytes) = (Vec::new(), vec![0; 4096]);
        // Linux ends a terminal whose other end is closed with an error.
        while let Ok(read @ 1..) = terminal.read(&mut bytes).await {
            shown.extend_from_slice(&bytes[..read]);
        }
        shown
    };
    let both = async { tokio::join!(read, child.wait_with_output()) };
    let (shown, output) = tokio::time::timeout(PATIENCE, both).await.expect("it hangs");
    let output = output.unwrap();
    (output.status, String::from_utf8(shown).unwrap(), String::from_utf8(output.stdout).unwrap())
}
