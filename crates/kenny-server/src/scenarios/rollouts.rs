//! Rollouts over agents that live their own lives.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::puppet::{Identity, Manner, Puppet};
use super::rig::Rig;

impl Rig {
    /// A new agent, connected.
    async fn puppet(&self, id: &str, manner: Manner) -> Puppet {
        let token = self.agent(id).await;
        self.puppet_of(id, token, manner, json!({})).await
    }

    /// A known agent, connected.
    async fn puppet_of(&self, id: &str, token: String, manner: Manner, meta: Value) -> Puppet {
        let tunnel = format!("{}/agent/ws", self.url.replace("http", "ws"));
        let identity =
            Identity { tunnel, id: id.to_owned(), token, meta, takes: std::time::Duration::ZERO };
        let puppet = Puppet::start(identity, manner);
        self.until_online(id, true).await;
        puppet
    }

    async fn started(&self, body: Value) -> String {
        let (status, rollout) = self.post("/rollouts", body).await;
        assert_eq!(status, 201, "{rollout}");
        rollout["id"].as_str().unwrap().to_owned()
    }

    /// Waits until a rollout stands like this; all of it.
    async fn rollout_is(&self, id: &str, state: &str) -> Value {
        self.until(&format!("/rollouts/{id}"), |it| it["rollout"]["state"] == state).await
    }

    async fn rollout_does(&self, id: &str, what: &str, body: Value) -> Value {
        let (status, rollout) = self.post(&format!("/rollouts/{id}/{what}"), body).await;
        assert!(status < 300, "{what}: {status} {rollout}");
        rollout
    }

    async fn change(&self, id: &str, change: Value) -> (u16, Value) {
        self.call("PATCH", &format!("/agents/{id}"), Some(change)).await
    }
}

/// To everybody, one canary first and nothing waited for.
fn canary_first(version: &str, canary: &str) -> Value {
    json!({
        "version": version, "selection": {"everyone": true},
        "strategy": {
            "stages": [{"to": {"agents": [canary]}, "bake_s": 0}, {"to": {"percent": 100}, "bake_s": 0}],
            "max_in_flight": 3, "tolerated": {}, "silent_after_s": 3600
        }
    })
}

fn now(version: &str) -> Value {
    json!({"version": version, "selection": {"everyone": true}, "preset": "now"})
}

fn member<'a>(detail: &'a Value, id: &str) -> &'a Value {
    let members = detail["members"].as_array().unwrap();
    members.iter().find(|member| member["agent_id"] == id).unwrap()
}

fn states(detail: &Value) -> Vec<(&str, &str)> {
    let members = detail["members"].as_array().unwrap().iter();
    let mut states: Vec<_> = members
        .map(|it| (it["agent_id"].as_str().unwrap(), it["state"].as_str().unwrap()))
        .collect();
    states.sort_unstable();
    states
}

#[tokio::test]
async fn a_rollout_brings_everybody_to_the_version_in_stages() {
    let rig = Rig::start().await;
    rig.release("1.1.0").await;
    let mut puppets = Vec::new();
    for number in 0..6 {
        puppets.push(rig.puppet(&format!("pc-{number}"), Manner::Obeys).await);
    }
    let (status, plan) = rig.post("/rollouts/plan", canary_first("1.1.0", "pc-3")).await;
    assert_eq!(status, 200, "{plan}");
    assert_eq!(plan["members"][0]["agent_id"], "pc-3");
    assert_eq!(plan["members"][0]["when"]["when"], "now");
    assert_eq!(plan["members"][1]["when"]["when"], "later");
    assert!(puppets.iter().all(|puppet| puppet.begun() == 0), "a plan begins nothing");

    let id = rig.started(canary_first("1.1.0", "pc-3")).await;
    let done = rig.rollout_is(&id, "completed").await;
    assert!(states(&done).iter().all(|(_, state)| *state == "succeeded"), "{done}");
    assert!(puppets.iter().all(|puppet| puppet.begun() == 1));
    assert_eq!(done["rollout"]["reason"], "6 PCs came to run 1.1.0");
    let seen = rig.get("/agents/pc-0").await;
    assert_eq!(seen["agent"]["desired_version"], json!(null), "its part is over");
    let update = &seen["updates"][0];
    assert_eq!((&update["origin"], &update["rollout"]), (&json!("rollout"), &json!(id)));
    let audited = rig.get("/audit?agent=pc-0&action=update.request").await;
    let row = &audited["rows"][0];
    assert_eq!((&row["face"], &row["facts"]["rollout"]), (&json!("rollout"), &json!(id)), "{row}");
    let listed = rig.get("/rollouts").await;
    assert_eq!(listed["rollouts"][0]["stages"][1]["succeeded"], 5);
    let kinds: Vec<String> = rig.kinds_of_rollouts().await;
    assert_eq!(kinds, ["rollout_started", "rollout_stage", "rollout_completed"]);
    rig.stop().await;
}

