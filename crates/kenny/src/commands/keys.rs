//! `kenny keys ...`: keys that no server has, and the root metadata that names them.

use std::num::NonZeroU64;
use std::path::Path;

use jiff::Timestamp;
use tough::schema::key::Key;
use tough::schema::{Role, RoleType, Root, Signed, Targets};

use super::sign::{self, keyring};
use crate::cli::{Connection, InitArgs, RotateArgs};
use crate::client::Client;
use crate::config::Target;
use crate::error::CliError;
use crate::output::{self, Output};
use crate::signing::folder::{self, Folder};
use crate::signing::keyring::Keyring;
use crate::signing::passphrase::Passphrases;
use crate::signing::roles::{self, Standing};
use crate::signing::{hex, in_days, keyfile};
use crate::words;

/// The version of the specification that the metadata follows.
const SPEC_VERSION: &str = "1.0.0";

/// Fewest characters of a key's id that name it.
const MIN_ID_CHARS: usize = 8;

/// `kenny keys new`.
pub fn new(file: &Path, mut passphrases: Passphrases) -> Result<(), CliError> {
    let passphrase = passphrases.for_new_keys()?;
    let key = keyfile::create(file, &passphrase)?;
    output::line(&keyfile::id(&key))?;
    output::note(&format!(
        "The private half is in {} and stays with its holder; {} is public: it goes into `kenny keys init --add-root` or \
         --add-targets.",
        file.display(),
        keyfile::public_path(file).display()
    ));
    Ok(())
}

/// `kenny keys init`.
pub async fn init(args: InitArgs, connection: Connection) -> Result<(), CliError> {
    let mut folder = Folder::open(&args.dir)?;
    if !folder.roots.is_empty() {
        return Err(CliError::Usage(format!(
            "{} is a repository already; `kenny keys rotate` changes its keys",
            args.dir.display()
        )));
    }
    let online = if let Some(text) = &args.online_key {
        keyfile::read_public(text)?
    } else {
        let status = Client::new(Target::resolve(connection)?)?.trust().await?;
        online_key(&status.next_online_key.unwrap_or(status.online_key).public)?
    };
    let mut roots = read_all(&args.added.add_root)?;
    let mut targets = read_all(&args.added.add_targets)?;
    check_threshold("root", args.root_threshold, roots.len() + args.root_keys as usize)?;
    check_threshold("targets", args.targets_threshold, targets.len() + args.targets_keys as usize)?;
    let mut ring = keyring(&args.keys, &folder.keys())?;
    roots.extend(make_keys(&mut ring, &folder, "root", args.root_keys)?);
    targets.extend(make_keys(&mut ring, &folder, "targets", args.targets_keys)?);

    let now = Timestamp::now();
    let mut root = Root {
        spec_version: SPEC_VERSION.to_owned(),
        consistent_snapshot: true,
        version: NonZeroU64::MIN,
        expires: in_days(args.lifetimes.root_days, now).parse().expect("written by the same rules"),
        keys: std::collections::HashMap::new(),
        roles: std::collections::HashMap::new(),
        _extra: std::collections::HashMap::new(),
    };
    roles::set_keys(&mut root, RoleType::Root, &roots, args.root_threshold);
    roles::set_keys(&mut root, RoleType::Targets, &targets, args.targets_threshold);
    set_online_key(&mut root, &online);
    let mut root = unsigned(root);
    let own = root.signed.clone();
    ring.sign(&mut root, &[&own])?;
    let end = in_days(args.lifetimes.targets_days, now).parse().expect("written by the same rules");
    let mut empty = Targets::new(SPEC_VERSION.to_owned(), NonZeroU64::MIN, end);
    empty.delegations = None;
    let mut empty = unsigned(empty);
    ring.sign(&mut empty, &[&root.signed])?;
    folder.write(&root)?;
    folder.write(&empty)?;
    folder.add_root(root)?;
    folder.targets = Some(empty);
    print(&folder)?;
    output::note(&format!(
        "{} is a repository now. Take the private keys of root to where no network reaches, each to its own place, and keep a copy of each.\n\
         Then `kenny release sign` and `kenny release publish` (--repository {0}).",
        args.dir.display()
    ));
    Ok(())
}

