//! The installer of one invitation: the released agent with the invitation inside.

use std::io;

use aws_lc_rs::digest;
use axum::body::Bytes;
use kenny_core::invitation::{self, CarryError};
use kenny_proto::api::Release;
use kenny_proto::{AgentId, Invitation, Sha256Digest};
use tokio::task::spawn_blocking;

use crate::auth;
use crate::releases::ReleaseFiles;

/// How much is handed to the connection at a time.
const SLICE_BYTES: usize = 256 * 1024;

/// Why there is no installer.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The data folder lacks the file.
    #[error(
        "the artifact of the release {0} is not in the server's data directory; add the release once more"
    )]
    Gone(String),
    /// The data folder cannot be read.
    #[error("the server cannot read the artifact of a release")]
    Unreadable(#[source] io::Error),
    /// The release takes no invitation.
    #[error("the release {version} cannot carry an invitation")]
    Carry {
        /// Which.
        version: String,
        /// Why not.
        source: CarryError,
    },
}

/// An installer, in the pieces that it is sent in. All but the first and the last are the release as it lies.
#[derive(Debug)]
pub struct Setup {
    pieces: Vec<Bytes>,
}

impl Setup {
    /// Puts the invitation into the released agent.
    pub async fn make(
        files: &ReleaseFiles,
        release: &Release,
        invitation: &Invitation,
    ) -> Result<Self, SetupError> {
        let whole = files.artifact(release.sha256).await.map_err(SetupError::Unreadable)?;
        let whole = whole.ok_or_else(|| SetupError::Gone(release.version.clone()))?;
        let (own_sha256, text) = (release.sha256, invitation.to_json());
        // The checksum of an executable is a sum over all of it.
        let made = spawn_blocking(move || {
            let carrying = invitation::put(&whole, own_sha256, text.as_bytes(), auth::sha256)?;
            let mut body = whole.slice_ref(carrying.body);
            let mut pieces = vec![Bytes::from(carrying.head)];
            while !body.is_empty() {
                pieces.push(body.split_to(body.len().min(SLICE_BYTES)));
            }
            pieces.push(Bytes::from(carrying.tail));
            Ok(Self { pieces })
        });
        let made = made.await.map_err(|error| SetupError::Unreadable(io::Error::other(error)))?;
        made.map_err(|source| SetupError::Carry { version: release.version.clone(), source })
    }

    /// Its size.
    pub fn size_bytes(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// Its digest.
    pub fn sha256(&self) -> Sha256Digest {
        let mut context = digest::Context::new(&digest::SHA256);
        for piece in &self.pieces {
            context.update(piece);
        }
        Sha256Digest(context.finish().as_ref().try_into().expect("a SHA-256 has 32 bytes"))
    }

    /// Its bytes, in their order.
    pub fn into_pieces(self) -> Vec<Bytes> {
        self.pieces
    }
}

/// How the installer for an agent is called. Windows takes neither the `:` nor the `@` of an id everywhere.
pub fn file_name(agent_id: &AgentId) -> String {
    let name: String = agent_id
        .as_str()
        .chars()
        .map(|letter| if b":@".iter().any(|odd| char::from(*odd) == letter) { '-' } else { letter })
        .collect();
    format!("kenny-agent-setup-{name}.exe")
}

/// What an operator pastes at the PC, into PowerShell as administrator: it downloads the installer to where only
/// administrators write, checks its digest, installs by the invitation inside, and removes the file.
pub fn powershell(
    page: &str,
    file_name: &str,
    release: Sha256Digest,
    setup: Sha256Digest,
) -> String {
    format!(
        "$f=\"$env:windir\\Temp\\kenny-$([guid]::NewGuid()).exe\"; [Net.ServicePointManager]::SecurityProtocol='Tls12'; \
         $ProgressPreference='SilentlyContinue'; Invoke-WebRequest -UseBasicParsing '{page}/{file_name}?release={release}' \
         -OutFile $f -ErrorAction Stop; if ((Get-FileHash $f -Algorithm SHA256).Hash -eq '{setup}') {{ & $f install }} \
         else {{ Write-Error 'This is not the file that was offered; invite once more.' }}; Remove-Item $f"
    )
}

#[cfg(test)]
mod tests {
    use kenny_core::invitation::find;
    use kenny_proto::{Arch, Os};

    use super::*;
    use crate::releases::test_image::{TempFolder, pieces, signed_agent};

    #[test]
    fn the_name_is_one_that_windows_takes() {
        let name = |id: &str| file_name(&id.parse().unwrap());
        assert_eq!(name("annas-pc"), "kenny-agent-setup-annas-pc.exe");
        assert_eq!(name("a@b:9"), "kenny-agent-setup-a-b-9.exe");
    }

    #[test]
    fn the_line_for_powershell_is_one_line_and_checks_before_it_runs() {
        let digest = |byte| Sha256Digest([byte; 32]);
        let line = powershell("https://kenny.example/invite/CODE", "a.exe", digest(1), digest(2));
        assert!(!line.contains('\n'), "{line}");
        let (check, run) = (line.find(&"02".repeat(32)), line.find("& $f install"));
        assert!(check.is_some() && check < run, "{line}");
        assert!(line.contains(&format!("CODE/a.exe?release={}'", "01".repeat(32))), "{line}");
    }

    #[tokio::test]
    async fn the_installer_is_the_release_with_the_invitation_inside() {
        let folder = TempFolder::new();
        let files = ReleaseFiles::open(folder.path()).unwrap();
        let own = signed_agent();
        let received = files.receive(pieces(&own)).await.unwrap();
        let mut release = Release {
            withdrawn_at: None,
            version: "1.2.3".to_owned(),
            os: Os::Windows,
            arch: Arch::X86_64,
            sha256: received.sha256,
            size_bytes: received.size_bytes,
            added_at: jiff::Timestamp::UNIX_EPOCH,
            signer: None,
        };
        received.publish().await.unwrap();
        let text = r#"{"v":1,"server":"wss://kenny.example/agent/ws","agent_id":"annas-pc",
            "code":"7K2M-9QXT-4HBC-W0ZD-3NVR-8JFP-6SYA","server_key":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
            "expires_at":"2026-11-26T10:00:00Z"}"#;
        let invitation = Invitation::parse(text).unwrap();
        let setup = Setup::make(&files, &release, &invitation).await.unwrap();
        let (sha256, size_bytes) = (setup.sha256(), setup.size_bytes());
        let whole: Vec<u8> = setup.into_pieces().concat();
        assert_eq!((auth::sha256(&whole), whole.len()), (sha256, size_bytes));
        let found = find(&whole, auth::sha256).unwrap().unwrap();
        assert_eq!(found.text(), invitation.to_json().as_bytes());
        assert_eq!(found.without(auth::sha256).unwrap(), own);
        release.sha256 = Sha256Digest([0; 32]);
        let gone = Setup::make(&files, &release, &invitation).await;
        assert!(matches!(gone, Err(SetupError::Gone(_))), "{gone:?}");
    }
}
