//! A form with pictures in it: `multipart/form-data` (RFC 7578).

use std::convert::Infallible;

use bytes::Bytes;
use futures::future::{self, FutureExt as _};
use futures::stream;
use multer::{Field, Multipart};
use serde_json::{Map, Number, Value};

use crate::failure::shortened;
use crate::http::errors::ApiError;

/// What the form says.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// As a JSON request would have it. A field that is empty has its default, as one that is `null` there; but a text may
    /// be empty.
    pub(super) said: Map<String, Value>,
    pub(super) image: Option<Bytes>,
    pub(super) mask: Option<Bytes>,
}

/// What a field's text stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meaning {
    Text,
    Word,
    Number,
    Truth,
}

use Meaning::{Number as N, Text as T, Truth as B, Word as W};

/// Every field that is no file.
const FIELDS: [(&str, Meaning); 19] = [
    ("model", W),
    ("prompt", T),
    ("negative_prompt", T),
    ("n", N),
    ("size", W),
    ("steps", N),
    ("guidance", N),
    ("seed", N),
    ("scheduler", W),
    ("strength", N),
    ("output_format", W),
    ("output_compression", N),
    ("response_format", W),
    ("background", W),
    ("quality", W),
    ("moderation", W),
    ("stream", B),
    ("partial_images", N),
    ("user", W),
];

/// A field's name that a client made up may be as long as its body.
const LONGEST_NAME: usize = 200;

impl Form {
    /// Takes a whole body apart. Belongs in a lane.
    ///
    /// # Errors
    ///
    /// 400 where it is no such form, or has a field that is not known or is there twice.
    pub(super) fn read(body: Vec<u8>, boundary: String) -> Result<Self, ApiError> {
        // All of it is there, so there is nothing to wait for.
        let read = Self::of_parts(Bytes::from(body), boundary).now_or_never();
        read.unwrap_or_else(|| Err(ApiError::internal("the form was not read in one go")))
    }

    async fn of_parts(body: Bytes, boundary: String) -> Result<Self, ApiError> {
        let body = stream::once(future::ready(Ok::<_, Infallible>(body)));
        let mut parts = Multipart::new(body, boundary);
        let mut form = Self::default();
        while let Some(part) = parts.next_field().await.map_err(|error| broken(&error))? {
            form.add(part).await?;
        }
        Ok(form)
    }

    async fn add(&mut self, part: Field<'_>) -> Result<(), ApiError> {
        let Some(name) = part.name().map(str::to_owned) else {
            return Err(ApiError::invalid("invalid_form", "a part of the form has no name"));
        };
        let content = async || part.bytes().await.map_err(|error| broken(&error));
        match name.as_str() {
            "image" | "image[]" if self.image.is_some() => {
                let message = "the form has several images, and one is edited; send one";
                Err(ApiError::invalid("invalid_value", message).param("image"))
            }
            "image" | "image[]" => {
                self.image = Some(content().await?);
                Ok(())
            }
            "mask" if self.mask.is_some() => Err(twice("mask")),
            "mask" => {
                self.mask = Some(content().await?);
                Ok(())
            }
            name => {
                let Some((name, meaning)) = FIELDS.into_iter().find(|(known, _)| *known == name) else {
                    return Err(unknown(name));
                };
                if self.said.contains_key(name) {
                    return Err(twice(name));
                }
                let content = content().await?;
                let text = std::str::from_utf8(&content).map_err(|_| {
                    ApiError::invalid("invalid_value", format!("{name} is not UTF-8")).param(name)
                })?;
                self.said.insert(name.to_owned(), meaning.of(text));
                Ok(())
            }
        }
    }
}

impl Meaning {
    /// What is not what it should be stays a text, and is refused where the request is read.
    fn of(self, text: &str) -> Value {
        match self {
            Self::Text => text.into(),
            _ if text.is_empty() => Value::Null,
            Self::Word => text.into(),
            Self::Number => {
                let number = serde_json::from_str::<Number>(text);
                number.map_or_else(|_| text.into(), Value::Number)
            }
            Self::Truth => text.parse::<bool>().map_or_else(|_| text.into(), Value::Bool),
        }
    }
}

