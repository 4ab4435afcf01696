//! The first words of an agent with a key: the server proves itself, then the agent, then the server accepts. Until then
//! nothing that comes is acted upon.

use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use kenny_proto::frames::{Challenge, Meta, Register};
use kenny_proto::{AgentFrame, Nonce, Parsed, ServerFrame};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use super::connect::Socket;
use super::session::{End, closed};
use crate::identity::{Pinned, random_bytes};

/// How long each of the server's two answers may take.
const LIMIT: Duration = Duration::from_secs(15);

/// Goes through it. The error is the end of the connection.
pub async fn introduce(
    sink: &mut SplitSink<Socket, Message>,
    source: &mut SplitStream<Socket>,
    pinned: &Pinned,
    meta: Meta,
) -> Result<(), End> {
    let nonce = Nonce(random_bytes());
    let register =
        Register { agent_id: pinned.agent_id().clone(), token: None, nonce: Some(nonce), meta };
    say(sink, &AgentFrame::Register(Box::new(register))).await?;
    let challenge = challenged(source).await?;
    let signature =
        pinned.answer(nonce, &challenge).map_err(|problem| End::Impostor(problem.to_string()))?;
    say(sink, &AgentFrame::Auth { signature }).await?;
    match next_frame(source, "accept this agent").await? {
        Some(ServerFrame::Welcome(welcome)) => {
            tracing::info!(session = %welcome.session, "the server accepted this agent");
            Ok(())
        }
        Some(
            ServerFrame::Challenge(_)
            | ServerFrame::Request(_)
            | ServerFrame::Cancel { .. }
            | ServerFrame::Ping
            | ServerFrame::Pong,
        )
        | None => Err(End::Lost("the server said something else than welcome".to_owned())),
    }
}

async fn challenged(source: &mut SplitStream<Socket>) -> Result<Challenge, End> {
    match next_frame(source, "prove itself").await? {
        Some(ServerFrame::Challenge(challenge)) => Ok(challenge),
        Some(
            ServerFrame::Welcome(_)
            | ServerFrame::Request(_)
            | ServerFrame::Cancel { .. }
            | ServerFrame::Ping
            | ServerFrame::Pong,
        )
        | None => Err(End::Impostor(
            "the server does not prove who it is, as the one does that this PC enrolled at"
                .to_owned(),
        )),
    }
}

async fn say(sink: &mut SplitSink<Socket, Message>, frame: &AgentFrame) -> Result<(), End> {
    let sent = sink.send(Message::text(frame.to_json())).await;
    sent.map_err(|error| End::Lost(error.to_string()))
}

/// The next frame; none where it is one of those that this version does not know.
async fn next_frame(
    source: &mut SplitStream<Socket>,
    what: &str,
) -> Result<Option<ServerFrame>, End> {
    let next = async {
        loop {
            let text = match source.next().await {
                None => return Err(End::Lost("the connection ended".to_owned())),
                Some(Err(error)) => return Err(End::Lost(error.to_string())),
                Some(Ok(Message::Close(frame))) => return Err(closed(frame)),
                Some(Ok(Message::Text(text))) => text,
                Some(Ok(Message::Binary(_))) => return Ok(None),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            };
            return match ServerFrame::parse(&text) {
                Ok(Parsed::Frame(frame)) => Ok(Some(frame)),
                Ok(Parsed::Unknown(_)) | Err(_) => Ok(None),
            };
        }
    };
    timeout(LIMIT, next).await.unwrap_or_else(|_| {
        Err(End::Lost(format!("the server did not {what} within {} s", LIMIT.as_secs())))
    })
}
