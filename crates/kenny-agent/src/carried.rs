//! The invitation that this executable carries, where it was downloaded from a page of invitation.

use std::io;
use std::path::Path;

use kenny_core::invitation::{self, CarryError};
use kenny_proto::Invitation;

use crate::update::sha256_of;

/// An executable that carries an invitation.
#[derive(Debug)]
pub struct Carried {
    /// The invitation.
    pub invitation: Invitation,
    /// The executable without it: what was released, to the byte, and what is installed.
    pub executable: Vec<u8>,
}

/// The invitation inside cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CarriedError {
    /// The file cannot be read.
    #[error("could not read this program's own file")]
    Unreadable(#[source] io::Error),
    /// What stands in it is damaged.
    #[error(transparent)]
    Damaged(#[from] CarryError),
    /// What stands in it is no invitation.
    #[error("the invitation inside cannot be used; ask for a new one")]
    NoInvitation(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Looks into an executable; none where it carries none.
pub fn look_into(executable: &Path) -> Result<Option<Carried>, CarriedError> {
    let bytes = std::fs::read(executable).map_err(CarriedError::Unreadable)?;
    let Some(found) = invitation::find(&bytes, sha256_of)? else { return Ok(None) };
    let text = std::str::from_utf8(found.text())
        .map_err(|error| CarriedError::NoInvitation(error.into()))?;
    let invitation =
        Invitation::parse(text).map_err(|error| CarriedError::NoInvitation(error.into()))?;
    Ok(Some(Carried { invitation, executable: found.without(sha256_of)? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executable_without_an_invitation_has_none_and_a_damaged_one_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kenny-agent-setup.exe");
        fs_err::write(&path, b"MZ and no more").unwrap();
        assert!(look_into(&path).unwrap().is_none());
        fs_err::write(&path, b"MZ and the end of one kenny-invitation").unwrap();
        assert!(matches!(look_into(&path), Err(CarriedError::Damaged(_))));
        assert!(matches!(look_into(folder.path()), Err(CarriedError::Unreadable(_))));
    }
}
