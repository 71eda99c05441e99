//! Pictures in requests: given in `data:` URLs, or named by URLs that are fetched where the operator allows it.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use imaging::EncodedImage;
use pool_core::Deadline;
use pool_core::memory_governor::Reservation;
use serde::Deserialize;

use super::AppState;
use super::errors::ApiError;
use super::json::claim;
use crate::remote_images::{FetchError, Fetched};

/// A picture as a request has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String", expecting = "a data: URL with a picture")]
pub(super) enum NamedPicture {
    /// The file itself.
    Given(Arc<[u8]>),
    /// Where the file is.
    At(String),
}

impl TryFrom<String> for NamedPicture {
    type Error = String;

    /// Reads what a `data:` URL holds: called where bodies are parsed, in a lane if they are long.
    fn try_from(url: String) -> Result<Self, String> {
        let scheme = |name: &str| url.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name));
        if scheme("http://") || scheme("https://") {
            return Ok(Self::At(url));
        }
        let bytes = imaging::data_url(&url).map_err(|error| error.to_string())?;
        Ok(Self::Given(bytes.into()))
    }
}

/// A request's own pictures are within the limit of its body; of others' it names so many at most.
const MOST_FETCHED: usize = 32;
/// Pictures of one request that are fetched at once: a quarter of all places.
const FETCHED_AT_ONCE: usize = 4;

/// A request's pictures, in order, their headers looked at. `name` says what the request calls each.
///
/// # Errors
///
/// 400 for a URL that is not fetched, or whose server does not give a picture; 408 where the deadline passes before; 429
/// where there is no room for them.
pub(super) async fn read(
    app: &AppState,
    pictures: Vec<NamedPicture>,
    deadline: Deadline,
    name: impl Fn(usize) -> String,
) -> Result<Vec<EncodedImage>, ApiError> {
    let named = pictures.iter().filter(|picture| matches!(picture, NamedPicture::At(_))).count();
    if named > MOST_FETCHED {
        let message = format!(
            "{named} pictures are named by URL, and at most {MOST_FETCHED} are fetched; send data: URLs"
        );
        return Err(refused(message));
    }
    let file = async |(index, picture)| file(app, picture).await.map_err(|error| error.at(&name(index)));
    let files = stream::iter(pictures.into_iter().enumerate()).map(file).buffered(FETCHED_AT_ONCE);
    let files = files.try_collect::<Vec<_>>();
    let files = match deadline.instant() {
        None => files.await?,
        Some(deadline) => tokio::time::timeout_at(deadline, files).await.unwrap_or_else(|_| {
            Err(ApiError::timeout("the deadline passed before the pictures were fetched; allow more time"))
        })?,
    };
    // From here on their memory is counted where the job is admitted.
    Ok(files.into_iter().map(|(image, _held)| image).collect())
}

/// A picture, and the memory that it takes if it was fetched.
async fn file(
    app: &AppState,
    picture: NamedPicture,
) -> Result<(EncodedImage, Option<Reservation>), ApiError> {
    let limits = app.image_limits;
    let url = match picture {
        NamedPicture::Given(bytes) => return Ok((EncodedImage::with_limits(bytes, limits), None)),
        NamedPicture::At(url) => url,
    };
    let Some(remote) = &app.remote_images else {
        return Err(refused(
            "this server fetches no pictures from URLs; send the picture as a data: URL, or set images.remote in the server's configuration",
        ));
    };
    let Fetched { bytes, held } =
        remote.fetch(&url, app.engine.governor()).await.map_err(|error| match error {
            FetchError::Busy | FetchError::NoMemory => ApiError::overloaded(error.to_string(), RETRY),
            error => refused(error.to_string()),
        })?;
    let shared = move || EncodedImage::with_limits(&*bytes, limits);
    Ok((app.engine.lanes().prepare(&claim(), shared).await?, Some(held)))
}

/// When there may be room again.
const RETRY: Duration = Duration::from_secs(1);

fn refused(message: impl Into<String>) -> ApiError {
    ApiError::invalid("invalid_image_url", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_in_the_url_or_at_it() {
        let read = |url: &str| NamedPicture::try_from(url.to_owned());
        assert!(
            matches!(read("data:image/gif;base64,R0lGODlh"), Ok(NamedPicture::Given(bytes)) if *bytes == *b"GIF89a")
        );
        assert!(matches!(read("HTTPS://example.org/a.png"), Ok(NamedPicture::At(_))));
        for wrong in ["a.png", "file:///a.png", "", "data:image/png", "data:;base64,***"] {
            assert!(read(wrong).unwrap_err().contains("data:"), "{wrong}");
        }
    }
}
