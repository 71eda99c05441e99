//! What a socket's address says after its path.

use axum::extract::Query;
use axum::http::Uri;

use crate::http::errors::ApiError;

/// What clients of Azure's send besides: the keys have been read, and there is one version.
const ELSEWHERE: [&str; 3] = ["api-key", "Authorization", "api-version"];

/// The values of these names, in their order; each at most once.
///
/// # Errors
///
/// 400 for a name that is not known or comes twice.
pub(super) fn values<const N: usize>(uri: &Uri, known: [&str; N]) -> Result<[Option<String>; N], ApiError> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|error| ApiError::invalid("invalid_value", format!("the query cannot be read: {error}")))?;
    let mut values = [const { None }; N];
    for (name, value) in pairs {
        let Some(place) = known.iter().position(|known| *known == name) else {
            if ELSEWHERE.contains(&name.as_str()) {
                continue;
            }
            let message = format!("the query's {name} is not supported; known are {}", known.join(", "));
            return Err(ApiError::invalid("unknown_parameter", message).param(name));
        };
        if values[place].replace(value).is_some() {
            return Err(ApiError::invalid("invalid_value", format!("{name} is given twice")).param(name));
        }
    }
    Ok(values)
}

/// The value, which must be given.
pub(super) fn required(value: Option<String>, name: &str, example: &str) -> Result<String, ApiError> {
    value.filter(|value| !value.is_empty()).ok_or_else(|| {
        let message = format!("{name} is missing; connect to {example}");
        ApiError::invalid("missing_parameter", message).param(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let read =
            |query: &str| values(&format!("/v1/realtime?{query}").parse().unwrap(), ["model", "deployment"]);
        let model = |name: &str| [Some(name.to_owned()), None];
        assert_eq!(read("model=a%2Fb+c&api-version=1&api-key=k").unwrap(), model("a/b c"));
        assert_eq!(read("").unwrap(), [None, None]);
        for (wrong, param) in [("model=a&intent=transcription", "intent"), ("model=a&model=b", "model")] {
            assert!(read(wrong).unwrap_err().body().contains(&format!("\"param\":\"{param}\"")), "{wrong}");
        }
        assert!(required(Some(String::new()), "model", "x").is_err());
    }
}