/// `kenny keys show`.
pub fn show(output: Output, dir: &Path) -> Result<(), CliError> {
    let folder = Folder::existing(dir)?;
    if output.json { output::document(&sign::describe(&folder)?) } else { print(&folder) }
}

/// `kenny keys rotate`.
pub async fn rotate(args: RotateArgs, connection: Connection) -> Result<(), CliError> {
    let mut folder = Folder::existing(&args.dir)?;
    let (old, targets) = folder.complete()?;
    let (old, targets) = (old.signed.clone(), targets.clone());
    let mut roots = keys_of(&old, RoleType::Root);
    let mut signers = keys_of(&old, RoleType::Targets);
    for wanted in &args.remove {
        remove(wanted, &mut roots, &mut signers)?;
    }
    roots.extend(read_all(&args.added.add_root)?);
    signers.extend(read_all(&args.added.add_targets)?);
    let threshold = |role, wanted: Option<NonZeroU64>| {
        wanted.or(old.roles.get(&role).map(|keys| keys.threshold)).unwrap_or(NonZeroU64::MIN)
    };
    let root_threshold = threshold(RoleType::Root, args.root_threshold);
    let targets_threshold = threshold(RoleType::Targets, args.targets_threshold);
    check_threshold("root", root_threshold, roots.len() + args.new_root_keys as usize)?;
    check_threshold("targets", targets_threshold, signers.len() + args.new_targets_keys as usize)?;
    let online = match &args.online_key {
        Some(text) => Some(keyfile::read_public(text)?),
        None if args.new_online_key => {
            let client = Client::new(Target::resolve(connection)?)?;
            Some(online_key(&client.make_online_key().await?.public)?)
        }
        None => None,
    };
    let mut ring = keyring(&args.keys, &folder.keys())?;
    roots.extend(make_keys(&mut ring, &folder, "root", args.new_root_keys)?);
    signers.extend(make_keys(&mut ring, &folder, "targets", args.new_targets_keys)?);

    let now = Timestamp::now();
    let mut next = old.clone();
    next.version = old.version.saturating_add(1);
    next.expires =
        in_days(args.lifetimes.root_days, now).parse().expect("written by the same rules");
    roles::set_keys(&mut next, RoleType::Root, &roots, root_threshold);
    roles::set_keys(&mut next, RoleType::Targets, &signers, targets_threshold);
    if let Some(online) = &online {
        set_online_key(&mut next, online);
    }
    roles::drop_unused_keys(&mut next);
    let mut next = unsigned(next);
    let new = next.signed.clone();
    ring.sign(&mut next, &[&old, &new])?;
    // The targets that are there count under the new root only where enough of their signers still are its keys.
    let mut targets = targets;
    if !Standing::of(&next.signed, &targets).is_complete() {
        let content = sign::next_targets(&targets.signed, args.lifetimes.targets_days, now);
        targets = unsigned(content);
        ring.sign(&mut targets, &[&next.signed])?;
        folder.write(&targets)?;
    }
    folder.write(&next)?;
    folder.add_root(next)?;
    folder.targets = Some(targets);
    print(&folder)?;
    output::note(
        "`kenny release publish` sends it once every signature is there. Keep every root: agents follow them one by one.",
    );
    Ok(())
}

