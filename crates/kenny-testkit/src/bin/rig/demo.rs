//! `cargo xtask demo`: one update from beginning to end, as an operator does it, and then everything stays up.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use jiff::Timestamp;
use kenny_proto::Invitation;
use kenny_proto::api::{AgentInvited, Update, UpdateState};
use kenny_testkit::machine::Spec;
use kenny_testkit::{Client, Machine, Server, process};
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::Assets;
use crate::site::SOON;

#[cfg_attr(unix, path = "demo/unix.rs")]
#[cfg_attr(windows, path = "demo/windows.rs")]
mod os;

/// A minute of probation is right for a PC that nobody sees; whoever watches a demo sees it himself.
const PROBATION_S: &str = "2";

/// The agent's id.
const AGENT: &str = "demo-pc";

/// What to show.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    pub assets: Assets,
    /// End as soon as the agent is online on the new version.
    #[arg(long)]
    pub once: bool,
}

/// Shows the update; then stays up until Ctrl-C, or ends at once with `--once`.
pub async fn run(options: &Options) -> Result<bool> {
    let began = Instant::now();
    let folder = options.assets.work.join("demo");
    sweep(&folder, &options.assets)?;
    let mut stage = Stage { began, assets: &options.assets, folder: &folder };
    tokio::select! {
        shown = stage.show(options.once) => shown.map(|()| true),
        () = os::asked_to_end() => {
            eprintln!("\nending the demo's machine and server");
            Ok(!options.once)
        }
    }
}

struct Stage<'a> {
    began: Instant,
    assets: &'a Assets,
    folder: &'a Path,
}

/// The operator's command line, pointed at the demo's server.
struct Operator {
    program: PathBuf,
    base: String,
    token: String,
    folder: PathBuf,
}

impl Stage<'_> {
    async fn show(&mut self, once: bool) -> Result<()> {
        let old = self.assets.old_version();
        let new = self.assets.new_version();

        self.say("starting the server");
        let mut server = Server::start(&self.assets.server, self.folder).await?;
        remember(self.folder, &server)?;
        let client = server.client().clone();
        let operator = Operator {
            program: self.assets.cli.clone(),
            base: client.base().to_owned(),
            token: client.token().to_owned(),
            folder: self.folder.to_owned(),
        };

        self.say("making a Windows machine (the first one takes a quarter of a minute)");
        let machine = Machine::create(&machine_spec(self.assets)).await?;

        self.say(&format!("installing agent {old} as a service on it"));
        let invited: AgentInvited = operator.ask(&["agent", "invite", AGENT]).await?;
        let program = machine.put(&self.assets.old)?;
        let Invitation { server: tunnel, code, server_key, .. } = invited.invitation;
        let (code, server_key) = (code.to_string(), server_key.to_string());
        let arguments = [
            "install",
            "--server",
            &tunnel,
            "--agent-id",
            AGENT,
            "--code",
            &code,
            "--server-key",
            &server_key,
            "--service-name",
            machine.service_name(),
            "--probation-secs",
            PROBATION_S,
        ];
        let output = machine.run(&program, &arguments).await?.success()?;
        eprintln!("{}", indent(&output.stdout));
        client.online(AGENT, Some(&old), SOON).await?;

        operator.run(&["agents"]).await?;

        self.say(&format!("publishing agent {new}"));
        let release = self.assets.new.display().to_string();
        operator.run(&["release", "add", &release]).await?;

        self.say(&format!("updating {AGENT} to {new}"));
        operator.run(&["update", AGENT, "--to", &new, "--watch"]).await?;

        let update =
            client.updates(AGENT).await?.into_iter().next().context("no update is known")?;
        println!("\n{}", timeline(&update));
        ensure!(
            matches!(update.state, UpdateState::Succeeded | UpdateState::Online),
            "the update did not succeed: {:?}",
            update.failure
        );
        let agent = client.online(AGENT, Some(&new), SOON).await?;
        println!(
            "{AGENT} went from {old} to {} as its own service and is online.",
            agent.version.unwrap_or_default()
        );

        if once {
            self.say("ending the machine and the server");
            machine.shut_down()?;
            server.stop().await?;
            forget(self.folder);
            return Ok(());
        }
        print_invitation(&client, &operator.program);
        // Until somebody asks for the end; then everything here is dropped, which ends it.
        std::future::pending::<()>().await;
        Ok(())
    }

    fn say(&self, what: &str) {
        eprintln!("[{:6.1} s] {what}", self.began.elapsed().as_secs_f64());
    }
}