impl Rig {
    async fn kinds_of_rollouts(&self) -> Vec<String> {
        let read = |connection: &rusqlite::Connection| {
            crate::store::rows::events_after(connection, 0, None, 10_000)
        };
        let events = self.app.store.run(read).await.unwrap();
        let kinds = events.into_iter().map(|event| event.kind);
        kinds.filter(|kind| kind.starts_with("rollout_") && kind != "rollout_member").collect()
    }
}

#[tokio::test]
async fn when_the_canary_fails_the_rest_is_not_asked_until_it_is_forgiven() {
    let rig = Rig::start().await;
    rig.release("1.1.0").await;
    let canary = rig.puppet("canary", Manner::GoesBack).await;
    let others = [rig.puppet("pc-1", Manner::Obeys).await, rig.puppet("pc-2", Manner::Obeys).await];
    let id = rig.started(canary_first("1.1.0", "canary")).await;
    let halted = rig.rollout_is(&id, "halted").await;
    let reason = halted["rollout"]["reason"].as_str().unwrap();
    assert!(reason.contains("went back") && reason.contains("canary"), "{reason}");
    assert_eq!(member(&halted, "canary")["detail"], "it ended at once");
    assert_eq!(member(&halted, "canary")["state"], "rolled_back");
    // Nobody tries a bad version a second time, whatever time passes.
    for minutes in [10, 60, 600] {
        rig.look_in(minutes);
    }
    assert_eq!(rig.agent_view("canary").await["desired_version"], json!(null));
    assert_eq!((canary.begun(), others.iter().map(Puppet::begun).sum::<u32>()), (1, 0));

    let (status, problem) = rig.post(&format!("/rollouts/{id}/pause"), json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("rollout_halted")));
    rig.rollout_does(&id, "resume", json!({})).await;
    let done = rig.rollout_is(&id, "completed").await;
    assert_eq!(
        states(&done),
        [("canary", "rolled_back"), ("pc-1", "succeeded"), ("pc-2", "succeeded")]
    );
    assert_eq!(canary.begun(), 1);
    let (status, problem) = rig.post(&format!("/rollouts/{id}/resume"), json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("rollout_over")));
    rig.stop().await;
}

