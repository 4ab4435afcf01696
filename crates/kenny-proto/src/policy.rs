//! What somebody at a PC decided for it, as the agent tells it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Somebody at the PC paused its agent: tools that change something are refused there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pause {
    /// Since when, by the PC's clock.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub since: Timestamp,
    /// Until when; until somebody there resumes it when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime))]
    pub until: Option<Timestamp>,
    /// Why, where somebody said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Pause {
    /// True while it holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// The telemetry section that tells of it.
pub const POLICY_SECTION: &str = "policy";
/// The member of that section which holds the [`Pause`], or null.
pub const PAUSED_FIELD: &str = "paused";
