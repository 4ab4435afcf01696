//! Tool calls, and the catalogue of tools.

use std::sync::Arc;
use std::time::Duration;

use kenny_proto::api::{NewUpdate, ToolCall, ToolList, ToolOutcome, ToolView};
use kenny_proto::audit::AuditOutcome;
use kenny_proto::frames::{ErrorCode, ToolError};
use kenny_proto::tools::{
    AGENT_ROLLBACK, AGENT_UPDATE, ArgError, CATALOGUE, POWERSHELL_EXEC, ToolSpec,
};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::updates::{Holds, Requested};
use super::{Action, Operator, OpsError, Permit, rollback, updates};
use crate::app::App;
use crate::audit::{Facts, Subject, kept_arguments};
use crate::events::kind;
use crate::fleet::AgentEntry;
use crate::metrics::{CallLabels, ToolLabel};
use crate::rollout::{Answer, STAGING_TIME};
use crate::tunnel::{Outcome, Session};

/// How long a call is waited for when the operator does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
/// The most that an operator may say.
const MAX_TIMEOUT: Duration = Duration::from_hours(1);
/// What a script's own time limit gets on top, so that the agent's answer about it still arrives.
const SCRIPT_GRACE: Duration = Duration::from_secs(10);

/// Every tool.
pub fn list(app: &App, operator: &Operator) -> Result<ToolList, OpsError> {
    operator.may(app, Action::ListTools, Subject::default())?;
    Ok(ToolList {
        tools: CATALOGUE
            .iter()
            .map(|tool| ToolView {
                name: tool.name.to_owned(),
                description: tool.description.to_owned(),
                changes: tool.changes,
                input_schema: tool.input_schema(true),
            })
            .collect(),
    })
}

/// Calls a tool of an agent and waits for what it comes to. `name` is in either spelling.
pub async fn call(
    app: &Arc<App>,
    operator: &Operator,
    id: &str,
    name: &str,
    call: ToolCall,
) -> Result<ToolOutcome, OpsError> {
    let tool = ToolSpec::find(name).ok_or_else(|| OpsError::UnknownTool(name.to_owned()))?;
    let subject = Subject::agent(id).and(tool.name);
    let permit = operator.may(app, Action::calling(tool), subject)?;
    let entry = permit.agent(app, id)?;
    let started = Instant::now();
    let called = async {
        match tool.name {
            AGENT_UPDATE if !is_complete(&call.args) => {
                update(app, operator, &entry, &call.args).await
            }
            AGENT_ROLLBACK => go_back(app, operator, &entry, &call.args).await,
            _ => forward(app, &permit, &entry, tool, call).await,
        }
    };
    let result = tokio::select! {
        biased;
        result = called => result,
        // Whoever may not ask any more is told nothing any more.
        () = operator.until_over(app) => Err(OpsError::OverMeanwhile),
    };
    let duration = started.elapsed();
    let word = match &result {
        Ok(Ok(_)) => "ok",
        Ok(Err(_)) => "error",
        Err(OpsError::Timeout { .. }) => "timeout",
        Err(OpsError::AgentOffline(_) | OpsError::RollbackOffline { .. }) => "offline",
        Err(OpsError::ConnectionLost(_)) => "connection_lost",
        Err(OpsError::OverMeanwhile) => "asker_gone",
        // Refused before anything was sent: not a call.
        Err(_) => return result.map(|outcome| outcome_view(outcome, duration)),
    };
    // The answer to what the reconciler sent is counted there.
    if !matches!(tool.name, AGENT_UPDATE | AGENT_ROLLBACK) {
        app.metrics.calls.get_or_create(&CallLabels { tool: tool.name, outcome: word }).inc();
    }
    app.metrics
        .call_seconds
        .get_or_create(&ToolLabel { tool: tool.name })
        .observe(duration.as_secs_f64());
    app.events.room().await;
    let summary = format!(
        "{} on {id} by {}: {word} after {} ms",
        tool.name,
        operator.face().as_str(),
        duration.as_millis()
    );
    app.events.publish(kind::TOOL_CALLED, Some(&entry.id), summary);
    result.map(|outcome| outcome_view(outcome, duration))
}

