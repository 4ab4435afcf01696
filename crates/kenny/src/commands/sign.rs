//! `kenny release sign`, `publish` and `fetch`.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::{collections::HashMap, env};

use aws_lc_rs::digest;
use jiff::Timestamp;
use kenny_core::{image, trust as core};
use kenny_proto::trust::{Publication, TargetCustom};
use kenny_proto::{MAX_ARTIFACT_BYTES, Sha256Digest};
use serde_json::{Value, json};
use tough::schema::{Hashes, RoleType, Root, Signed, Target, Targets};

use super::keys;
use crate::cli::{KeyArgs, SignArgs};
use crate::client::{Client, open_for_upload};
use crate::error::CliError;
use crate::output::{self, Output};
use crate::signing::folder::{self, Folder, Listed};
use crate::signing::in_days;
use crate::signing::keyring::Keyring;
use crate::signing::passphrase::Passphrases;
use crate::signing::roles::{self, Standing};
use crate::words;

/// The environment's passphrase for scripts.
const PASSPHRASE: &str = "KENNY_KEY_PASSPHRASE";

/// Where passphrases come from.
pub fn passphrases(file: Option<&std::path::PathBuf>) -> Result<Passphrases, CliError> {
    Passphrases::new(file, env::var(PASSPHRASE).ok().filter(|value| !value.is_empty()))
}

/// The keys that were named, or those of `folder`.
pub fn keyring(args: &KeyArgs, folder: &Path) -> Result<Keyring, CliError> {
    Keyring::of(&args.keys, folder, passphrases(args.passphrase.passphrase_file.as_ref())?)
}

/// `kenny release sign`.
pub fn sign(output: Output, args: &SignArgs) -> Result<(), CliError> {
    let mut folder = Folder::existing(&args.repository.repository)?;
    if args.add_signature {
        add_signature(&mut folder, args)?;
    } else {
        sign_targets(&mut folder, args)?;
    }
    if output.json { output::document(&describe(&folder)?) } else { keys::print(&folder) }
}

fn sign_targets(folder: &mut Folder, args: &SignArgs) -> Result<(), CliError> {
    let (root, targets) = folder.complete()?;
    let root = root.signed.clone();
    let mut next = next_targets(&targets.signed, args.targets_days, Timestamp::now());
    for version in &args.withdraw {
        withdraw(&mut next, version)?;
    }
    for file in &args.files {
        add(folder, &mut next, file, args)?;
    }
    let mut next = Signed { signed: next, signatures: Vec::new() };
    let mut ring = keyring(&args.keys, &folder.keys())?;
    if ring.sign(&mut next, &[&root])?.is_empty() {
        return Err(no_key_of(&root, &[RoleType::Targets]));
    }
    folder.write(&next)?;
    folder.targets = Some(next);
    Ok(())
}

/// The same targets, one version on, with a new end.
pub fn next_targets(targets: &Targets, days: u32, now: Timestamp) -> Targets {
    let mut next = targets.clone();
    next.version = targets.version.saturating_add(1);
    next.expires = in_days(days, now).parse().expect("written by the same rules");
    next
}

fn withdraw(targets: &mut Targets, version: &semver::Version) -> Result<(), CliError> {
    let before = targets.targets.len();
    let list = folder::list(targets)?;
    for target in list.iter().filter(|target| target.custom.version == *version) {
        let name = target_name(&target.custom);
        targets.targets.remove(&name);
    }
    if targets.targets.len() == before {
        return Err(CliError::Usage(format!("no target of version {version} is signed")));
    }
    Ok(())
}

fn target_name(custom: &TargetCustom) -> tough::TargetName {
    tough::TargetName::new(core::name_of(custom).to_string()).expect("a name of four plain parts")
}

