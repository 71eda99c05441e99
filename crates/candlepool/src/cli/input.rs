//! What the commands read: texts given as arguments, or a file's or standard input's lines.
//!
//! Owns splitting lines in bounded memory and telling what is wrong with one; a wrong line is an item that fails, never
//! the end of the rest.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use pool_core::compute::Claim;
use pool_core::{Engine, ModelId};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

use crate::failure::{Usage, told};

/// What a line holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum InputFormat {
    /// A text.
    Lines,
    /// A JSON string, or an object with `text` and perhaps `id`.
    Jsonl,
}

/// What a command reads.
#[derive(Args, Debug)]
pub(crate) struct InputArgs {
    /// Read texts from this file, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// What a line of the input is; jsonl for files so named, else lines
    #[arg(long, value_enum)]
    pub(crate) input_format: Option<InputFormat>,
    /// The texts
    #[arg(value_name = "TEXT")]
    pub(crate) texts: Vec<String>,
}

/// A longer line is an item that fails, and is not kept in memory.
const LONGEST_LINE: usize = 16 << 20;
/// No model takes a longer text.
const LONGEST_TEXT: usize = 16 << 20;
/// What marks a text as UTF-8 for editors of Windows.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// JSON longer than this is parsed on a compute lane.
const HEAVY: usize = 64 << 10;
/// On whose account that goes: nobody calls a model so.
const OWN_WORK: &str = "(input)";

/// Something to be embedded or ranked, as it was read.
#[derive(Debug)]
pub(crate) enum Raw {
    /// A text from the command line.
    Text(String),
    /// A line that is a text.
    Line(Vec<u8>),
    /// A line of JSON.
    Json(Vec<u8>),
    /// A line that was too long to keep.
    TooLong,
}

/// An item as it is to be computed.
#[derive(Debug)]
pub(crate) struct Item {
    /// What the input calls it, as it is written there: a number may have more digits than any type of ours.
    pub(crate) id: Option<Box<RawValue>>,
    /// Its text, or why it has none.
    pub(crate) text: Result<String, String>,
}

impl Raw {
    /// Bytes held for it.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Line(line) | Self::Json(line) => line.len(),
            Self::TooLong => 0,
        }
    }

    /// Reads the text out of it; long JSON on a lane of the engine.
    pub(crate) async fn read(self, engine: &Engine) -> Item {
        if self.bytes() <= HEAVY {
            return self.parse();
        }
        let claim = Claim::new(ModelId::new(OWN_WORK));
        match engine.lanes().prepare(&claim, move || self.parse()).await {
            Ok(item) => item,
            Err(error) => Item { id: None, text: Err(error.to_string()) },
        }
    }

    fn parse(self) -> Item {
        match self {
            Self::Text(text) => Item { id: None, text: Ok(text) },
            Self::Line(line) => Item { id: None, text: utf8(line) },
            Self::Json(line) => {
                utf8(line).map_or_else(|why| Item { id: None, text: Err(why) }, |line| object(&line))
            }
            Self::TooLong => {
                let limit = LONGEST_LINE >> 20;
                Item { id: None, text: Err(format!("the line is longer than {limit} MiB; split the text")) }
            }
        }
    }
}

fn utf8(line: Vec<u8>) -> Result<String, String> {
    String::from_utf8(line).map_err(|error| not_utf8("the line", error))
}

fn not_utf8(what: &str, error: FromUtf8Error) -> String {
    let at = error.utf8_error().valid_up_to() + 1;
    format!("{what} is not UTF-8: byte {at} of it begins no character; convert the input to UTF-8")
}

/// The fields of an object that mean something here, as they are written.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
}

