//! What can be typed about accounts, tokens, and who one is.

use clap::{Args, Subcommand};
use kenny_proto::{AccountName, Role};
use url::Url;

use crate::expiry::Expiry;

/// `kenny login`.
#[derive(Debug, Args)]
pub struct LoginArgs {
    /// The server's address, such as <https://kenny.example.net>
    pub url: Url,
    /// Log in to this account: its password is asked for (or read from a pipe), and makes a new token for this machine.
    /// Without it a token is asked for
    #[arg(long, value_name = "NAME")]
    pub account: Option<AccountName>,
    /// With --account: what the new token is for [default: this machine's name]
    #[arg(long, value_name = "TEXT", requires = "account")]
    pub name: Option<String>,
    /// With --account: what the new token may do [default: what the account may]
    #[arg(long, requires = "account")]
    pub role: Option<Role>,
    /// With --account: when the new token ends, such as 90d [default: never by itself]
    #[arg(long, value_name = "WHEN", requires = "account")]
    pub expires: Option<Expiry>,
}

/// About accounts.
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    /// List all accounts
    List,
    /// Make an account: prints a random password, this once
    Create {
        /// The name that it will have
        name: AccountName,
        /// What it may do: viewer, operator or owner
        #[arg(long)]
        role: Role,
    },
    /// Change what an account may do
    SetRole {
        /// The account
        name: AccountName,
        /// What it may do from now on: viewer, operator or owner
        role: Role,
    },
    /// Let nobody in through an account any more: revokes its tokens and ends its sessions
    Disable {
        /// The account
        name: AccountName,
    },
    /// Let somebody in through an account again
    Enable {
        /// The account
        name: AccountName,
    },
    /// Give an account a random password, for who forgot it or lost the second factor; its tokens are revoked
    Reset {
        /// The account
        name: AccountName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Remove an account and its tokens
    Remove {
        /// The account
        name: AccountName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Change the own password (asked for, or read from a pipe: the old one, if there is one, then the new one)
    Password,
    /// The own second factor: codes of an authenticator (TOTP)
    #[command(subcommand)]
    Totp(TotpCommand),
}

/// About the own second factor.
#[derive(Debug, Subcommand)]
pub enum TotpCommand {
    /// Set it up: shows a secret for the authenticator and asks for its first code
    Enable,
    /// Have the password be enough
    Disable,
    /// Make new recovery codes; the ones before are worth nothing then
    RecoveryCodes,
}

/// About API tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token of the own account: prints it, this once
    Create {
        /// What it is for, such as the program that will use it
        name: String,
        /// What it may do [default: what the token in use may]
        #[arg(long)]
        role: Option<Role>,
        /// When it ends, such as 90d, 12h or 2027-01-31T00:00:00Z [default: never by itself]
        #[arg(long, value_name = "WHEN")]
        expires: Option<Expiry>,
    },
    /// List the own tokens, or those of another account
    List {
        /// Those of this account (for owners)
        #[arg(long, value_name = "NAME")]
        account: Option<AccountName>,
    },
    /// Revoke a token: an own one, or for owners any
    Revoke {
        /// Its id, as `kenny token list` shows it
        id: i64,
    },
}