fn outcome_view(outcome: Outcome, duration: Duration) -> ToolOutcome {
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Ok(result) => ToolOutcome { ok: true, result: Some(result), error: None, duration_ms },
        Err(error) => ToolOutcome { ok: false, result: None, error: Some(error), duration_ms },
    }
}

/// Sends a call and waits. Its row in the audit log is there before it goes out, and its outcome after.
async fn forward(
    app: &App,
    permit: &Permit<'_>,
    entry: &AgentEntry,
    tool: &ToolSpec,
    call: ToolCall,
) -> Result<Outcome, OpsError> {
    let prepared = permit.carry_out(app, async { prepare(entry, tool, &call) }).await;
    let (session, time) = prepared?;
    let record = permit.call(app, kept_arguments(tool, &call.args), tool.changes).await?;
    let started = Instant::now();
    let cancelled = app.stopping.cancelled();
    let result = tokio::select! {
        result = session.call(&record, tool.name, call.args, time) => {
            result.map_err(|error| OpsError::from_call(entry.id.as_str(), error))
        }
        // A server that goes down does not wait a day for an update to be staged.
        () = cancelled, if tool.name == AGENT_UPDATE => {
            Err(OpsError::ConnectionLost(entry.id.to_string()))
        }
    };
    let (outcome, code) = match &result {
        Ok(Ok(_)) => (AuditOutcome::Ok, None),
        Ok(Err(error)) => (AuditOutcome::Error, Some(error.code.as_str())),
        Err(error @ OpsError::AgentOffline(_)) => (AuditOutcome::Refused, Some(error.facts().0)),
        Err(error) => (AuditOutcome::Unknown, Some(error.facts().0)),
    };
    let mut facts = Facts::from([("ms".to_owned(), started.elapsed().as_millis().to_string())]);
    facts.extend(code.map(|code| ("code".to_owned(), code.to_owned())));
    record.end(outcome, facts).await;
    result
}

fn prepare(
    entry: &AgentEntry,
    tool: &ToolSpec,
    call: &ToolCall,
) -> Result<(Arc<Session>, Duration), OpsError> {
    tool.check(&call.args)?;
    let time = time_limit(tool, call)?;
    let session = entry.session().ok_or_else(|| OpsError::AgentOffline(entry.id.to_string()))?;
    Ok((session, time))
}

