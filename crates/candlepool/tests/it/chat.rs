use crate::decoder::{LETTERS, endless, path};
use crate::process::{failed, run, run_with, stderr, stdout};

#[tokio::test]
async fn lines_are_turns_and_commands() {
    let model = endless();
    let ask = ["chat", "--model", path(&model), "--max-tokens", "3"];
    let script = "\nhello\nlook\n\n/reset\nlook\n/system Speak plainly.\n/system\nlook\n/system \"\"\nlook\n/nope\n \
                  more\nlook\n/exit\nhello\n";
    let output = run_with(&ask, script.as_bytes()).await;
    let told: Vec<&str> = stderr(&output).lines().collect();
    let refused = |line: u32, roles: &str| {
        format!(
            "error: line {line}: the model's chat template refuses these messages: roles {roles}; the message is left out \
             of the conversation, and /reset begins a new one"
        )
    };
    let expected = [
        refused(3, "user assistant user"),
        refused(6, "user"),
        "Speak plainly.".to_owned(),
        refused(9, "system user"),
        refused(11, "user"),
        "error: line 12: unknown command /nope: /help lists them; begin the line with a space to send it as it is"
            .to_owned(),
        // What was refused is not there.
        refused(14, "user assistant user"),
        "error: 6 of 15 lines failed; each is told of above".to_owned(),
    ];
    assert_eq!(told, expected);
    assert_eq!(output.status.code(), Some(1));
    // Two messages were answered with three letters each, and after /exit none.
    let answers: Vec<&str> = stdout(&output).lines().collect();
    assert_eq!(answers.len(), 2);
    for answer in answers {
        assert!(answer.len() == 3 && answer.chars().all(|c| LETTERS.contains(c)), "{answer:?}");
    }

    let prompted = run(&[&ask[..], &["--system", "Speak plainly.", "look"]].concat()).await;
    assert!(failed(&prompted, 1).ends_with("roles system user"), "{}", stderr(&prompted));
    // A single prompt is no command.
    let output = run(&[&ask[..], &["/reset"]].concat()).await;
    assert_eq!((output.status.code(), stdout(&output).len()), (Some(0), 4), "{}", stderr(&output));
    let output = run_with(&ask, b"/help\n").await;
    assert!(output.status.success() && stderr(&output).contains("/system TEXT"), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
}

#[tokio::test]
async fn nothing_to_say_is_wrong_usage() {
    for nothing in ["", "\n \n\t\n"] {
        let told =
            failed(&run_with(&["chat", "--model", "no/such/folder"], nothing.as_bytes()).await, 2).to_owned();
        assert!(told.contains("no prompt is given"), "{told}");
    }
    failed(&run(&["chat", ""]).await, 2);
}

#[cfg(target_os = "linux")]
mod at_a_terminal {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::Stdio;

    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::process::candlepool;
    use crate::terminal::Terminal;

    /// A conversation whose state is kept in this folder.
    fn start(model: &str, state: &Path, stdout: Option<Stdio>) -> Terminal {
        let mut command = candlepool();
        command.args(["chat", "--temperature", "1", "--model", model]).env("XDG_STATE_HOME", state);
        Terminal::start(command, stdout)
    }

    const CTRL_C: &str = "\u{3}";
    const CTRL_D: &str = "\u{4}";
    const UP: &str = "\u{1b}[A";

    #[tokio::test]
    async fn ctrl_c_stops_the_answer_and_not_the_program() {
        let (model, state) = (endless(), tempfile::tempdir().unwrap());
        let mut terminal = start(path(&model), state.path(), None);
        let greeting = terminal.prompt().await;
        assert!(greeting.contains("/help lists the commands"), "{greeting:?}");
        for turn in 0..2 {
            terminal.type_in("hello\r").await;
            // Far more letters than the line and what goes with its editing.
            let mut letters = 0;
            while letters < 500 {
                letters += terminal.some().await.chars().filter(|c| LETTERS.contains(*c)).count();
            }
            terminal.type_in(CTRL_C).await;
            terminal.prompt().await;
            // What came of each answer is part of the conversation.
            terminal.type_in("look\r").await;
            let told = terminal.prompt().await;
            assert!(told.contains(&format!("roles{} user;", " user assistant".repeat(turn + 1))), "{told:?}");
        }
        terminal.type_in("/reset\r").await;
        terminal.prompt().await;
        terminal.type_in("look\r").await;
        let told = terminal.prompt().await;
        assert!(told.contains("roles user;"), "{told:?}");
        terminal.type_in("/exit\r").await;
        let (status, shown) = terminal.end().await;
        assert_eq!(status.code(), Some(0), "{shown:?}");
    }

    #[tokio::test]
    async fn at_an_empty_prompt_ctrl_c_says_how_to_leave_and_leaves_the_second_time() {
        let (model, state) = (endless(), tempfile::tempdir().unwrap());
        let mut terminal = start(path(&model), state.path(), None);
        terminal.prompt().await;
        for _ in 0..2 {
            terminal.type_in(CTRL_C).await;
            let told = terminal.prompt().await;
            assert!(told.contains("Ctrl-C once more leaves"), "{told:?}");
            // Something between makes the next one the first again.
            terminal.type_in("/nope\r").await;
            let told = terminal.prompt().await;
            assert!(told.contains("error: unknown command /nope"), "{told:?}");
        }
        terminal.type_in(CTRL_C).await;
        terminal.prompt().await;
        terminal.type_in(CTRL_C).await;
        assert_eq!(terminal.end().await.0.code(), Some(0));
    }

    #[tokio::test]
    async fn lines_are_remembered_for_the_next_time_and_for_their_owner_alone() {
        let (model, state) = (endless(), tempfile::tempdir().unwrap());
        let state = state.path().join("state");
        let mut terminal = start(path(&model), &state, None);
        terminal.prompt().await;
        terminal.type_in("/system Speak plainly.\r").await;
        terminal.prompt().await;
        terminal.type_in(CTRL_D).await;
        assert_eq!(terminal.end().await.0.code(), Some(0));
        let file = state.join("candlepool/chat_history");
        assert!(std::fs::read_to_string(&file).unwrap().contains("/system Speak plainly."));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));

        let mut terminal = start(path(&model), &state, None);
        terminal.prompt().await;
        terminal.type_in(&format!("{UP}\r")).await;
        terminal.prompt().await;
        terminal.type_in("look\r").await;
        let told = terminal.prompt().await;
        assert!(told.contains("roles system user;"), "{told:?}");
        terminal.type_in(CTRL_D).await;
        assert_eq!(terminal.end().await.0.code(), Some(0));
    }

    #[tokio::test]
    async fn a_history_that_cannot_be_kept_is_told_of_once() {
        let model = endless();
        let mut command = candlepool();
        command.args(["chat", "--model", path(&model)]).env("CANDLEPOOL_CHAT_HISTORY", "/dev/null/history");
        let mut terminal = Terminal::start(command, None);
        terminal.prompt().await;
        terminal.type_in("/reset\r").await;
        let told = terminal.prompt().await;
        assert!(told.contains("kept in memory only: cannot use /dev/null/history"), "{told:?}");
        terminal.type_in(&format!("{UP}\r")).await;
        let told = terminal.prompt().await;
        assert!(told.contains("/reset") && !told.contains("memory"), "{told:?}");
        terminal.type_in(CTRL_D).await;
        assert_eq!(terminal.end().await.0.code(), Some(0));
    }

    #[tokio::test]
    async fn answers_that_go_elsewhere_go_there_alone() {
        let (model, state) = (endless(), tempfile::tempdir().unwrap());
        let mut command = candlepool();
        command
            .args(["chat", "--max-tokens", "5", "--model", path(&model)])
            .env("XDG_STATE_HOME", state.path());
        let mut terminal = Terminal::start(command, Some(Stdio::piped()));
        terminal.prompt().await;
        terminal.type_in("hello\r").await;
        let told = terminal.prompt().await;
        assert!(told.contains("cut off"), "{told:?}");
        terminal.type_in(CTRL_D).await;
        let mut stdout = String::new();
        terminal.child.stdout.take().unwrap().read_to_string(&mut stdout).await.unwrap();
        assert_eq!(terminal.end().await.0.code(), Some(0));
        assert!(stdout.len() == 6 && stdout.trim_end().chars().all(|c| LETTERS.contains(c)), "{stdout:?}");
    }
}
