//! `response_format`: what an answer must look like.

use language_model::ResponseFormat;
use serde::Deserialize;
use serde_json::Value;

/// The parameter, as OpenAI spells it.
#[derive(Deserialize)]
#[serde(try_from = "Spelled")]
pub(super) struct Format(pub(super) ResponseFormat);

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object such as {\"type\": \"json_object\"}")]
struct Spelled {
    r#type: String,
    #[serde(default)]
    json_schema: Option<JsonSchema>,
}

/// The schema. What it is called and said to be is for the reader of the request; an answer always follows it, strict
/// or not.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with name and schema")]
struct JsonSchema {
    #[serde(default, rename = "name")]
    _name: Option<String>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    schema: Value,
    #[serde(default, rename = "strict")]
    _strict: Option<bool>,
}

impl TryFrom<Spelled> for Format {
    type Error = String;

    fn try_from(spelled: Spelled) -> Result<Self, String> {
        let format = match (spelled.r#type.as_str(), spelled.json_schema) {
            ("json_schema", Some(JsonSchema { schema, .. })) => ResponseFormat::schema(schema),
            ("json_schema", None) => {
                return Err("type is \"json_schema\", and json_schema is missing".to_owned());
            }
            ("text" | "json_object", Some(_)) => {
                return Err("json_schema is for type \"json_schema\"; leave it out".to_owned());
            }
            ("text", None) => ResponseFormat::Text,
            ("json_object", None) => ResponseFormat::JsonObject,
            (other, _) => {
                return Err(format!(
                    "type {other:?} is none of \"text\", \"json_object\" and \"json_schema\""
                ));
            }
        };
        Ok(Self(format))
    }
}