fn object(line: &str) -> Item {
    const FORM: &str = "write a JSON string, or an object with \"text\" and perhaps \"id\"";
    let failed = |id, why| Item { id, text: Err(why) };
    let no_json = |error: serde_json::Error| {
        let what = if error.is_data() { "cannot be used" } else { "is not JSON" };
        failed(None, told(format!("the line {what}: {error}; {FORM}")))
    };
    let Fields { id, text } = match line.trim_start().chars().next() {
        None => return failed(None, format!("the line is blank; {FORM}")),
        Some('"') => {
            return serde_json::from_str(line).map_or_else(no_json, |text| Item { id: None, text: Ok(text) });
        }
        Some('{') => match serde_json::from_str(line) {
            Ok(fields) => fields,
            Err(error) => return no_json(error),
        },
        Some(_) => {
            return match serde_json::from_str::<&RawValue>(line) {
                Ok(_) => failed(None, format!("the line is neither a string nor an object; {FORM}")),
                Err(error) => no_json(error),
            };
        }
    };
    // Raw values begin with what they are.
    let id = match id.map(RawValue::get) {
        None | Some("null") => None,
        Some(written) if written.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) => {
            id.map(ToOwned::to_owned)
        }
        Some(_) => return failed(None, "\"id\" is neither a string nor a number".to_owned()),
    };
    let is_string = text.is_some_and(|text| text.get().starts_with('"'));
    match text.map(|text| serde_json::from_str::<String>(text.get())) {
        Some(Ok(text)) => Item { id, text: Ok(text) },
        // Half a surrogate pair, say: raw values are not looked into.
        Some(Err(error)) if is_string => {
            let told = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            let why = told.strip_suffix(&place).unwrap_or(&told);
            failed(id, format!("\"text\" is a string that cannot be read: {why}"))
        }
        Some(Err(_)) => failed(id, "\"text\" is not a string".to_owned()),
        None => failed(id, format!("the object has no \"text\"; {FORM}")),
    }
}

/// Where items come from.
pub(crate) enum Input {
    Texts(VecDeque<String>),
    Lines(Lines),
}

impl Input {
    /// Texts given as arguments, or those of a file (`-` is standard input).
    ///
    /// # Errors
    ///
    /// Neither or both, or a file that cannot be opened.
    pub(crate) async fn open(arguments: InputArgs) -> anyhow::Result<Self> {
        let InputArgs { input, input_format: format, texts } = arguments;
        let Some(file) = input.as_deref() else {
            if texts.is_empty() {
                return Err(Usage::new(
                    "no text is given: write TEXT, or --input FILE, or --input - for standard input",
                )
                .into());
            }
            if format.is_some() {
                return Err(
                    Usage::new("--input-format says how --input is read, and there is no --input").into()
                );
            }
            return Ok(Self::Texts(texts.into()));
        };
        if !texts.is_empty() {
            return Err(Usage::new("both TEXT and --input are given; give one of them").into());
        }
        let jsonl = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("jsonl"));
        let format = format.unwrap_or(if jsonl { InputFormat::Jsonl } else { InputFormat::Lines });
        if file == Path::new("-") {
            return Ok(Self::stdin(format));
        }
        let opened = async {
            let opened = tokio::fs::File::open(file).await?;
            let metadata = opened.metadata().await?;
            if metadata.is_dir() {
                return Err(std::io::ErrorKind::IsADirectory.into());
            }
            let size = metadata.is_file().then_some(metadata.len());
            Ok((opened, size))
        };
        let (opened, size) = opened.await.map_err(|error| cannot_read(file, error))?;
        Ok(Self::Lines(Lines::new(opened, file.to_owned(), size, format)))
    }

    /// The lines of standard input.
    pub(crate) fn stdin(format: InputFormat) -> Self {
        Self::Lines(Lines::new(tokio::io::stdin(), "standard input".into(), None, format))
    }

    /// The input's size in bytes, where it is known.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::Texts(_) => None,
            Self::Lines(lines) => lines.size,
        }
    }

    /// The next item, and the bytes of the input it took.
    ///
    /// # Errors
    ///
    /// The input cannot be read on.
    ///
    /// # Cancel safety
    ///
    /// Nothing read is lost.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<(Raw, u64)>> {
        match self {
            Self::Texts(texts) => Ok(texts.pop_front().map(|text| (Raw::Text(text), 0))),
            Self::Lines(lines) => lines.next().await.map_err(|error| cannot_read(&lines.name, error)),
        }
    }
}

/// All of standard input as one text, without the line end that most programs put last.
///
/// # Errors
///
/// It cannot be read, is no text or too long.
pub(crate) async fn stdin_text() -> anyhow::Result<String> {
    let read = whole(tokio::io::stdin()).await;
    read.map_err(|error| cannot_read(Path::new("standard input"), error))?.map_err(|why| anyhow!(why))
}

