//! What can be typed about releases, and about the keys that sign them.

use std::num::NonZeroU64;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use semver::{Version, VersionReq};

/// About releases.
#[derive(Debug, Subcommand)]
pub enum ReleaseCommand {
    /// Upload agents' executables; each says itself which version and platform it is
    Add {
        /// The executables
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// List what agents can be updated to, and what was withdrawn
    List,
    /// Remove a version, for every platform, with its files; what is signed is withdrawn first
    Remove {
        /// The version
        version: Version,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Sign releases offline: makes the next targets metadata of a repository folder
    Sign(SignArgs),
    /// Send what was signed, with the executables, to the server
    Publish(RepositoryArgs),
    /// Get what was signed from the server into a repository folder, to sign on top of it
    Fetch(RepositoryArgs),
}

/// Which repository folder.
#[derive(Debug, Args)]
pub struct RepositoryArgs {
    /// The folder that `kenny keys init` made, or a copy of it without the keys
    #[arg(long, value_name = "DIR", env = "KENNY_REPOSITORY", default_value = DEFAULT_REPOSITORY)]
    pub repository: PathBuf,
}

/// Which private keys, and how they are opened.
#[derive(Debug, Args)]
pub struct KeyArgs {
    /// Sign with this private key; may be given several times [default: every *.pem in keys/ of the folder]
    #[arg(long = "key", value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// How they are opened
    #[command(flatten)]
    pub passphrase: PassphraseArgs,
}

/// What opens private keys.
#[derive(Debug, Args)]
pub struct PassphraseArgs {
    /// Read the passphrase of the keys from the first line of this file instead of asking; KENNY_KEY_PASSPHRASE does the same
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

/// `kenny release sign`.
#[derive(Debug, Args)]
pub struct SignArgs {
    /// The executables; each says itself which version and platform it is
    #[arg(required_unless_present_any = ["add_signature", "renew", "withdraw"], conflicts_with_all = ["add_signature", "renew"])]
    pub files: Vec<PathBuf>,
    /// The folder that `kenny keys init` made, or a copy of it without the keys
    #[command(flatten)]
    pub repository: RepositoryArgs,
    /// The keys
    #[command(flatten)]
    pub keys: KeyArgs,
    /// Which versions may go to these, such as ">=0.3.0, <2.0.0" [default: all]
    #[arg(long, value_name = "REQUIREMENT", requires = "files")]
    pub from: Option<VersionReq>,
    /// Permit agents that run something newer to go down to these
    #[arg(long, requires = "files")]
    pub rollback_to: bool,
    /// Take this version out of the metadata; may be given several times
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["add_signature"])]
    pub withdraw: Vec<Version>,
    /// Change nothing but the end: sign what is there for another while
    #[arg(long, conflicts_with_all = ["add_signature", "withdraw"])]
    pub renew: bool,
    /// Add a signature to what others signed: shows what it is, then signs the newest root and targets metadata with the
    /// keys that are here
    #[arg(long)]
    pub add_signature: bool,
    /// With --add-signature: do not ask
    #[arg(long, requires = "add_signature")]
    pub yes: bool,
    /// Days that the targets metadata holds
    #[arg(long, value_name = "DAYS", default_value_t = TARGETS_DAYS, value_parser = days())]
    pub targets_days: u32,
}

/// About the keys that sign releases.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make one key: a private half under a passphrase, and a public half in a file with .pub
    New {
        /// Where the private half goes, such as anna.pem
        file: PathBuf,
        /// How it is closed
        #[command(flatten)]
        passphrase: PassphraseArgs,
    },
    /// Make keys and a repository folder: root and targets metadata, signed
    Init(InitArgs),
    /// Show the keys of a repository folder, its metadata, and which signatures are missing
    Show {
        /// The folder
        #[arg(default_value = DEFAULT_REPOSITORY)]
        dir: PathBuf,
    },
    /// Make the next root metadata: with other keys, or with the same for another while
    Rotate(RotateArgs),
}

/// `kenny keys init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder; made where it is not there
    pub dir: PathBuf,
    /// How many root keys to make here
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=16))]
    pub root_keys: u32,
    /// How many root keys have to sign the next root
    #[arg(long, value_name = "COUNT", default_value = "2")]
    pub root_threshold: NonZeroU64,
    /// How many targets keys to make here
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=16))]
    pub targets_keys: u32,
    /// How many targets keys have to sign releases
    #[arg(long, value_name = "COUNT", default_value = "1")]
    pub targets_threshold: NonZeroU64,
    /// Keys from elsewhere
    #[command(flatten)]
    pub added: AddedKeys,
    /// The server's public key, as `kenny status` shows it [default: asked of the server]
    #[arg(long, value_name = "HEX")]
    pub online_key: Option<String>,
    /// The passphrase
    #[command(flatten)]
    pub keys: KeyArgs,
    /// For how long
    #[command(flatten)]
    pub lifetimes: LifetimeArgs,
}

/// `kenny keys rotate`.
#[derive(Debug, Args)]
pub struct RotateArgs {
    /// The folder
    #[arg(default_value = DEFAULT_REPOSITORY)]
    pub dir: PathBuf,
    /// Take this key out: its id, or the beginning of it; may be given several times
    #[arg(long, value_name = "KEY_ID")]
    pub remove: Vec<String>,
    /// How many root keys to make here
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16))]
    pub new_root_keys: u32,
    /// How many targets keys to make here
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=16))]
    pub new_targets_keys: u32,
    /// Keys from elsewhere
    #[command(flatten)]
    pub added: AddedKeys,
    /// How many root keys have to sign from now on [default: as before]
    #[arg(long, value_name = "COUNT")]
    pub root_threshold: Option<NonZeroU64>,
    /// How many targets keys have to sign from now on [default: as before]
    #[arg(long, value_name = "COUNT")]
    pub targets_threshold: Option<NonZeroU64>,
    /// Have the server make a new key for snapshot and timestamp, and name it
    #[arg(long, conflicts_with = "online_key")]
    pub new_online_key: bool,
    /// Name this key of a server, such as one that took the place of another
    #[arg(long, value_name = "HEX")]
    pub online_key: Option<String>,
    /// The keys
    #[command(flatten)]
    pub keys: KeyArgs,
    /// For how long
    #[command(flatten)]
    pub lifetimes: LifetimeArgs,
}

/// Keys that others made.
#[derive(Debug, Args)]
pub struct AddedKeys {
    /// A root key that was made elsewhere (`kenny keys new`): its public half
    #[arg(long, value_name = "FILE")]
    pub add_root: Vec<String>,
    /// A targets key that was made elsewhere: its public half
    #[arg(long, value_name = "FILE")]
    pub add_targets: Vec<String>,
}

/// For how long signatures hold.
#[derive(Debug, Args)]
pub struct LifetimeArgs {
    /// Days that the root metadata holds
    #[arg(long, value_name = "DAYS", default_value_t = ROOT_DAYS, value_parser = days())]
    pub root_days: u32,
    /// Days that the targets metadata holds
    #[arg(long, value_name = "DAYS", default_value_t = TARGETS_DAYS, value_parser = days())]
    pub targets_days: u32,
}

/// Where a repository is unless told otherwise.
const DEFAULT_REPOSITORY: &str = "kenny-repository";

/// A year: keys that lie in a safe are looked for once a year.
const ROOT_DAYS: u32 = 365;

/// Half a year: whoever releases nothing for so long is reminded a month before, and a PC that was off for as long
/// still learns of it.
const TARGETS_DAYS: u32 = 180;

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=3650)
}
