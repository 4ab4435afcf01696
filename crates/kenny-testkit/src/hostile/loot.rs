//! What attackers could have got hold of: a link to a release, as an agent is sent it, and a token.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::ClientConfig;
use serde_json::json;

use super::fleet::dial;
use super::front::Loot;
use crate::client::Client;

/// An agent that is asked to update, and passes the link on.
const TRAITOR: &str = "traitor";

/// Adds the release, has the server send its link to an agent, and takes it from there.
pub async fn gather(
    client: &Client,
    trust: Option<&Arc<ClientConfig>>,
    release: &Path,
) -> Result<Loot> {
    let added = client.add_release(release).await?;
    let created = client.create_legacy_agent(TRAITOR).await?;
    let mut traitor = dial(&created.server, trust).await?;
    traitor.introduce(TRAITOR, &created.token, "0.0.1").await?;
    traitor.answers_pings().await?;
    client.update(TRAITOR, &added.release.version, false).await?;
    let request = traitor.frame("request").await?;
    let url = request["args"]["url"].as_str().context("an update has a link")?;
    let artifact = url.strip_prefix(client.base()).context("a link is of the server's own")?;
    traitor.answer(&request, json!({ "ok": true })).await?;
    Ok(Loot { artifact: artifact.to_owned(), token: client.token().to_owned() })
}
