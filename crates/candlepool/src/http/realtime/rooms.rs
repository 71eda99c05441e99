//! `GET /rooms/{name}`: a room with everybody who is in it.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use chat_realtime::delivery;
use chat_realtime::room::{ClientName, JoinError, Joining, Position};

use super::Upgrade;
use super::query::{required, values};
use crate::http::App;
use crate::http::envelope::Terms;
use crate::http::errors::ApiError;

/// A room or a place in it may be free by then.
const AGAIN: Duration = Duration::from_secs(5);

/// Joins a room.
pub(in crate::http) async fn join(
    State(app): State<App>,
    Extension(terms): Extension<Terms>,
    Path(room): Path<String>,
    uri: Uri,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    let [client, name, epoch, seq] = values(&uri, ["client", "name", "epoch", "seq"])?;
    let client = required(client, "client", "/rooms/ROOM?client=NAME")?;
    let joining = Joining {
        client: ClientName::new(&client).map_err(refusal)?,
        name: name.unwrap_or_default(),
        position: position(epoch, seq)?,
        principal: terms.caller.principal(None),
        priority: terms.priority,
        limits: delivery::Limits::default(),
    };
    let talk = app.talk.as_ref().ok_or_else(|| ApiError::internal("there are no conversations here"))?;
    let (upgrade, admitted) = match app.sockets.admit(&terms, upgrade) {
        Ok(admitted) => admitted,
        Err(response) => return Ok(*response),
    };
    let connection = talk.rooms().join(&room, joining).await.map_err(refusal)?;
    Ok(app.sockets.carry(upgrade, Some(admitted), connection))
}

/// What a client has already.
fn position(epoch: Option<String>, seq: Option<String>) -> Result<Option<Position>, ApiError> {
    let (epoch, seq) = match (epoch, seq) {
        (Some(epoch), Some(seq)) => (epoch, seq),
        (None, None) => return Ok(None),
        _ => {
            let message = "epoch and seq go together; send both of the last event, or neither";
            return Err(ApiError::invalid("invalid_value", message).param("seq"));
        }
    };
    let seq = seq.parse().map_err(|_| {
        ApiError::invalid("invalid_value", format!("seq is {seq:?}; send the last event's, a whole number"))
            .param("seq")
    })?;
    Ok(Some(Position { epoch, seq }))
}

fn refusal(error: JoinError) -> ApiError {
    let message = error.to_string();
    match error {
        JoinError::InvalidName { .. } => ApiError::invalid("invalid_value", message),
        JoinError::NameTaken { .. } => ApiError::invalid("name_taken", message).param("client"),
        JoinError::Full { .. } | JoinError::TooManyRooms { .. } => {
            ApiError::unavailable("room_full", message, AGAIN)
        }
        JoinError::TooFast { retry_after } => ApiError::overloaded(message, retry_after),
        JoinError::Store(_) => ApiError::unavailable("history_unavailable", message, AGAIN),
        JoinError::ShuttingDown => ApiError::shutting_down(),
        _ => ApiError::internal(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_given_whole_or_not_at_all() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(position(None, None).unwrap(), None);
        let given = position(text("e"), text("7")).unwrap();
        assert_eq!(given, Some(Position { epoch: "e".to_owned(), seq: 7 }));
        for (epoch, seq) in [(None, text("7")), (text("e"), None), (text("e"), text("-1"))] {
            assert!(position(epoch, seq).unwrap_err().body().contains("\"param\":\"seq\""));
        }
    }
}
