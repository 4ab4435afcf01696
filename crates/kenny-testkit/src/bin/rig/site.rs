//! One machine, one server and one agent between them: what each case gets for itself.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use kenny_proto::Invitation;
use kenny_proto::api::{Agent, AgentCreated};
use kenny_testkit::machine::{Process, ServiceState, Spec};
use kenny_testkit::process::Output;
use kenny_testkit::{Client, Machine, Server, eventually};

use crate::Assets;

/// For whatever takes seconds at most; a loaded two-core machine gets the rest.
pub const SOON: Duration = Duration::from_mins(1);

/// Seconds that a new version is watched in these tests; operators have a minute.
const PROBATION_S: &str = "1";

/// What one case works on.
pub struct Site {
    /// What was built.
    pub assets: Assets,
    /// The machine.
    pub machine: Machine,
    /// The server.
    pub server: Server,
    /// The agent's id.
    pub agent: String,
    /// What makes the machine that agent.
    pub invitation: Invitation,
    folder: PathBuf,
}

impl Site {
    /// Makes a machine and a server, and an agent that is not installed yet.
    pub async fn create(assets: &Assets, name: &str) -> Result<Self> {
        let folder = assets.work.join("live").join(name);
        if folder.exists() {
            fs_err::remove_dir_all(&folder)?;
        }
        let server =
            Server::start(&assets.server, &folder).await.context("the server does not start")?;
        let spec = Spec { name: name.replace('_', "-"), work: assets.work.clone() };
        let machine = Machine::create(&spec).await.context("cannot make a Windows machine")?;
        let agent = format!("pc-{}", spec.name);
        let invitation = server.client().invite(&agent).await?;
        Ok(Self { assets: assets.clone(), machine, server, agent, invitation, folder })
    }

    /// The operator's client.
    pub fn client(&self) -> &Client {
        self.server.client()
    }

    /// Runs the build of the agent that `build` is, on the machine.
    pub async fn agent_command(
        &self,
        build: &std::path::Path,
        arguments: &[&str],
    ) -> Result<Output> {
        let program = self.machine.put(build)?;
        self.machine.run(&program, &self.with_name(arguments)).await
    }

    /// Runs the installed agent's executable.
    pub async fn installed(&self, arguments: &[&str]) -> Result<Output> {
        self.machine.run(&self.active(), &self.with_name(arguments)).await
    }

    /// Names this machine's service, which all but these need to know.
    fn with_name<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        if matches!(arguments.first(), Some(&("version" | "preflight"))) {
            return arguments.to_vec();
        }
        [arguments, &["--service-name", self.machine.service_name()]].concat()
    }

    /// Installs the older agent as this site's agent, with a short probation, and waits until it is online.
    pub async fn install(&self) -> Result<Agent> {
        self.install_with(&[]).await
    }

    /// Installs with these arguments besides who and where; the probation is short where they do not say.
    pub async fn install_with(&self, more: &[&str]) -> Result<Agent> {
        let server = self.invitation.server.clone();
        self.install_at(&server, more).await
    }

    /// The same with the tunnel at this address, through which the server is reached.
    pub async fn install_at(&self, tunnel: &str, more: &[&str]) -> Result<Agent> {
        let Invitation { code, server_key, .. } = &self.invitation;
        let (code, key) = (code.to_string(), server_key.to_string());
        let identity = [
            "install",
            "--server",
            tunnel,
            "--agent-id",
            &self.agent,
            "--code",
            &code,
            "--server-key",
            &key,
        ];
        self.install_as(&identity, more).await
    }

    /// Installs as another agent of this site's server, one of 0.2 with a token.
    pub async fn install_legacy(&self, legacy: &AgentCreated) -> Result<Agent> {
        let id = legacy.id.as_str();
        let identity =
            ["install", "--server", &legacy.server, "--agent-id", id, "--token", &legacy.token];
        self.install_as(&identity, &[]).await
    }

    async fn install_as(&self, identity: &[&str], more: &[&str]) -> Result<Agent> {
        let mut arguments = [identity, more].concat();
        if !more.contains(&"--probation-secs") {
            arguments.extend(["--probation-secs", PROBATION_S]);
        }
        self.agent_command(&self.assets.old, &arguments).await?.success()?;
        let at = identity.iter().position(|word| *word == "--agent-id");
        let agent = at.and_then(|at| identity.get(at + 1)).context("no agent id")?;
        self.client().online(agent, Some(&self.assets.old_version()), SOON).await
    }

    /// The executable at the service's image path.
    pub fn active(&self) -> PathBuf {
        self.machine.install_dir().join("kenny-agent.exe")
    }

    /// The agent's configuration file.
    pub fn config(&self) -> PathBuf {
        self.machine.install_dir().join("kenny-agent.config.json")
    }

    /// The service's own process: the one that lives at the image path.
    pub fn service_process(&self) -> Option<Process> {
        self.machine.processes("run-service").into_iter().next()
    }

    /// The number of the service's process.
    pub fn service_pid(&self) -> Result<u32> {
        self.service_process()
            .map(|process| process.pid)
            .with_context(|| format!("no service process among {:?}", self.machine.processes("")))
    }

    /// Waits until the service is in that state.
    pub async fn service_is(&self, wanted: ServiceState) -> Result<()> {
        let name = self.machine.service_name();
        eventually(&format!("{name} {wanted:?}"), SOON, async || {
            let service = self.machine.service(name).await?;
            Ok(service.filter(|service| service.state == wanted).map(drop))
        })
        .await
    }

    /// The name of the temporary service that swaps and watches.
    pub fn updater(&self) -> String {
        format!("{}-updater", self.machine.service_name())
    }

    /// What a person would look at after a failure.
    pub fn evidence(&self) -> String {
        let mut parts = vec![format!("--- server\n{}", self.server.tail())];
        for name in ["journal.json", "state.json"] {
            if let Ok(content) = fs_err::read_to_string(self.machine.state_dir().join(name)) {
                parts.push(format!("--- {name}\n{}", content.trim_end()));
            }
        }
        let logs = fs_err::read_dir(self.machine.state_dir().join("logs"));
        for entry in logs.into_iter().flatten().flatten() {
            if let Ok(content) = fs_err::read_to_string(entry.path()) {
                let lines: Vec<&str> = content.lines().collect();
                let tail = lines[lines.len().saturating_sub(40)..].join("\n");
                parts.push(format!("--- {}\n{tail}", entry.file_name().to_string_lossy()));
            }
        }
        parts.push(format!("--- processes\n{:#?}", self.machine.processes("")));
        parts.join("\n")
    }

    /// Ends server and machine. An error names what would not end.
    pub async fn close(mut self) -> Result<()> {
        self.server.stop().await?;
        self.machine.shut_down()?;
        fs_err::remove_dir_all(&self.folder)?;
        Ok(())
    }
}