impl Operator {
    async fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.command(arguments);
        let status = command.status().await?;
        ensure!(status.success(), "`kenny {}` failed ({status})", arguments.join(" "));
        Ok(())
    }

    /// Runs a command for what it answers.
    async fn ask<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<T> {
        let mut command = self.command(arguments);
        let output = command.arg("--json").stderr(Stdio::inherit()).output().await?;
        ensure!(
            output.status.success(),
            "`kenny {}` failed ({})",
            arguments.join(" "),
            output.status
        );
        serde_json::from_slice(&output.stdout).context("the answer is not what was asked for")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        eprintln!("           $ kenny {}", arguments.join(" "));
        let mut command = Command::new(&self.program);
        process::forget_kenny(command.as_std_mut());
        command
            .args(arguments)
            .env("KENNY_SERVER_URL", &self.base)
            .env("KENNY_TOKEN", &self.token)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

fn print_invitation(client: &Client, program: &Path) {
    println!(
        "\nThe server stays up at {base} until Ctrl-C. Ask it with\n\n  \
         export KENNY_SERVER_URL={base} KENNY_TOKEN={token}\n  \
         {kenny} agents\n  \
         {kenny} call {AGENT} telemetry.collect\n",
        base = client.base(),
        token = client.token(),
        kenny = program.display(),
    );
}

fn machine_spec(assets: &Assets) -> Spec {
    Spec { name: "demo".to_owned(), work: assets.work.clone() }
}

/// The steps with their times since the request, and how long the agent was away.
fn timeline(update: &Update) -> String {
    let mut steps: Vec<(Timestamp, String)> =
        update.timeline.iter().map(|entry| (entry.at, entry.step.clone())).collect();
    // The PC's own journal knows these; its clock is this machine's.
    for moment in &update.journal {
        if let Some(step) =
            moment.step.as_deref().filter(|step| ["downloaded", "verified"].contains(step))
        {
            steps.push((moment.at, step.to_owned()));
        }
    }
    steps.sort();
    let requested = update.requested_at;
    let mut lines: Vec<String> = steps
        .iter()
        .map(|(at, step)| format!("  {:6} ms  {step}", at.duration_since(requested).as_millis()))
        .collect();
    let time_of = |wanted: &str| steps.iter().find(|(_, step)| step == wanted).map(|(at, _)| *at);
    if let (Some(stopped), Some(online)) = (time_of("stopped"), time_of("online")) {
        lines.push(format!("  offline for {} ms", online.duration_since(stopped).as_millis()));
    }
    lines.join("\n")
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("           {line}")).collect::<Vec<_>>().join("\n")
}

/// The file that names the running demo's server.
fn pid_file(folder: &Path) -> PathBuf {
    folder.join("server.pid")
}

fn remember(folder: &Path, server: &Server) -> Result<()> {
    fs_err::write(pid_file(folder), server.pid().to_string())?;
    Ok(())
}

fn forget(folder: &Path) {
    // A demo that ended leaves nothing to look for; a file that stays names a process that is gone.
    let _ = fs_err::remove_file(pid_file(folder));
}

/// Ends what a demo left behind that was killed: its server, if the process is still that one, and its machine.
fn sweep(folder: &Path, assets: &Assets) -> Result<()> {
    if let Ok(pid) = fs_err::read_to_string(pid_file(folder)) {
        let is_ours = |command: &str| {
            command.contains("kenny-server") && command.contains(&*folder.to_string_lossy())
        };
        let pid: u32 =
            pid.trim().parse().context("the demo's pid file is damaged; remove target/demo")?;
        if process::command_line(pid).is_some_and(|command| is_ours(&command)) {
            eprintln!("ending the server that an earlier demo left running (process {pid})");
            process::end(pid)?;
        }
    }
    Machine::sweep(&machine_spec(assets))?;
    if folder.exists() {
        fs_err::remove_dir_all(folder)?;
    }
    fs_err::create_dir_all(folder)?;
    Ok(())
}
