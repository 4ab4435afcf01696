//! `install`: over nothing or over an installation; what fails is undone, but for an enrolment: from that moment on the
//! new identity is the agent's, and the old one is worth nothing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::installed_apps;
use super::scm::{AGENT_RESTARTS_S, Scm, Service, ServiceSpec, ServiceState, StartType};
use crate::carried::{self, Carried};
use crate::cli::InstallArgs;
use crate::config::{Config, ConfigError};
use crate::enrolment::{self, Terms};
use crate::identity::{self, KeptKey};
use crate::layout::Layout;
use crate::protect::{self, Purpose, Verdict};
use crate::state::AgentState;
use crate::trust::{self, Trust};
use crate::{first_install, update};

/// How long the agent may take to be accepted before install says why it was not.
const CONNECT: Duration = Duration::from_secs(30);
/// How long the service may take to stop.
const STOP: Duration = Duration::from_secs(20);

/// Installs, or brings an installation up to date.
pub fn install(args: &InstallArgs) -> ExitCode {
    let outcome = try_install(args);
    if args.dialog {
        first_install::say(&match &outcome {
            Ok(Outcome::Connected { server }) => Ok(server.clone()),
            Ok(Outcome::NotConnected { why }) => {
                Err(format!("It is installed, and is not connected yet: {why}. It keeps trying."))
            }
            Err(error) => Err(format!("{error:#}")),
        });
    }
    match outcome {
        Ok(Outcome::Connected { server }) => {
            crate::cli::print(&format!(
                "{} is installed and connected to {server}",
                args.service_name
            ));
            ExitCode::SUCCESS
        }
        Ok(Outcome::NotConnected { why }) => {
            tracing::error!(
                "{} is installed and runs, and is not connected after 30 s: {why}. It keeps trying; correct the cause, or remove it with `kenny-agent uninstall`",
                args.service_name
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            tracing::error!("not installed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

enum Outcome {
    Connected { server: String },
    NotConnected { why: String },
}

/// What to undo, last done first.
#[derive(Default)]
struct Undo {
    steps: Vec<Box<dyn FnOnce()>>,
    /// There is no way back any more.
    is_final: bool,
}

impl Undo {
    fn push(&mut self, step: impl FnOnce() + 'static) {
        self.steps.push(Box::new(step));
    }

    fn run(self) {
        for step in self.steps.into_iter().rev() {
            step();
        }
    }
}

fn try_install(args: &InstallArgs) -> anyhow::Result<Outcome> {
    let name = &args.service_name;
    anyhow::ensure!(
        !name.is_empty()
            && name.len() <= 200
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)),
        "the service name `{name}` may have letters, digits and . - _ only"
    );
    let own = std::env::current_exe().context("could not find this executable")?;
    let carried = carried::look_into(&own)?;
    let scm = Scm::connect()?;
    let existing = scm.open(name)?;
    let layout = match (&existing, args.in_place) {
        (_, true) => Layout::new(name, own.clone())?,
        (Some(service), false) => Layout::new(name, service.config()?.image)?,
        (None, false) => Layout::for_service(name)?,
    };
    if let Some(open) = update::last_report(&layout).filter(|report| !report.phase.is_final()) {
        anyhow::bail!(
            "an update to {} is in its phase `{}`; install again when it is over",
            open.version,
            open.phase
        );
    }
    let terms = match (args.invitation.terms(&args.identity).map_err(anyhow::Error::msg)?, &carried)
    {
        (None, Some(carried)) if !args.identity.is_given() => {
            Some(Terms::from_invitation(carried.invitation.clone())?)
        }
        (given, _) => given,
    };
    let before = match Config::load(&layout.config_file) {
        Ok(config) => Some(config),
        Err(ConfigError::Missing(_)) => None,
        // A config that cannot be used is replaced only by one that is given whole.
        Err(_) if terms.is_some() => None,
        Err(error) => match args.identity.over(None) {
            Ok(_) => None,
            Err(_) => return Err(error.into()),
        },
    };
    let was = before.as_ref().and_then(|before| before.identity.clone());
    let config = match &terms {
        Some(terms) => args.identity.enrolling(terms, &layout.config_file, before),
        None => args.identity.over(before),
    };
    let mut config = config.map_err(anyhow::Error::msg)?;
    // The config of this very invitation: it was redeemed, and is good for nothing more.
    let terms = terms.filter(|_| was != config.identity);
    let root = root_to_pin(args, terms.as_ref(), &layout, &config)?;
    let mut undo = Undo::default();
    let given = Given {
        own: &own,
        carried: carried.as_ref(),
        terms: terms.as_ref(),
        root: root.as_deref(),
    };
    match put_in_place(&scm, existing, args, &given, &layout, &mut config, &mut undo) {
        Ok(service) => {
            for kept in [&layout.executable, &layout.config_file] {
                drop(fs_err::remove_file(aside(kept)));
            }
            Ok(wait(&service, &layout, &config))
        }
        Err(error) if undo.is_final => Err(error.context(
            "this PC has enrolled, and what is in place stays; correct the cause and run `kenny-agent install` again, without the \
             invitation",
        )),
        Err(error) => {
            // The code may be used up by a key whose answer was lost: with that key, and no other, it is good again.
            let key = config.identity.as_ref().and_then(|identity| KeptKey::take(&identity.key_file));
            undo.run();
            if let Some(key) = key.filter(|_| terms.is_some()) {
                key.put_back()?;
            }
            Err(error.context("what had been changed was put back"))
        }
    }
}

/// The root that is to be pinned: the one that was given, or the invitation's where none is pinned yet. A server that was
/// taken over makes invitations too: what is pinned stays unless somebody at the PC says otherwise.
fn root_to_pin(
    args: &InstallArgs,
    terms: Option<&Terms>,
    layout: &Layout,
    config: &Config,
) -> anyhow::Result<Option<Vec<u8>>> {
    if let Some(file) = &args.trust_root {
        return Ok(Some(fs_err::read(file)?));
    }
    let invited = terms.and_then(|terms| terms.tuf_root.clone());
    if invited.is_some() && Trust::new(layout, Some(config.clone())).is_pinned() {
        tracing::warn!(
            "the root that this PC pinned stays; to pin another, give it with --trust-root"
        );
        return Ok(None);
    }
    Ok(invited)
}

/// What an install is made of.
struct Given<'a> {
    /// This executable.
    own: &'a Path,
    /// The same without the invitation that it carries.
    carried: Option<&'a Carried>,
    /// What to enrol with.
    terms: Option<&'a Terms>,
    /// The root to pin.
    root: Option<&'a [u8]>,
}

fn put_in_place(
    scm: &Scm,
    existing: Option<Service>,
    args: &InstallArgs,
    given: &Given<'_>,
    layout: &Layout,
    config: &mut Config,
    undo: &mut Undo,
) -> anyhow::Result<Service> {
    let &Given { own, carried, terms, root } = given;
    let in_place = args.in_place
        || layout.install_dir != Layout::for_service(&layout.service_name)?.install_dir;
    let was_running = existing.as_ref().map(Service::status).transpose()?;
    if let Some(service) = &existing {
        let process = service.process()?;
        let name = layout.service_name.clone();
        undo.push(move || start_again(&name));
        if was_running.is_some_and(|status| status.state != ServiceState::Stopped) {
            service.stop_and_wait(process, STOP)?;
        }
    }
    make_folders(layout, in_place, undo)?;
    if own != layout.executable {
        keep(&layout.executable, undo)?;
        let written = match carried {
            // Without the invitation, so that it is what was released.
            Some(carried) => update::write_program(&layout.executable, &carried.executable),
            None => update::copy_file(own, &layout.executable).map(drop),
        };
        written.with_context(|| format!("could not write {}", layout.executable.display()))?;
    }
    check_image(layout, args)?;
    keep(&layout.config_file, undo)?;
    if let Some(root) = root {
        undo.push(trust::keep_pin(layout)?);
        config.trust.root = Some(trust::pin_root(layout, root)?);
    }
    if let Some(terms) = terms {
        enrolment::enrol(terms, config)?;
        undo.is_final = true;
        // Going back to the version before would bring its config back, and with it an identity that is over.
        update::forget_previous(layout);
    }
    config.save(&layout.config_file)?;
    if terms.is_some() {
        let keep = config.identity.as_ref().map(|identity| identity.key_file.as_path());
        identity::remove_others(&layout.install_dir, keep);
    }
    drop(fs_err::remove_file(&layout.state_file));
    let spec = ServiceSpec {
        name: layout.service_name.clone(),
        display_name: if layout.service_name == crate::layout::DEFAULT_SERVICE {
            "Kenny agent".to_owned()
        } else {
            format!("Kenny agent ({})", layout.service_name)
        },
        description: super::DESCRIPTION.to_owned(),
        image: layout.executable.clone(),
        arguments: vec![
            "run-service".into(),
            "--service-name".into(),
            layout.service_name.clone().into(),
        ],
        start: StartType::Auto,
        restarts_s: AGENT_RESTARTS_S,
    };
    let service = if let Some(service) = existing {
        service.update(&spec)?;
        service
    } else {
        let service = scm.create(&spec)?;
        let name = layout.service_name.clone();
        undo.push(move || {
            drop(installed_apps::remove(&name));
            delete(&name);
        });
        service
    };
    let replaced = installed_apps::register(layout, &spec.display_name, crate::VERSION);
    replaced.context("could not make the entry in Installed apps")?;
    service.start().context("the service did not start")?;
    service.wait_for_state(ServiceState::Running, CONNECT).with_context(|| {
        let code = service.status().map_or(0, |status| status.service_code);
        format!("the service ended with code {code}; its log is in {}", layout.log_dir.display())
    })?;
    Ok(service)
}

fn wait(service: &Service, layout: &Layout, config: &Config) -> Outcome {
    let until = Instant::now() + CONNECT;
    let mut why = "it did not say why".to_owned();
    while Instant::now() < until {
        let pid = service.status().ok().and_then(|status| status.pid);
        if let Ok(state) = AgentState::read(&layout.state_file)
            && Some(state.pid) == pid
        {
            if state.connected {
                return Outcome::Connected { server: config.server.to_string() };
            }
            if let Some(error) = state.last_error {
                why = error.text;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Outcome::NotConnected { why }
}

/// Makes the folders, out of reach of ordinary accounts from their first moment on. The folder of an installation in place
/// is somebody else's, and stays as it is.
fn make_folders(layout: &Layout, in_place: bool, undo: &mut Undo) -> anyhow::Result<()> {
    let programs = (!in_place).then_some((&layout.install_dir, Purpose::Programs));
    let others = [
        (&layout.update_dir, Purpose::Programs),
        (&layout.state_dir, Purpose::Private),
        (&layout.log_dir, Purpose::Private),
    ];
    for (folder, purpose) in programs.into_iter().chain(others) {
        let is_new = !folder.exists();
        protect::folder(folder, purpose)
            .context("a folder cannot be made out of reach of ordinary accounts")?;
        if is_new {
            let folder = folder.to_owned();
            // Made by this install, so all that is in it is too: logs of a start that failed.
            undo.push(move || drop(fs_err::remove_dir_all(folder)));
        }
    }
    Ok(())
}

/// Refuses to have the service manager run, as SYSTEM, what ordinary accounts can replace.
fn check_image(layout: &Layout, args: &InstallArgs) -> anyhow::Result<()> {
    let image = layout.executable.display();
    match protect::who_may_replace(&layout.executable) {
        Ok(Verdict::Safe) => Ok(()),
        Ok(Verdict::Unknown) => {
            tracing::warn!("this system does not say who may write to {image}");
            Ok(())
        }
        Err(error) => {
            tracing::warn!("who may write to {image} could not be read: {error}");
            Ok(())
        }
        Ok(Verdict::Writable(by)) => {
            let by = by.join(", ");
            if args.in_place && args.yes_i_know {
                tracing::warn!("{image} runs as SYSTEM and can be replaced by: {by}");
                return Ok(());
            }
            anyhow::bail!(
                "{image} would run as SYSTEM and can be replaced by: {by}. Correct the rights of the file and its folders, or \
                 install without --in-place; who wants it nevertheless says --in-place --yes-i-know"
            )
        }
    }
}

fn aside(path: &Path) -> PathBuf {
    path.with_extension("before-install")
}

/// Remembers a file as it is, so that it can be put back.
fn keep(path: &Path, undo: &mut Undo) -> anyhow::Result<()> {
    let path = path.to_owned();
    if path.exists() {
        let aside = aside(&path);
        update::copy_file(&path, &aside)
            .with_context(|| format!("could not keep {}", path.display()))?;
        undo.push(move || {
            drop(update::copy_file(&aside, &path).and_then(|_| fs_err::remove_file(&aside)))
        });
    } else {
        undo.push(move || drop(fs_err::remove_file(path)));
    }
    Ok(())
}

fn delete(name: &str) {
    let deleted = || -> anyhow::Result<()> {
        let Some(service) = Scm::connect()?.open(name)? else { return Ok(()) };
        let process = service.process()?;
        service.stop_and_wait(process, STOP).map(drop).or_else(|_| service.delete())?;
        Ok(service.delete()?)
    };
    if let Err(error) = deleted() {
        tracing::error!("the service could not be removed again: {error:#}");
    }
}

fn start_again(name: &str) {
    if let Ok(scm) = Scm::connect()
        && let Ok(Some(service)) = scm.open(name)
        && let Err(error) = service.start()
    {
        tracing::error!(error = %error, "the service that was there could not be started again");
    }
}