async fn whole(reader: impl AsyncRead + Unpin) -> std::io::Result<Result<String, String>> {
    let mut bytes = Vec::new();
    reader.take(LONGEST_TEXT as u64 + 1).read_to_end(&mut bytes).await?;
    if bytes.len() > LONGEST_TEXT {
        let limit = LONGEST_TEXT >> 20;
        return Ok(Err(format!("standard input is longer than {limit} MiB; shorten the text")));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    if bytes.starts_with(BYTE_ORDER_MARK) {
        bytes.drain(..BYTE_ORDER_MARK.len());
    }
    Ok(String::from_utf8(bytes).map_err(|error| not_utf8("standard input", error)))
}

fn cannot_read(path: &Path, error: std::io::Error) -> anyhow::Error {
    let told = match error.kind() {
        _ if path.as_os_str().is_empty() => {
            "--input is empty; name a file, or - for standard input".to_owned()
        }
        std::io::ErrorKind::NotFound => format!("{} does not exist; check --input", path.display()),
        std::io::ErrorKind::IsADirectory => format!("{} is a folder; --input names a file", path.display()),
        _ => format!("cannot read {}: {error}", path.display()),
    };
    anyhow!(error).context(told)
}

/// Splits what is read into lines, each of a bounded length.
pub(crate) struct Lines {
    reader: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
    name: PathBuf,
    size: Option<u64>,
    format: InputFormat,
    /// What has come of the next line.
    line: Vec<u8>,
    /// Bytes of the next line that were seen, kept or not.
    seen: u64,
    too_long: bool,
    first: bool,
}

impl Lines {
    fn new(
        reader: impl AsyncRead + Send + Unpin + 'static,
        name: PathBuf,
        size: Option<u64>,
        format: InputFormat,
    ) -> Self {
        let reader = BufReader::with_capacity(256 << 10, Box::new(reader) as _);
        Self { reader, name, size, format, line: Vec::new(), seen: 0, too_long: false, first: true }
    }

    /// State is changed only between two waits, so a future that is dropped loses nothing.
    async fn next(&mut self) -> std::io::Result<Option<(Raw, u64)>> {
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(if self.seen == 0 { None } else { Some(self.take()) });
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            // One more for a carriage return at the end.
            if !self.too_long && self.line.len() + part.len() <= LONGEST_LINE + 1 {
                self.line.extend_from_slice(part);
            } else {
                self.too_long = true;
                self.line = Vec::new();
            }
            let used = part.len() + usize::from(end.is_some());
            self.seen += used as u64;
            self.reader.consume(used);
            if end.is_some() {
                return Ok(Some(self.take()));
            }
        }
    }

    /// The line that is whole now.
    fn take(&mut self) -> (Raw, u64) {
        let seen = std::mem::take(&mut self.seen);
        let mut line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.too_long) {
            self.first = false;
            return (Raw::TooLong, seen);
        }
        // Line ends of Windows, and the mark that its editors put before UTF-8.
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if std::mem::take(&mut self.first) && line.starts_with(BYTE_ORDER_MARK) {
            line.drain(..BYTE_ORDER_MARK.len());
        }
        let raw = match self.format {
            InputFormat::Lines => Raw::Line(line),
            InputFormat::Jsonl => Raw::Json(line),
        };
        (raw, seen)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    async fn lines(bytes: &[u8], format: InputFormat) -> Vec<Result<String, String>> {
        // A pipe that holds seven bytes, so that lines span reads.
        let (mut writer, reader) = tokio::io::duplex(7);
        let write = async move { writer.write_all(bytes).await.unwrap() };
        let read = async move {
            let mut lines = Lines::new(reader, "test".into(), None, format);
            let mut texts = Vec::new();
            let mut total = 0;
            while let Some((raw, seen)) = lines.next().await.unwrap() {
                total += seen;
                texts.push(raw.parse().text);
            }
            assert_eq!(total, bytes.len() as u64);
            texts
        };
        tokio::join!(write, read).1
    }

    #[tokio::test]
    async fn a_blank_line_is_an_item_and_the_last_line_end_is_not() {
        let texts = |bytes: &'static [u8]| async move {
            lines(bytes, InputFormat::Lines).await.into_iter().map(Result::unwrap).collect::<Vec<_>>()
        };
        assert_eq!(texts(b"").await, Vec::<String>::new());
        assert_eq!(texts(b"\n").await, [""]);
        assert_eq!(texts(b"one\n\n  \nlast").await, ["one", "", "  ", "last"]);
        assert_eq!(texts(b"\xef\xbb\xbfone\r\ntwo\r\n\r\n").await, ["one", "two", ""]);
        assert_eq!(
            texts("a line that spans reads: 中文\n".as_bytes()).await,
            ["a line that spans reads: 中文"]
        );
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_line_fails_that_line_alone() {
        let read = lines(b"good\nb\xffad\ngood", InputFormat::Lines).await;
        assert!(read[0].is_ok() && read[2].is_ok());
        assert!(read[1].as_ref().unwrap_err().contains("byte 2 of it"), "{read:?}");
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_not_kept() {
        let mut bytes = vec![b'a'; LONGEST_LINE];
        bytes.extend_from_slice(b"\nshort\n");
        bytes.extend(std::iter::repeat_n(b'b', LONGEST_LINE + 3));
        bytes.extend_from_slice(b"\nlast\n");
        let mut lines = Lines::new(std::io::Cursor::new(bytes), "test".into(), None, InputFormat::Lines);
        let mut read = Vec::new();
        while let Some((raw, _)) = lines.next().await.unwrap() {
            assert!(lines.line.capacity() == 0);
            read.push(raw.parse().text.map(|text| text.len()));
        }
        assert_eq!(read[0], Ok(LONGEST_LINE));
        assert_eq!((&read[1], &read[3]), (&Ok(5), &Ok(4)));
        assert!(read[2].as_ref().unwrap_err().contains("longer than 16 MiB"), "{read:?}");
    }

    #[tokio::test]
    async fn a_whole_text_is_bounded_and_loses_the_last_line_end_alone() {
        let text = |bytes: &'static [u8]| async move { whole(bytes).await.unwrap() };
        assert_eq!(text(b"").await.unwrap(), "");
        assert_eq!(text(b"\xef\xbb\xbfa\r\nb\n\r\n").await.unwrap(), "a\r\nb\n");
        assert!(text(b"a\xff").await.unwrap_err().starts_with("standard input is not UTF-8: byte 2"));
        let longest = vec![b'a'; LONGEST_TEXT + 1];
        assert_eq!(whole(&longest[1..]).await.unwrap().map(|text| text.len()), Ok(LONGEST_TEXT));
        assert!(whole(&longest[..]).await.unwrap().unwrap_err().contains("longer than 16 MiB"));
    }

    #[test]
    fn json_lines_are_strings_or_objects() {
        let item = |line: &str| object(line);
        assert_eq!(item("\"a\\nb\"").text.unwrap(), "a\nb");
        let id = |line: &str| item(line).id.map(|id| id.get().to_owned());
        assert_eq!(item(r#"{"id": 7, "text": "t", "more": [1]}"#).text, Ok("t".to_owned()));
        assert_eq!(id(r#"{"id": null, "text": ""}"#), None);
        for written in ["7", "-1.50", "123456789012345678901234567890", "1e400", r#""\u0041 b""#] {
            assert_eq!(id(&format!(r#"{{"text": "t", "id": {written}}}"#)).as_deref(), Some(written));
        }
        for (line, wanted) in [
            ("", "blank"),
            ("  ", "blank"),
            ("[1]", "neither a string nor an object"),
            ("{", "not JSON"),
            (r#"{"id": "x"}"#, "has no \"text\""),
            (r#"{"text": 5}"#, "\"text\" is not a string"),
            (r#"{"text": "\ud800"}"#, "\"text\" is a string that cannot be read: "),
            (r#"{"text": "t", "id": [1]}"#, "neither a string nor a number"),
        ] {
            assert!(item(line).text.unwrap_err().contains(wanted), "{line}");
        }
        assert_eq!(id(r#"{"id": "x"}"#).as_deref(), Some(r#""x""#));
    }
}
