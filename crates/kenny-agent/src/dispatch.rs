//! Routes requests to tools. Each runs on a task of its own; the answer goes to the connection that asked.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use jiff::Timestamp;
use kenny_proto::frames::{ErrorCode, Request, Response, ToolError};
use kenny_proto::tools::{self, RollbackArgs, ToolSpec, UpdateArgs};
use kenny_proto::{AgentFrame, RequestId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::policy::Policy;
use crate::tools::{Toolbox, powershell};
use crate::tunnel::Outbound;
use crate::update::{AfterReply, Driver};

/// How many requests run at once: far more than an operator starts, few enough that a defect of a server cannot
/// take the PC's memory.
const MOST: usize = 256;

/// What a tool gives: an object, and for an update what follows the answer.
type Outcome = Result<(Map<String, Value>, Option<AfterReply>), ToolError>;

/// Routes requests to tools.
pub struct Dispatcher {
    toolbox: Toolbox,
    driver: Driver,
    policy: Policy,
    most: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    sender: Option<mpsc::Sender<Outbound>>,
    /// The server of this connection said `welcome`, so it knows the words of 0.3.
    speaks_0_3: bool,
    running: HashMap<RequestId, AbortHandle>,
}

impl Dispatcher {
    /// A dispatcher without a connection.
    pub fn new(toolbox: Toolbox, driver: Driver, policy: Policy) -> Self {
        Self { toolbox, driver, policy, most: MOST, inner: Mutex::default() }
    }

    /// Answers go to this connection from now on.
    pub fn attach(&self, sender: mpsc::Sender<Outbound>) {
        let mut inner = self.inner();
        inner.sender = Some(sender);
        inner.speaks_0_3 = false;
    }

    /// The server said `welcome`.
    pub fn welcomed(&self) {
        self.inner().speaks_0_3 = true;
    }

    /// The connection ended: nobody waits for what runs, so it ends too, and with it the processes it started.
    /// An update goes on; it runs on a task of its own.
    pub fn detach(&self) {
        let mut inner = self.inner();
        inner.sender = None;
        for (_, task) in inner.running.drain() {
            task.abort();
        }
    }

    /// The server no longer waits.
    pub fn cancel(&self, id: RequestId) {
        if let Some(task) = self.inner().running.remove(&id) {
            tracing::info!(request.id = %id, "a request was cancelled");
            task.abort();
        }
    }

    /// Starts a request.
    pub fn start(self: &Arc<Self>, request: Request) {
        let mut inner = self.inner();
        let Some(sender) = inner.sender.clone() else { return };
        let id = request.id;
        if inner.running.contains_key(&id) {
            tracing::warn!(request.id = %id, "a request was dropped: one of the same id runs already");
            return;
        }
        if inner.running.len() >= self.most {
            let most = self.most;
            let busy = ToolError::new(
                ErrorCode::ExecFailed,
                format!("the agent is busy with {most} requests; try again when some have ended"),
            );
            let frame = AgentFrame::Response(Response { id, outcome: Err(busy) });
            drop(sender.try_send(Outbound { frame, sent: None }));
            return;
        }
        let this = Arc::clone(self);
        let task = tokio::spawn(async move {
            let (response, after) = this.answer(request).await;
            let (sent, flushed) = oneshot::channel();
            let frame = AgentFrame::Response(response);
            if sender.send(Outbound { frame, sent: Some(sent) }).await.is_ok() {
                drop(flushed.await);
            }
            if let Some(after) = after {
                after.reply_was_flushed();
            }
            this.inner().running.remove(&id);
        });
        // A request that ended before this line has nothing to abort; its handle is harmless.
        inner.running.insert(id, task.abort_handle());
    }

    async fn answer(&self, request: Request) -> (Response, Option<AfterReply>) {
        let id = request.id;
        // The server's own limit of an update is not this one's to enforce: it is reported by status.
        let own_time =
            [tools::AGENT_UPDATE, tools::AGENT_ROLLBACK].contains(&request.tool.as_str());
        let limit = request.deadline_ms.filter(|_| !own_time);
        let outcome = contained(self.run(&request), limit.map(Duration::from_millis)).await;
        let (outcome, after) = match outcome {
            Ok((result, after)) => (Ok(result), after),
            Err(error) => (Err(error), None),
        };
        (Response { id, outcome }, after)
    }

    async fn run(&self, request: &Request) -> Outcome {
        let Some(spec) = ToolSpec::find(&request.tool) else {
            let words = format!("there is no tool `{}`", request.tool);
            return Err(ToolError::new(ErrorCode::NotFound, words));
        };
        // Before anything else: what this PC does not allow is not even looked at.
        self.policy.check(spec, Timestamp::now()).map_err(|refused| {
            tracing::warn!(request.id = %request.id, tool = spec.name, "refused: {refused}");
            refused.answer(self.inner().speaks_0_3)
        })?;
        let check = spec.check(&request.args);
        check.map_err(|error| ToolError::new(ErrorCode::BadArgs, error.to_string()))?;
        match spec.name {
            tools::AGENT_UPDATE => {
                let args: UpdateArgs = arguments(&request.args)?;
                let (staged, after) = self.driver.update(args).await?;
                Ok((object(&staged)?, after))
            }
            tools::AGENT_ROLLBACK => {
                let args: RollbackArgs = arguments(&request.args)?;
                let (staged, after) = self.driver.rollback(args).await?;
                Ok((object(&staged)?, after))
            }
            tools::TELEMETRY_COLLECT => {
                let args = arguments(&request.args)?;
                Ok((object(&self.toolbox.telemetry.collect(args).await)?, None))
            }
            tools::POWERSHELL_EXEC => {
                Ok((object(&powershell::run(arguments(&request.args)?).await?)?, None))
            }
            name => {
                let words = format!("this version of kenny-agent does not have {name}");
                Err(ToolError::new(ErrorCode::Unsupported, words))
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a tool so that neither its panic nor its slowness goes further than its own answer.
async fn contained(tool: impl Future<Output = Outcome>, limit: Option<Duration>) -> Outcome {
    let tool = AssertUnwindSafe(tool).catch_unwind();
    let ended = match limit {
        None => tool.await,
        Some(limit) => {
            let Ok(ended) = tokio::time::timeout(limit, tool).await else {
                let words = format!("it took longer than the {} ms allowed", limit.as_millis());
                return Err(ToolError::new(ErrorCode::Timeout, words));
            };
            ended
        }
    };
    ended.unwrap_or_else(|_| {
        tracing::error!("a tool panicked");
        Err(ToolError::new(ErrorCode::Internal, "the tool failed by a defect of the agent"))
    })
}

fn arguments<T: DeserializeOwned>(args: &Map<String, Value>) -> Result<T, ToolError> {
    serde_path_to_error::deserialize(Value::Object(args.clone())).map_err(|error| {
        let words = format!("argument `{}`: {}", error.path(), error.inner());
        ToolError::new(ErrorCode::BadArgs, words)
    })
}

fn object(value: &impl Serialize) -> Result<Map<String, Value>, ToolError> {
    match serde_json::to_value(value) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(ToolError::new(ErrorCode::Internal, "the result is no object")),
    }
}

#[cfg(test)]
#[cfg(unix)]
#[path = "dispatch_tests.rs"]
mod tests;