#[tokio::test]
async fn who_failed_gets_another_try_when_the_operator_says_so() {
    let rig = Rig::start().await;
    rig.release("1.1.0").await;
    let token = rig.agent("canary").await;
    let first = rig.puppet_of("canary", token.clone(), Manner::GoesBack, json!({})).await;
    let id = rig.started(canary_first("1.1.0", "canary")).await;
    rig.rollout_is(&id, "halted").await;
    drop(first);
    rig.until_online("canary", false).await;
    let second = rig.puppet_of("canary", token, Manner::Obeys, json!({})).await;
    rig.rollout_does(&id, "resume", json!({"retry_failed": true})).await;
    let done = rig.rollout_is(&id, "completed").await;
    assert_eq!(states(&done), [("canary", "succeeded")]);
    assert_eq!(second.begun(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn one_that_falls_silent_halts_it_and_counts_when_it_comes_back() {
    let rig = Rig::start().await;
    rig.release("1.1.0").await;
    let token = rig.agent("canary").await;
    let canary = rig.puppet_of("canary", token.clone(), Manner::Vanishes, json!({})).await;
    let other = rig.puppet("pc-1", Manner::Obeys).await;
    let mut wanted = canary_first("1.1.0", "canary");
    wanted["strategy"]["silent_after_s"] = json!(1);
    let id = rig.started(wanted).await;
    let halted = rig.rollout_is(&id, "halted").await;
    assert_eq!(member(&halted, "canary")["state"], "silent");
    assert!(halted["rollout"]["reason"].as_str().unwrap().contains("silent"), "{halted}");
    assert_eq!((canary.begun(), other.begun()), (1, 0));
    // It was on its way all the time.
    let _back = rig.online_0_3("canary", &token, "1.1.0", json!(null)).await;
    let path = format!("/rollouts/{id}");
    rig.until(&path, |it| member(it, "canary")["state"] == "succeeded").await;
    rig.rollout_does(&id, "resume", json!({})).await;
    rig.rollout_is(&id, "completed").await;
    assert_eq!(other.begun(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn one_that_was_away_gets_it_when_it_is_back_and_a_restart_moves_nobody() {
    let rig = Rig::start().await;
    rig.release("1.1.0").await;
    let away = rig.agent("away").await;
    let mut tokens = Vec::new();
    for number in 0..8 {
        tokens.push((format!("pc-{number}"), rig.agent(&format!("pc-{number}")).await));
    }
    let wanted = json!({
        "version": "1.1.0", "selection": {"everyone": true},
        "strategy": {
            "stages": [{"to": {"count": 2}, "bake_s": 0}, {"to": {"percent": 50}, "bake_s": 0}, {"to": {"percent": 100}, "bake_s": 0}],
            "max_in_flight": 3, "tolerated": {}, "silent_after_s": 3600
        }
    });
    let id = rig.started(wanted).await;
    let path = format!("/rollouts/{id}");
    let stages = |detail: &Value| {
        let members = detail["members"].as_array().unwrap().iter();
        let mut stages: Vec<(String, Value)> = members
            .map(|it| (it["agent_id"].as_str().unwrap().to_owned(), it["stage"].clone()))
            .collect();
        stages.sort_by(|one, other| one.0.cmp(&other.0));
        stages
    };
    let before = stages(&rig.get(&path).await);
    let rig = rig.restart().await;
    assert_eq!(stages(&rig.get(&path).await), before);
    let mut puppets = Vec::new();
    for (name, token) in &tokens {
        puppets.push(rig.puppet_of(name, token.clone(), Manner::Obeys, json!({})).await);
    }
    let waiting = rig
        .until(&path, |it| {
            states(it).iter().filter(|(_, state)| *state == "succeeded").count() == 8
        })
        .await;
    assert_eq!(waiting["rollout"]["state"], "running");
    assert_eq!(member(&waiting, "away")["when"]["when"], "offline");
    let rig = rig.restart().await;
    let after = rig.get(&path).await;
    assert_eq!(stages(&after), before);
    assert_eq!(states(&after), states(&waiting), "what happened stays");
    let late = rig.puppet_of("away", away, Manner::Obeys, json!({})).await;
    rig.rollout_is(&id, "completed").await;
    assert_eq!(late.begun(), 1);
    assert!(puppets.iter().all(|puppet| puppet.begun() == 1));
    rig.stop().await;
}

#[tokio::test]
async fn a_pause_holds_back_what_was_not_sent_and_a_cancelled_one_begins_nothing() {
    let rig = Rig::start().await;
    rig.release("1.1.0").await;
    let token = rig.agent("pc-1").await;
    let id = rig.started(now("1.1.0")).await;
    let paused = rig.rollout_does(&id, "pause", json!({})).await;
    assert_eq!(paused["state"], "paused");
    let puppet = rig.puppet_of("pc-1", token, Manner::Obeys, json!({})).await;
    let path = format!("/rollouts/{id}");
    rig.until(&path, |it| member(it, "pc-1")["when"]["when"] == "later").await;
    rig.rollout_does(&id, "resume", json!({})).await;
    rig.rollout_is(&id, "completed").await;
    assert_eq!(puppet.begun(), 1);

    rig.release("1.2.0").await;
    let away = rig.agent("away").await;
    let second = rig.started(canary_first("1.2.0", "away")).await;
    let cancelled = rig.rollout_does(&second, "cancel", json!({})).await;
    assert_eq!(cancelled["state"], "cancelled");
    assert!(cancelled["ended_at"].is_string());
    let late = rig.puppet_of("away", away, Manner::Obeys, json!({})).await;
    rig.until_online("away", true).await;
    assert_eq!((late.begun(), puppet.begun()), (0, 1));
    let shown = rig.get(&format!("/rollouts/{second}")).await;
    assert_eq!(shown["rollout"]["state"], "cancelled");
    rig.stop().await;
}

#[tokio::test]
async fn a_whole_rollout_goes_back_each_to_the_version_that_it_kept() {
    let rig = Rig::start().await;
    rig.release("1.1.0").await;
    let puppets =
        [rig.puppet("pc-1", Manner::Obeys).await, rig.puppet("pc-2", Manner::Obeys).await];
    let id = rig.started(now("1.1.0")).await;
    let (status, problem) = rig.post("/rollouts/x/roll-back", json!({})).await;
    assert_eq!((status, &problem["code"]), (404, &json!("unknown_rollout")));
    rig.rollout_is(&id, "completed").await;
    let back = rig.rollout_does(&id, "roll-back", json!({})).await;
    assert_eq!((&back["kind"], &back["version"]), (&json!("rollback"), &json!("1.1.0")));
    let back = back["id"].as_str().unwrap();
    let done = rig.rollout_is(back, "completed").await;
    assert!(states(&done).iter().all(|(_, state)| *state == "succeeded"), "{done}");
    for name in ["pc-1", "pc-2"] {
        assert_eq!(rig.agent_view(name).await["version"], "1.0.0");
    }
    assert!(puppets.iter().all(|puppet| puppet.begun() == 2));
    let (status, problem) = rig.post(&format!("/rollouts/{back}/roll-back"), json!({})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("is_rollback")));
    rig.stop().await;
}

#[tokio::test]
async fn a_pin_and_a_channel_keep_an_agent_out_and_the_plan_says_so() {
    let rig = Rig::start().await;
    rig.release("1.1.0").await;
    rig.release("1.2.0-beta.1").await;
    let pinned = rig.puppet("pinned", Manner::Obeys).await;
    let plain = rig.puppet("plain", Manner::Obeys).await;
    let (status, agent) = rig
        .change("pinned", json!({"pinned": "1.0.0", "group": "office", "labels": ["old"]}))
        .await;
    assert_eq!((status, &agent["settings"]["pinned"]), (200, &json!("1.0.0")), "{agent}");
    let (status, problem) = rig.change("plain", json!({"labels": ["two words"]})).await;
    assert_eq!((status, &problem["code"]), (400, &json!("bad_setting")));
    let (status, problem) = rig.post("/agents/pinned/updates", json!({"version": "1.1.0"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("pinned")));
    assert!(problem["detail"].as_str().unwrap().contains("--unpin"), "{problem}");

    let id = rig.started(now("1.1.0")).await;
    let done = rig.rollout_is(&id, "completed").await;
    assert_eq!(member(&done, "pinned")["when"], json!({"when": "never", "why": "pinned"}));
    assert_eq!((pinned.begun(), plain.begun()), (0, 1));
    let (_, plan) = rig.post("/rollouts/plan", now("1.2.0-beta.1")).await;
    assert_eq!(member(&plan, "plain")["when"], json!({"when": "never", "why": "channel"}));
    let (status, problem) = rig
        .post("/rollouts", json!({"version": "1.1.0", "selection": {"groups": ["attic"]}}))
        .await;
    assert_eq!((status, &problem["code"]), (409, &json!("nobody_selected")));
    let (status, problem) =
        rig.post("/rollouts", json!({"version": "1.1.0", "selection": {}})).await;
    assert_eq!((status, &problem["code"]), (400, &json!("bad_rollout")));

    rig.change("pinned", json!({"pinned": "", "channel": "beta"})).await;
    let office =
        json!({"version": "1.2.0-beta.1", "selection": {"groups": ["office"]}, "preset": "now"});
    let id = rig.started(office).await;
    let done = rig.rollout_is(&id, "completed").await;
    assert_eq!(states(&done), [("pinned", "succeeded")], "the group, and nobody else");
    let rig = rig.restart().await;
    let kept = rig.agent_view("pinned").await["settings"].clone();
    assert_eq!(kept, json!({"group": "office", "labels": ["old"], "channel": "beta"}));
    rig.stop().await;
}

#[tokio::test]
async fn a_window_is_in_the_pcs_own_time() {
    let rig = Rig::start().await;
    rig.release("1.1.0").await;
    let utc = Timestamp::now();
    let (here, there) = (rig.agent("here").await, rig.agent("there").await);
    // Their clocks are six hours apart, and the window is open where it is six hours later.
    let later = json!({"utc_offset_s": 6 * 3600});
    let here = rig.puppet_of("here", here, Manner::Obeys, json!({"utc_offset_s": 0})).await;
    let there = rig.puppet_of("there", there, Manner::Obeys, later).await;
    let clock = |hours: i64| {
        let at = utc.checked_add(SignedDuration::from_hours(hours)).unwrap();
        at.strftime("%H:%M:%S").to_string()
    };
    let mut wanted = now("1.1.0");
    wanted.as_object_mut().unwrap().remove("preset");
    wanted["strategy"] = json!({
        "stages": [{"to": {"percent": 100}, "bake_s": 0}], "max_in_flight": 3, "tolerated": {},
        "silent_after_s": 3600, "windows": [{"from": clock(5), "to": clock(8)}]
    });
    let id = rig.started(wanted).await;
    let path = format!("/rollouts/{id}");
    let seen = rig.until(&path, |it| member(it, "there")["state"] == "succeeded").await;
    assert_eq!(member(&seen, "here")["when"]["why"], "window", "{seen}");
    assert_eq!((here.begun(), there.begun()), (0, 1));
    rig.stop().await;
}

#[tokio::test]
async fn an_operators_word_and_a_newer_rollout_overtake() {
    let rig = Rig::start().await;
    for version in ["1.1.0", "1.2.0"] {
        rig.release(version).await;
    }
    let one = rig.agent("one").await;
    rig.agent("two").await;
    let old = rig.started(now("1.1.0")).await;
    rig.wanted("one", "1.2.0").await;
    let old_path = format!("/rollouts/{old}");
    let seen = rig.get(&old_path).await;
    assert_eq!(member(&seen, "one")["state"], "overtaken");
    assert_eq!(member(&seen, "two")["state"], "waiting");
    let new = rig
        .started(json!({"version": "1.2.0", "selection": {"agents": ["two"]}, "preset": "now"}))
        .await;
    let seen = rig.rollout_is(&old, "completed").await;
    assert_eq!(states(&seen), [("one", "overtaken"), ("two", "overtaken")]);
    let rig = rig.restart().await;
    assert_eq!(states(&rig.get(&old_path).await), states(&seen));
    let puppet = rig.puppet_of("one", one, Manner::Obeys, json!({})).await;
    rig.until("/agents/one", |it| it["agent"]["version"] == "1.2.0").await;
    assert_eq!(puppet.begun(), 1);
    let seen = rig.get(&format!("/rollouts/{new}")).await;
    assert_eq!(seen["rollout"]["state"], "running", "two is still away");
    rig.stop().await;
}

#[tokio::test]
async fn a_channels_policy_begins_a_rollout_when_a_release_is_published_and_once() {
    let rig = Rig::start().await;
    rig.release("1.1.0").await;
    let puppet = rig.puppet("pc-1", Manner::Obeys).await;
    assert_eq!(rig.get("/settings/channels").await, json!({"stable": null, "beta": null}));
    let (status, set) = rig.call("PUT", "/settings/channels", Some(json!({"stable": "now"}))).await;
    assert_eq!((status, set), (200, json!({"stable": "now", "beta": null})));
    rig.release("1.3.0-beta.1").await;
    rig.release("1.2.0").await;
    let list = rig.until("/rollouts", |it| it["rollouts"][0]["state"] == "completed").await;
    let rollout = &list["rollouts"][0];
    assert_eq!(
        (&rollout["version"], &rollout["started_by"], &rollout["preset"]),
        (&json!("1.2.0"), &json!("channel stable"), &json!("now"))
    );
    rig.until("/agents/pc-1", |it| it["agent"]["version"] == "1.2.0").await;
    let rig = rig.restart().await;
    assert_eq!(rig.get("/settings/channels").await["stable"], "now");
    rig.release("1.1.5").await;
    rig.until_online("pc-1", false).await;
    let list = rig.get("/rollouts").await;
    assert_eq!(list["rollouts"].as_array().unwrap().len(), 1, "older ones are nobody's wish");
    assert_eq!(puppet.begun(), 1);
    rig.stop().await;
}

#[tokio::test]
async fn what_is_not_the_versions_fault_is_tried_again_and_newcomers_join() {
    let rig = Rig::start().await;
    rig.release("1.1.0").await;
    let stumbler = rig.puppet("stumbler", Manner::Stumbles).await;
    let id = rig.started(canary_first("1.1.0", "stumbler")).await;
    let path = format!("/rollouts/{id}");
    rig.until("/agents/stumbler", |it| it["updates"][0]["state"] == "failed").await;
    let newcomer = rig.puppet("newcomer", Manner::Obeys).await;
    let seen = rig.until(&path, |it| it["members"].as_array().unwrap().len() == 2).await;
    assert_eq!(member(&seen, "newcomer")["stage"], 1, "whoever comes later is in the last");
    assert_eq!(member(&seen, "stumbler")["state"], "in_flight", "its network is no outcome");
    assert_eq!((stumbler.begun(), newcomer.begun()), (1, 0));
    rig.look_in(6);
    rig.rollout_is(&id, "completed").await;
    assert_eq!((stumbler.begun(), newcomer.begun()), (2, 1));
    let updates = rig.get("/agents/stumbler").await["updates"].clone();
    let origins: Vec<&Value> =
        updates.as_array().unwrap().iter().map(|update| &update["origin"]).collect();
    assert_eq!(origins, ["retry", "rollout"]);
    assert_eq!(updates[0]["rollout"], json!(id), "a retry is part of it");
    rig.stop().await;
}
