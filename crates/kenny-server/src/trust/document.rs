//! One file of metadata: its bytes, and what they say.

use axum::body::Bytes;
use jiff::Timestamp;
use kenny_proto::trust::MAX_METADATA_BYTES;
use serde::de::DeserializeOwned;
use tough::schema::{Role, RoleType, Root, Signed};

use super::Refusal;

/// One file of metadata. Its bytes are what is served: other metadata names their digest.
#[derive(Debug, Clone)]
pub struct Document<T> {
    /// As it is served.
    pub bytes: Bytes,
    /// What it says, with the signatures.
    pub content: Signed<T>,
}

impl<T: Role + DeserializeOwned> Document<T> {
    /// Reads a file. Who signed it is not looked at.
    pub fn read(bytes: impl Into<Bytes>) -> Result<Self, Refusal> {
        let bytes = bytes.into();
        if bytes.len() as u64 > MAX_METADATA_BYTES {
            return Err(Refusal::TooLarge { role: T::TYPE });
        }
        let content = serde_json::from_slice(&bytes)
            .map_err(|source| Refusal::Unreadable { role: T::TYPE, source })?;
        Ok(Self { bytes, content })
    }
}

impl<T: Role> Document<T> {
    /// Writes metadata out.
    pub fn write(content: Signed<T>) -> Self {
        let mut bytes =
            serde_json::to_vec_pretty(&content).expect("metadata has string keys and no floats");
        bytes.push(b'\n');
        Self { bytes: bytes.into(), content }
    }

    /// The version.
    pub fn version(&self) -> u64 {
        self.content.signed.version().get()
    }

    /// Until when clients take it.
    pub fn expires(&self) -> Timestamp {
        // tough has another version of the crate.
        let expires = self.content.signed.expires();
        Timestamp::from_nanosecond(expires.as_nanosecond()).unwrap_or(Timestamp::MAX)
    }

    /// The name that it is served under.
    pub fn file_name(&self) -> String {
        self.content.signed.filename(true)
    }

    /// Checks that enough of the role's keys signed it, by what `root` says of the role.
    pub fn check_signatures(&self, root: &Document<Root>) -> Result<(), Refusal> {
        let role = T::TYPE;
        let Some(keys) = root.content.signed.roles.get(&role) else {
            return Err(Refusal::RoleMissing { root: root.version(), role });
        };
        root.content.signed.verify_role(&self.content).map_err(|source| Refusal::Signatures {
            role,
            version: self.version(),
            root: root.version(),
            threshold: keys.threshold.get(),
            why: source.to_string(),
        })
    }

    /// Checks that its end has not come.
    pub fn check_expiry(&self, now: Timestamp) -> Result<(), Refusal> {
        if self.expires() > now {
            return Ok(());
        }
        let (role, version, expires) = (T::TYPE, self.version(), self.expires());
        Err(Refusal::Expired { role, version, expires })
    }
}

/// The word for a role in the API and the database.
pub fn role_name(role: RoleType) -> &'static str {
    match role {
        RoleType::Root => "root",
        RoleType::Snapshot => "snapshot",
        RoleType::Targets => "targets",
        RoleType::Timestamp => "timestamp",
        RoleType::DelegatedTargets => "delegated targets",
    }
}