fn time_limit(tool: &ToolSpec, call: &ToolCall) -> Result<Duration, OpsError> {
    if let Some(timeout_ms) = call.timeout_ms {
        let time = Duration::from_millis(timeout_ms);
        if time.is_zero() || time > MAX_TIMEOUT {
            let max_ms = u64::try_from(MAX_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
            return Err(OpsError::BadTimeout { max_ms });
        }
        return Ok(time);
    }
    Ok(match tool.name {
        AGENT_UPDATE => STAGING_TIME,
        POWERSHELL_EXEC => {
            let script = call.args.get("timeout_s").and_then(Value::as_u64);
            let script = script.map_or(DEFAULT_TIMEOUT, Duration::from_secs);
            script.min(MAX_TIMEOUT) + SCRIPT_GRACE
        }
        _ => DEFAULT_TIMEOUT,
    })
}

/// True when the operator says where to get the executable; it is then forwarded as it is.
fn is_complete(args: &Map<String, Value>) -> bool {
    args.contains_key("url") || args.contains_key("sha256")
}

/// `agent.update` with a version alone: an intent like any other, whose staging reply is waited for.
async fn update(
    app: &Arc<App>,
    operator: &Operator,
    entry: &Arc<AgentEntry>,
    args: &Map<String, Value>,
) -> Result<Outcome, OpsError> {
    let id = entry.id.as_str();
    let version = match args.get("version") {
        Some(Value::String(version)) => version.clone(),
        Some(_) => return Err(bad("version", "must be a string")),
        None => return Err(bad("version", "is missing")),
    };
    if entry.session().is_none() {
        return Err(OpsError::AgentOffline(id.to_owned()));
    }
    let holds = match args.get("allow_quarantined") {
        Some(Value::Bool(true)) => Holds::Overruled,
        None | Some(Value::Null | Value::Bool(false)) => Holds::Respected,
        Some(_) => return Err(bad("allow_quarantined", "must be true or false")),
    };
    let wanted = NewUpdate { version: version.clone(), allow_downgrade: false };
    let (requested, answer) = updates::request_and_send(app, operator, id, &wanted, holds).await?;
    let (Requested::Created(update) | Requested::Standing(update)) = requested;
    let Some(answer) = answer else {
        return Ok(if update.state == kenny_proto::api::UpdateState::Succeeded {
            Ok(Map::from_iter([
                ("ok".to_owned(), true.into()),
                ("staged_version".to_owned(), update.version.into()),
                ("detail".to_owned(), format!("the agent already runs {version}").into()),
            ]))
        } else {
            Err(ToolError::new(
                ErrorCode::ExecFailed,
                format!("the update to {version} is under way already; follow it as {}", update.id),
            ))
        });
    };
    let warning = updates::warning(app, &update);
    let outcome = answered(app, id, answer).await?;
    Ok(outcome.map(|mut result| {
        result.extend(warning.map(|warning| ("warning".to_owned(), warning.into())));
        result
    }))
}

/// `agent.rollback`: the same as the operator's action of that name, whose staging reply is waited for.
async fn go_back(
    app: &Arc<App>,
    operator: &Operator,
    entry: &Arc<AgentEntry>,
    args: &Map<String, Value>,
) -> Result<Outcome, OpsError> {
    let id = entry.id.as_str();
    if args.get("update_id").is_some_and(|id| !id.is_null()) {
        return Err(bad("update_id", "is made by the server; leave it out"));
    }
    let (update, answer) = rollback::request_and_send(app, operator, id).await?;
    let Some(answer) = answer else {
        return Ok(Err(ToolError::new(
            ErrorCode::ExecFailed,
            format!("the rollback is not sent yet; follow it as {}", update.id),
        )));
    };
    answered(app, id, answer).await
}

async fn answered(app: &App, id: &str, answer: Answer) -> Result<Outcome, OpsError> {
    let lost = || OpsError::ConnectionLost(id.to_owned());
    tokio::select! {
        answer = answer => match answer {
            Ok(result) => result.map_err(|error| OpsError::from_call(id, error)),
            Err(_) => Err(lost()),
        },
        () = app.stopping.cancelled() => Err(lost()),
    }
}

fn bad(field: &str, problem: &str) -> OpsError {
    OpsError::BadArgs(ArgError { field: field.to_owned(), problem: problem.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(tool: &str, args: Value, timeout_ms: Option<u64>) -> Option<Duration> {
        let Value::Object(args) = args else { panic!("not an object") };
        time_limit(ToolSpec::find(tool).unwrap(), &ToolCall { args, timeout_ms }).ok()
    }

    #[test]
    fn a_script_may_take_its_own_time() {
        use serde_json::json;
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(limit("fs.list", json!({}), None), seconds(60));
        assert_eq!(limit("fs.list", json!({}), Some(1500)), Some(Duration::from_millis(1500)));
        assert_eq!(limit("fs.list", json!({}), Some(0)), None);
        assert_eq!(limit("fs.list", json!({}), Some(3_600_001)), None);
        assert_eq!(limit("powershell.exec", json!({}), None), seconds(70));
        assert_eq!(limit("powershell.exec", json!({"timeout_s": 600}), None), seconds(610));
        assert_eq!(limit("agent.update", json!({}), None), seconds(24 * 60 * 60));
    }
}