fn add(
    folder: &Folder,
    targets: &mut Targets,
    file: &Path,
    args: &SignArgs,
) -> Result<(), CliError> {
    let size_bytes = fs_err::metadata(file).map_err(CliError::File)?.len();
    let refused = |why: String| CliError::Failed(format!("{}: {why}", file.display()));
    if size_bytes > MAX_ARTIFACT_BYTES {
        let (size, most) = (words::size(size_bytes), words::size(MAX_ARTIFACT_BYTES));
        return Err(refused(format!("it has {size}, more than the {most} that an agent accepts")));
    }
    let bytes = fs_err::read(file).map_err(CliError::File)?;
    let facts = image::read_facts(&bytes)
        .map_err(|error| refused(format!("this file is not a kenny-agent: {error}")))?;
    let hash = digest::digest(&digest::SHA256, &bytes);
    let sha256 = Sha256Digest(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"));
    let custom = TargetCustom {
        version: facts.version,
        os: facts.os,
        arch: facts.arch,
        from: args.from.clone(),
        rollback_to: args.rollback_to,
    };
    let name = target_name(&custom);
    if let Some(there) = targets.targets.get(&name)
        && there.hashes.sha256 != sha256.0[..]
    {
        return Err(refused(format!(
            "{} is signed already with other bytes; a version never changes, so build it with a new version",
            name.raw()
        )));
    }
    let target = Target {
        length: bytes.len() as u64,
        hashes: Hashes { sha256: sha256.0.to_vec().into(), _extra: HashMap::new() },
        custom: core::write_custom(&custom).collect(),
        _extra: HashMap::new(),
    };
    targets.targets.insert(name, target);
    let kept = folder.artifact(&core::name_of(&custom), sha256);
    let parent = kept.parent().expect("a target's name has four parts");
    fs_err::create_dir_all(parent)
        .and_then(|()| fs_err::write(&kept, &bytes))
        .map_err(CliError::File)
}

fn add_signature(folder: &mut Folder, args: &SignArgs) -> Result<(), CliError> {
    keys::print(folder)?;
    if !args.yes && !confirmed()? {
        return Err(CliError::Failed("nothing was signed".to_owned()));
    }
    let mut ring = keyring(&args.keys, &folder.keys())?;
    let newest = folder.root().signed.clone();
    let before = folder.root_before().map(|root| root.signed.clone());
    let with_a_say: Vec<&Root> = before.iter().chain([&newest]).collect();
    let mut added = 0;
    let root = folder.roots.last_mut().expect("an existing repository has a root");
    added += ring.sign(root, &with_a_say)?.len();
    if let Some(targets) = &mut folder.targets {
        added += ring.sign(targets, &[&newest])?.len();
    }
    if added == 0 {
        return Err(no_key_of(&newest, &[RoleType::Root, RoleType::Targets]));
    }
    folder.write(folder.root())?;
    if let Some(targets) = &folder.targets {
        folder.write(targets)?;
    }
    output::note(&format!("{added} signatures added; now it is:"));
    Ok(())
}

fn confirmed() -> Result<bool, CliError> {
    if !io::stdin().is_terminal() {
        return Err(CliError::Usage(
            "there is no terminal to ask at; look at `kenny keys show`, then say --yes".to_owned(),
        ));
    }
    let mut answer = String::new();
    let _ = write!(io::stderr(), "Sign this? [y/N] ");
    io::stdin()
        .read_line(&mut answer)
        .map_err(|error| CliError::Usage(format!("the answer cannot be read: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn no_key_of(root: &Root, role_types: &[RoleType]) -> CliError {
    let ids: Vec<String> = role_types
        .iter()
        .flat_map(|role| roles::key_ids(root, *role))
        .map(|id| roles::short(&id))
        .collect();
    CliError::Usage(format!(
        "none of the keys that are here can add a signature; those with a say are {} (name the file with --key)",
        ids.join(", ")
    ))
}

/// `kenny release publish`.
pub async fn publish(client: &Client, output: Output, dir: &Path) -> Result<(), CliError> {
    let folder = Folder::existing(dir)?;
    let (_, targets) = folder.complete()?;
    let text = |name: String| -> Result<String, CliError> {
        Ok(folder.text(&name)?.expect("it was read when the folder was opened"))
    };
    let there = client.trust().await?;
    let releases = client.releases().await?.releases;
    for target in folder::list(&targets.signed)? {
        let known = there.targets.iter().any(|known| known.sha256 == target.sha256)
            || releases.iter().any(|release| release.sha256 == target.sha256);
        let path = folder.artifact(&core::name_of(&target.custom), target.sha256);
        if path.exists() {
            if !known {
                upload(client, output, &path, target.sha256).await?;
            }
        } else if !known {
            return Err(CliError::Usage(format!(
                "neither the server nor {} has the executable of {}",
                path.display(),
                core::name_of(&target.custom)
            )));
        }
    }
    let mut publication = Publication {
        roots: Vec::new(),
        targets: Some(text(format!("{}.targets.json", targets.signed.version))?),
    };
    for root in &folder.roots {
        publication.roots.push(text(format!("{}.root.json", root.signed.version))?);
    }
    let published = client.publish(&publication).await?;
    if output.json {
        return output::document(&published);
    }
    output::line(&format!(
        "published root {} and targets {}",
        published.root_version, published.targets_version
    ))?;
    for release in &published.added {
        output::line(&format!("added {} for {} {}", release.version, release.os, release.arch))?;
    }
    Ok(())
}

async fn upload(
    client: &Client,
    output: Output,
    path: &Path,
    sha256: Sha256Digest,
) -> Result<(), CliError> {
    let (file, size_bytes) = open_for_upload(path).await?;
    output.passing_note(&format!("uploading {}", path.display()));
    let sent = client.upload_artifact(sha256, file, size_bytes).await;
    output.passing_note("");
    sent
}

/// `kenny release fetch`: what the server has is taken only if it follows what the folder has.
pub async fn fetch(client: &Client, output: Output, dir: &Path) -> Result<(), CliError> {
    let mut folder = Folder::open(dir)?;
    let there = client.trust_metadata().await?;
    let Some(targets_text) = &there.targets else {
        return Err(CliError::Failed(format!(
            "releases are not signed on {}: `kenny keys init` begins with it",
            client.address()
        )));
    };
    let unusable = |error: serde_json::Error| {
        CliError::Failed(format!("the server's metadata cannot be read: {error}"))
    };
    let was_empty = folder.roots.is_empty();
    for text in &there.roots {
        let root: Signed<Root> = folder::parse(text).map_err(unusable)?;
        let version = root.signed.version;
        if let Some(known) = folder.roots.iter().find(|known| known.signed.version == version) {
            if known.signed != root.signed {
                return Err(CliError::Failed(format!(
                    "the server has another version {version} of the root metadata than {}: one of them is not yours",
                    dir.display()
                )));
            }
            continue;
        }
        folder.add_root(root)?;
        if !folder.root_standings().iter().all(Standing::is_complete) {
            return Err(CliError::Failed(format!(
                "version {version} of the server's root metadata is not signed by the keys of the one before it"
            )));
        }
        folder.write_bytes(&format!("{version}.root.json"), text.as_bytes())?;
    }
    let targets: Signed<Targets> = folder::parse(targets_text).map_err(unusable)?;
    let version = targets.signed.version;
    let standing = Standing::of(&folder.root().signed, &targets);
    let is_newer = folder.targets.as_ref().is_none_or(|known| known.signed.version < version);
    if is_newer {
        if !standing.is_complete() {
            return Err(CliError::Failed(format!(
                "version {version} of the server's targets metadata lacks {}",
                standing.lacks()
            )));
        }
        folder.write_bytes(&format!("{version}.targets.json"), targets_text.as_bytes())?;
        folder.targets = Some(targets);
    }
    if was_empty {
        output::note(
            "The folder was empty, so that these root keys are taken on the server's word: compare their ids with what \
             you have of them.",
        );
    }
    if output.json { output::document(&describe(&folder)?) } else { keys::print(&folder) }
}

/// One target in a line.
pub fn describe_target(target: &Listed) -> String {
    let TargetCustom { version, os, arch, from, rollback_to } = &target.custom;
    let from = from.as_ref().map(|from| format!(", from {from}")).unwrap_or_default();
    let back = if *rollback_to { ", also to go back to" } else { "" };
    let size = words::size(target.size_bytes);
    format!("{version} for {os} {arch}{from}{back}, {size}, sha256 {}", target.sha256)
}

/// What `--json` prints of a folder.
pub fn describe(folder: &Folder) -> Result<Value, CliError> {
    let root = &folder.root().signed;
    let standing = |standing: &Standing| {
        json!({
            "by_root": standing.root, "threshold": standing.threshold,
            "signed": standing.signed, "missing": standing.missing,
        })
    };
    let targets = folder.targets.as_ref();
    let list =
        targets.map(|targets| folder::list(&targets.signed)).transpose()?.unwrap_or_default();
    let list: Vec<Value> = list
        .iter()
        .map(|target| json!({"sha256": target.sha256, "size_bytes": target.size_bytes, "custom": target.custom}))
        .collect();
    Ok(json!({
        "root": {
            "version": root.version, "expires": root.expires.to_string(),
            "keys": keys::ids(root, RoleType::Root),
            "signatures": folder.root_standings().iter().map(standing).collect::<Vec<_>>(),
        },
        "targets": targets.map(|targets| json!({
            "version": targets.signed.version, "expires": targets.signed.expires.to_string(),
            "keys": keys::ids(root, RoleType::Targets),
            "signatures": [standing(&Standing::of(root, targets))],
            "list": list,
        })),
        "online_keys": keys::ids(root, RoleType::Timestamp),
        "complete": folder.complete().is_ok(),
    }))
}
