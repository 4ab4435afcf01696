//! What happens because time passes: the server's own signatures are renewed, and the operator is told when offline
//! keys have to sign anew.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kenny_proto::trust::{Expiry, TrustRole};
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::events::kind;
use crate::store::Right;

/// Between two looks. What is renewed has hours left.
const ROUND: Duration = Duration::from_mins(5);

/// Days before the end at which it is told again.
const TOLD_AT_DAYS: [i64; 3] = [30, 7, 1];

/// By this, the server renews what it signs itself.
struct Renewing;

impl Right for Renewing {}

/// Looks again and again, for ever; the first time at once.
pub async fn run(app: &Arc<App>) {
    let mut watch = Watch::default();
    let mut ticks = tokio::time::interval(ROUND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = Timestamp::now();
        match app.trust.renew(app.store.by(&Renewing), now).await {
            Ok(true) => {
                tracing::info!("snapshot and timestamp of the signed metadata were renewed");
            }
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "snapshot and timestamp of the signed metadata could not be renewed");
            }
        }
        for summary in watch.look(&app.trust.status(now).roles, now) {
            tracing::warn!("{summary}");
            app.events.publish(kind::TRUST_EXPIRING, None, summary);
        }
    }
}

/// Remembers what was told.
#[derive(Debug, Default)]
struct Watch {
    /// By role: the version that it was told of, and how many of [`TOLD_AT_DAYS`] and the end were past.
    told: HashMap<String, (u64, usize)>,
}

impl Watch {
    /// What is to be told now: once at each of the days before an end, and once more at the end.
    fn look(&mut self, roles: &[TrustRole], now: Timestamp) -> Vec<String> {
        let due = |role: &&TrustRole| {
            if role.expiry == Expiry::Far {
                return false;
            }
            let days = role.expires.duration_since(now).as_secs().div_euclid(24 * 60 * 60);
            let past = TOLD_AT_DAYS.iter().filter(|told_at| days <= **told_at).count()
                + usize::from(role.expiry == Expiry::Past);
            let told = self.told.insert(role.role.clone(), (role.version, past));
            told.is_none_or(|told| told.0 != role.version || told.1 < past)
        };
        roles.iter().filter(due).map(summary).collect()
    }
}

fn summary(role: &TrustRole) -> String {
    let TrustRole { role: name, version, expires, .. } = role;
    let remedy = match name.as_str() {
        "root" => "sign the next one with `kenny keys rotate` and publish it",
        "targets" => "sign it anew with `kenny release sign --renew` and publish it",
        _ => "this server renews it by itself and could not: its log says why",
    };
    let end = expires.strftime("%Y-%m-%d %H:%M:%SZ");
    let what = if role.expiry == Expiry::Past {
        format!("expired at {end}: agents that pin the root refuse updates")
    } else {
        format!("expires at {end}")
    };
    format!("version {version} of the {name} metadata {what}; {remedy}")
}

#[cfg(test)]
mod tests {
    use kenny_core::trust as core;

    use super::*;

    #[test]
    fn an_end_is_told_at_each_stage_once_and_anew_for_the_next_version() {
        let day = |day: i64| Timestamp::from_second(day * 24 * 60 * 60).unwrap();
        let role = |version, expires, now| TrustRole {
            role: "root".to_owned(),
            version,
            expires,
            expiry: core::expiry(expires, core::OFFLINE_NEAR, now),
            threshold: 1,
            key_ids: Vec::new(),
        };
        let mut watch = Watch::default();
        let told: Vec<i64> = (0..110)
            .filter(|now| !watch.look(&[role(1, day(100), day(*now))], day(*now)).is_empty())
            .collect();
        assert_eq!(told, [70, 93, 99, 100]);
        assert_eq!(watch.look(&[role(2, day(400), day(110))], day(110)), Vec::<String>::new());
        let [told] = &watch.look(&[role(2, day(111), day(110))], day(110))[..] else {
            panic!("told once")
        };
        assert!(
            told.contains("version 2 of the root") && told.contains("kenny keys rotate"),
            "{told}"
        );
    }
}
