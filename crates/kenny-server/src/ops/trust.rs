//! Signed releases: how trust stands, publishing what offline keys signed, the server's own key.

use std::collections::HashMap;
use std::error::Error as StdError;

use axum::body::Bytes;
use futures_util::Stream;
use jiff::Timestamp;
use kenny_core::image;
use kenny_proto::Sha256Digest;
use kenny_proto::api::ReleaseSigner;
use kenny_proto::trust::{OnlineKey, Publication, Published, TARGETS_PATH, TrustStatus};

use super::{Action, Operator, OpsError, Permit, releases};
use crate::app::App;
use crate::audit::{Facts, Subject};
use crate::events::kind;
use crate::releases::{file_name, signer_of};
use crate::trust::{Refusal, Target};

/// How long a link lives that a target's address leads to: whoever follows it does so at once.
const LINK_LIFE_S: i64 = 15 * 60;

/// How trust stands.
pub fn status(app: &App, operator: &Operator) -> Result<TrustStatus, OpsError> {
    operator.may(app, Action::ShowTrust, Subject::default())?;
    Ok(app.trust.status(Timestamp::now()))
}

/// What offline keys signed, for whoever signs on top of it.
pub fn metadata(app: &App, operator: &Operator) -> Result<Publication, OpsError> {
    operator.may(app, Action::ReadTrustMetadata, Subject::default())?;
    Ok(app.trust.offline())
}

/// Takes the executable of a target in. It is no release before it is signed.
pub async fn take_artifact<E>(
    app: &App,
    operator: &Operator,
    announced: Sha256Digest,
    body: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<(), OpsError>
where
    E: Into<Box<dyn StdError + Send + Sync>>,
{
    let subject = Subject::named(&announced.to_string());
    let permit = operator.may(app, Action::TakeTargetArtifact, subject)?;
    let take = async {
        let received = app.releases.files.receive(body).await?;
        if received.sha256 != announced {
            return Err(OpsError::OtherArtifact { found: received.sha256, announced });
        }
        Ok(received.publish().await?)
    };
    permit.carry_out(app, take).await?;
    // The file is named by its content: it may be there without a row, and counts for nothing before it is signed.
    Ok(permit.change(app, Facts::new(), |_| Ok(())).await?)
}

/// Takes what offline keys signed in the place of what is there, and makes releases of its targets. All of it or
/// nothing; the same again changes nothing.
pub async fn publish(
    app: &App,
    operator: &Operator,
    publication: Publication,
) -> Result<Published, OpsError> {
    let permit = operator.may(app, Action::PublishTrust, Subject::default())?;
    permit.carry_out(app, take_over(app, &permit, publication)).await
}

async fn take_over(
    app: &App,
    permit: &Permit<'_>,
    publication: Publication,
) -> Result<Published, OpsError> {
    let now = Timestamp::now();
    // Nobody adds or removes a release, or publishes, from here on.
    let _changing = app.releases.changing().await;
    let targets = app.trust.check(&publication, now)?.targets()?;
    let signed_before = app.trust.targets();
    let mut signers = HashMap::new();
    let is_new = |target: &&Target| !signed_before.iter().any(|old| old.sha256 == target.sha256);
    for target in targets.iter().filter(is_new) {
        signers.insert(target.sha256, check_artifact(app, target).await?);
    }
    let changes = releases::changes(app, (&signed_before, &targets), &signers, now)?;
    let (root_version, targets_version) = app
        .trust
        .publish(permit.store(app), &publication, changes.clone(), permit.row(Facts::new()), now)
        .await?;
    releases::published(app, &changes, now);
    let added = changes.added;
    let summary = format!(
        "{} published signed metadata: root {root_version}, targets {targets_version}",
        permit.account()
    );
    tracing::info!(root_version, targets_version, "{summary}");
    app.events.publish(kind::TRUST_CHANGED, None, summary);
    Ok(Published { root_version, targets_version, added })
}

/// Makes the key that takes the place of the one that signs snapshot and timestamp, once a root names it.
pub async fn make_online_key(app: &App, operator: &Operator) -> Result<OnlineKey, OpsError> {
    let permit = operator.may(app, Action::MakeOnlineKey, Subject::default())?;
    Ok(app.trust.make_next_key(permit.store(app), permit.row(Facts::new())).await?)
}

/// A link to the executable of a target. `path` is its name with the digest before the file's, as consistent snapshots
/// have it.
pub fn target_link(app: &App, operator: &Operator, path: &str) -> Result<String, OpsError> {
    operator.may(app, Action::FetchTarget, Subject::named(path))?;
    let targets = app.trust.targets();
    let found = targets.iter().find(|target| {
        let (folder, file) = target.name.rsplit_once('/').expect("a target's name has four parts");
        format!("{folder}/{}.{file}", target.sha256) == path
    });
    let Some(target) = found else {
        return Err(OpsError::UnknownTarget(format!("{TARGETS_PATH}{path}")));
    };
    let custom = &target.custom;
    let name = file_name(&custom.version.to_string(), custom.os, custom.arch);
    let expires_at = Timestamp::from_second(Timestamp::now().as_second() + LINK_LIFE_S)
        .expect("the clock is not at the end of time");
    Ok(app.releases.signer.path(target.sha256, &name, expires_at))
}

/// Reads the artifact of a target once more, from the disk, and holds it against what was signed. Whom it names as the
/// signer of its Authenticode signature.
async fn check_artifact(app: &App, target: &Target) -> Result<Option<ReleaseSigner>, OpsError> {
    let Target { name, sha256, size_bytes, custom } = target;
    let bytes = app
        .releases
        .files
        .artifact(*sha256)
        .await
        .map_err(crate::releases::ReceiveError::Storage)?
        .ok_or_else(|| Refusal::ArtifactMissing { name: name.clone(), sha256: *sha256 })?;
    let differs = |why: String| Refusal::ArtifactDiffers { name: name.clone(), why };
    if bytes.len() as u64 != *size_bytes {
        return Err(differs(format!("it has {} bytes, not {size_bytes}", bytes.len())).into());
    }
    let found = tokio::task::spawn_blocking(move || {
        (crate::auth::sha256(&bytes), image::read_facts(&bytes), signer_of(&bytes))
    });
    let (digest, facts, signer) = found
        .await
        .map_err(std::io::Error::other)
        .map_err(crate::releases::ReceiveError::Storage)?;
    if digest != *sha256 {
        return Err(differs(format!("the file in the data folder has the sha256 {digest}")).into());
    }
    let facts = facts.map_err(|error| differs(error.to_string()))?;
    if (&facts.version, facts.os, facts.arch) != (&custom.version, custom.os, custom.arch) {
        return Err(differs(format!(
            "the executable says that it is {} for {} on {}",
            facts.version, facts.os, facts.arch
        ))
        .into());
    }
    Ok(signer)
}
