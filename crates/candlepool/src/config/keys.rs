//! Who may ask: API keys, their names and their highest priorities.

use std::path::Path;

use anyhow::bail;
use pool_core::Priority;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// A key, without the key itself: a digest that it is compared by.
#[derive(Clone, Debug)]
pub(crate) struct ApiKey {
    digest: [u8; 32],
    /// Whom it stands for: the unit of fair sharing, and what logs say in the key's place.
    pub(crate) name: String,
    /// Requests that ask for a higher class get this one.
    pub(crate) highest: Priority,
}

/// All keys. Without any, everybody may ask.
#[derive(Clone, Default, Debug)]
pub(crate) struct Keys(Vec<ApiKey>);

impl Keys {
    /// A file's keys, one a line: `KEY [name=NAME] [priority=low|normal|high|critical]`; and those given as flags.
    ///
    /// # Errors
    ///
    /// The first line that is wrong; its key is never repeated in the message.
    pub(crate) fn parse(file: Option<(&Path, &str)>, flags: &[String]) -> anyhow::Result<Self> {
        let mut keys = Self::default();
        if let Some((path, text)) = file {
            for (index, line) in text.lines().enumerate() {
                let line = line.trim();
                if !line.is_empty() && !line.starts_with('#') {
                    let place = format!("{} line {}", path.display(), index + 1);
                    keys.add(&place, line)?;
                }
            }
            if keys.0.is_empty() {
                bail!(
                    "{} holds no keys, so nobody could ask; write one a line, or leave api_keys_file out",
                    path.display()
                );
            }
        }
        for (index, key) in flags.iter().enumerate() {
            if key.split_whitespace().count() != 1 {
                bail!("--api-key number {} is empty or has blanks in it; give one key a flag", index + 1);
            }
            keys.add(&format!("--api-key number {}", index + 1), key)?;
        }
        Ok(keys)
    }

    fn add(&mut self, place: &str, line: &str) -> anyhow::Result<()> {
        let mut words = line.split_whitespace();
        let key = words.next().unwrap_or_default();
        if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("{place}: a key is made of printable ASCII characters");
        }
        let digest = digest(key);
        if self.0.iter().any(|other| other.digest == digest) {
            bail!("{place}: this key was given before; remove one of the two");
        }
        let mut added =
            ApiKey { digest, name: format!("key-{}", self.0.len() + 1), highest: Priority::Critical };
        for word in words {
            match word.split_once('=') {
                Some(("name", name)) if !name.is_empty() => added.name = name.to_owned(),
                Some(("priority", priority)) => match priority.parse() {
                    Ok(priority) => added.highest = priority,
                    Err(error) => bail!("{place}: {error}"),
                },
                _ => bail!("{place}: after the key, write name=NAME or priority=low|normal|high|critical"),
            }
        }
        if self.0.iter().any(|other| other.name == added.name) {
            bail!("{place}: the name {:?} was given to another key; each needs its own", added.name);
        }
        self.0.push(added);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that was sent, if it is one. Takes as long whichever it is, and however much of it is right.
    pub(crate) fn find(&self, sent: &str) -> Option<&ApiKey> {
        let sent = digest(sent);
        let mut found = None;
        for key in &self.0 {
            if bool::from(key.digest.ct_eq(&sent)) {
                found = Some(key);
            }
        }
        found
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Keys, String> {
        Keys::parse(Some((Path::new("keys.txt"), text)), &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_is_a_key_with_a_name_and_a_priority() {
        let keys =
            parse("# ours\n\nsk-one\n  sk-two name=batch priority=low  \nsk-three priority=High\n").unwrap();
        let found = |sent: &str| keys.find(sent).map(|key| (key.name.as_str(), key.highest));
        assert_eq!(found("sk-one"), Some(("key-1", Priority::Critical)));
        assert_eq!(found("sk-two"), Some(("batch", Priority::Low)));
        assert_eq!(found("sk-three"), Some(("key-3", Priority::High)));
        for wrong in ["", "sk-on", "sk-onee", "SK-ONE", "name=batch"] {
            assert_eq!(found(wrong), None);
        }
        assert!(!format!("{keys:?}").contains("sk-"));
    }

    #[test]
    fn mistakes_are_told_with_their_line_and_without_the_key() {
        for (text, wanted) in [
            ("sk-a\nsk-a\n", "keys.txt line 2: this key was given before"),
            ("sk-a priority=urgent\n", "keys.txt line 1: unknown priority \"urgent\""),
            ("sk-a alice\n", "keys.txt line 1: after the key, write name=NAME"),
            ("sk-a name=\n", "keys.txt line 1: after the key, write name=NAME"),
            ("sk-a name=x\nsk-b name=x\n", "keys.txt line 2: the name \"x\""),
            ("sk-ä\n", "keys.txt line 1: a key is made of printable ASCII"),
            ("# nothing\n", "keys.txt holds no keys"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(wanted) && !error.contains("sk-"), "{error}");
        }
        assert!(Keys::parse(None, &["a b".to_owned()]).is_err());
        assert!(Keys::parse(None, &[String::new()]).is_err());
        assert!(Keys::parse(None, &[]).unwrap().is_empty());
    }
}