/// What a folder has, as people read it; what is missing goes to standard error.
pub fn print(folder: &Folder) -> Result<(), CliError> {
    let root = folder.root();
    let mut table =
        output::Table::new(&["ROLE", "VERSION", "EXPIRES", "SIGNED", "KEYS (+ SIGNED)"]);
    let mut row = |role: &str, version: NonZeroU64, expires: String, standing: &Standing| {
        let keys = standing.signed.iter().map(|id| format!("{}+", roles::short(id)));
        let missing = standing.missing.iter().map(|id| roles::short(id));
        let keys: Vec<String> = keys.chain(missing).collect();
        let signed = format!("{} of {}", standing.signed.len(), standing.threshold);
        table.row([
            role.into(),
            version.to_string().into(),
            expires.into(),
            signed.into(),
            keys.join(" ").into(),
        ]);
    };
    for standing in folder.root_standings() {
        let role = if standing.root == root.signed.version.get() {
            "root".to_owned()
        } else {
            format!("root, by {}", standing.root)
        };
        row(&role, root.signed.version, end(&root.signed), &standing);
    }
    if let Some(targets) = &folder.targets {
        let standing = Standing::of(&root.signed, targets);
        row("targets", targets.signed.version, end(&targets.signed), &standing);
    }
    output::text(&table.render(output::Palette { coloured: false }))?;
    let online: Vec<String> =
        keys_of(&root.signed, RoleType::Timestamp).iter().map(keyfile::id).collect();
    output::line(&format!("The server's key for snapshot and timestamp: {}", online.join(", ")))?;
    if let Some(targets) = &folder.targets {
        for target in folder::list(&targets.signed)? {
            output::line(&sign::describe_target(&target))?;
        }
    }
    if let Err(lacking) = folder.complete() {
        output::note(&lacking.to_string());
    }
    Ok(())
}

fn end<T: Role>(role: &T) -> String {
    let end = Timestamp::from_second(role.expires().as_second());
    end.map_or_else(|_| "never".to_owned(), words::moment)
}

fn unsigned<T: Role>(content: T) -> Signed<T> {
    Signed { signed: content, signatures: Vec::new() }
}

fn keys_of(root: &Root, role: RoleType) -> Vec<Key> {
    root.keys(role).cloned().collect()
}

fn set_online_key(root: &mut Root, key: &Key) {
    for role in [RoleType::Snapshot, RoleType::Timestamp] {
        roles::set_keys(root, role, std::slice::from_ref(key), NonZeroU64::MIN);
    }
}

fn online_key(public: &str) -> Result<Key, CliError> {
    public.parse().map_err(|_| {
        CliError::Failed("the server's key for snapshot and timestamp cannot be read".to_owned())
    })
}

fn read_all(texts: &[String]) -> Result<Vec<Key>, CliError> {
    texts.iter().map(|text| keyfile::read_public(text)).collect()
}

fn make_keys(
    ring: &mut Keyring,
    folder: &Folder,
    role: &str,
    count: u32,
) -> Result<Vec<Key>, CliError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let passphrase = ring.passphrases().for_new_keys()?;
    fs_err::create_dir_all(folder.keys()).map_err(CliError::File)?;
    let mut made = Vec::new();
    let mut number = 0;
    while made.len() < count as usize {
        number += 1;
        let path = folder.keys().join(format!("{role}-{number}.pem"));
        if !path.exists() && !keyfile::public_path(&path).exists() {
            made.push(keyfile::create(&path, &passphrase)?);
        }
    }
    ring.add_folder(&folder.keys())?;
    Ok(made)
}

fn check_threshold(role: &str, threshold: NonZeroU64, keys: usize) -> Result<(), CliError> {
    if threshold.get() <= keys as u64 {
        return Ok(());
    }
    Err(CliError::Usage(format!(
        "{threshold} of {keys} keys for {role} can never be reached; make or add more keys, or lower the threshold"
    )))
}

fn remove(wanted: &str, roots: &mut Vec<Key>, signers: &mut Vec<Key>) -> Result<(), CliError> {
    let wanted = wanted.to_ascii_lowercase();
    let named = |key: &Key| keyfile::id(key).starts_with(&wanted);
    let found = roots.iter().chain(signers.iter()).filter(|key| named(key)).count();
    if wanted.len() < MIN_ID_CHARS || found == 0 {
        return Err(CliError::Usage(format!(
            "no key of root or targets has an id that begins with `{wanted}` (at least {MIN_ID_CHARS} characters); `kenny \
             keys show` lists them"
        )));
    }
    roots.retain(|key| !named(key));
    signers.retain(|key| !named(key));
    Ok(())
}

/// The ids of a role's keys in JSON.
pub fn ids(root: &Root, role: RoleType) -> Vec<String> {
    root.roles
        .get(&role)
        .map(|keys| keys.keyids.iter().map(|id| hex(id)).collect())
        .unwrap_or_default()
}