fn broken(error: &multer::Error) -> ApiError {
    ApiError::invalid("invalid_form", format!("the body is not the form that its content-type says: {error}"))
}

fn twice(name: &str) -> ApiError {
    ApiError::invalid("invalid_value", format!("{name} is in the form twice; send it once")).param(name)
}

fn unknown(name: &str) -> ApiError {
    let name = shortened(name, LONGEST_NAME);
    let known: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
    let message =
        format!("parameter {name} is not supported; supported are image, mask, {}", known.join(", "));
    ApiError::invalid("unknown_parameter", message).param(name.as_ref())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn form(parts: &[(&str, &str)]) -> Vec<u8> {
        let parts = parts.iter().map(|(name, content)| {
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}\r\n")
        });
        format!("{}--b--\r\n", parts.collect::<String>()).into_bytes()
    }

    fn read(body: Vec<u8>) -> Result<Form, String> {
        Form::read(body, "b".to_owned()).map_err(|error| error.body())
    }

    #[test]
    fn fields_are_what_they_would_be_as_json() {
        let parts = [
            ("model", "sd"),
            ("prompt", "5"),
            ("n", "2"),
            ("guidance", "7.5"),
            ("seed", "18446744073709551615"),
            ("stream", "true"),
            ("steps", "NaN"),
            ("partial_images", "many"),
            ("size", ""),
            ("negative_prompt", ""),
            ("strength", ""),
            ("image", "picture"),
            ("mask", "mask"),
        ];
        let form = read(form(&parts)).unwrap();
        let wanted = json!({
            "model": "sd", "prompt": "5", "n": 2, "guidance": 7.5, "seed": u64::MAX, "stream": true, "steps": "NaN",
            "partial_images": "many", "size": null, "strength": null, "negative_prompt": "",
        });
        assert_eq!(Value::Object(form.said), wanted);
        assert_eq!(
            (form.image.as_deref(), form.mask.as_deref()),
            (Some(&b"picture"[..]), Some(&b"mask"[..]))
        );
    }

    #[test]
    fn what_is_no_such_form_is_refused() {
        let whole = form(&[("prompt", "a fox"), ("image", "picture")]);
        assert!(read(whole.clone()).is_ok());
        for length in 0..whole.len() - "--\r\n".len() {
            let told = read(whole[..length].to_vec()).unwrap_err();
            assert!(told.contains("invalid_form"), "{length}: {told}");
        }
        for (parts, told) in [
            (&[("prompt", "a"), ("prompt", "b")][..], "prompt is in the form twice"),
            (&[("image", "a"), ("image[]", "b")], "several images"),
            (&[("mask", "a"), ("mask", "b")], "mask is in the form twice"),
            (&[("style", "vivid")], "parameter style is not supported"),
        ] {
            let error = read(form(parts)).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
        let mut latin = form(&[("prompt", "?")]);
        let at = latin.iter().position(|byte| *byte == b'?').unwrap();
        latin[at] = 0xff;
        assert!(read(latin).unwrap_err().contains("prompt is not UTF-8"));
        let nameless = b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n".to_vec();
        assert!(read(nameless).unwrap_err().contains("has no name"));
    }
    proptest::proptest! {
        #[test]
        fn a_spoiled_form_is_read_or_refused_in_one_line(
            spoils in proptest::collection::vec((proptest::num::usize::ANY, proptest::num::u8::ANY, 0..3_u8), 1..6),
        ) {
            let mut body = form(&[("prompt", "a fox"), ("n", "2"), ("image", "--b\r\n\r\n"), ("mask", "\u{1f98a}")]);
            for (at, byte, kind) in spoils {
                let at = at % body.len();
                match kind {
                    0 => body[at] = byte,
                    1 => body.insert(at, byte),
                    _ => drop(body.remove(at)),
                }
            }
            if let Err(told) = read(body) {
                let error: Value = serde_json::from_str(&told).unwrap();
                let message = error["error"]["message"].as_str().unwrap();
                proptest::prop_assert!(!message.is_empty() && !message.contains('\n') && message.len() < 2000, "{told}");
                proptest::prop_assert!(error["error"]["code"] != "model_failure", "{told}");
            }
        }
    }
}
