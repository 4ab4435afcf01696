//! Which server is meant, and with which token: from the command line, the environment, or what `kenny login` kept.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, process};

use kenny_proto::AccountName;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::cli::Connection;
use crate::error::CliError;
use crate::secret_file;

/// Where a server on the same machine listens unless told otherwise.
const DEFAULT_SERVER: &str = "http://127.0.0.1:7741";

/// What `kenny login` keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The server.
    pub server: Url,
    /// The token there.
    pub token: String,
    /// Certificates to trust besides those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The account whose password made the token, for this machine alone; none where the token was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AccountName>,
}

/// The server that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its address.
    pub server: Url,
    /// The token there, if one is known.
    pub token: Option<String>,
    /// Certificates to trust besides those of the system.
    pub ca_file: Option<PathBuf>,
}

impl Target {
    /// What the command line and the environment say, filled up from the kept login.
    pub fn resolve(connection: Connection) -> Result<Self, CliError> {
        let kept = if connection.server.is_some() && connection.token.is_some() {
            None
        } else {
            Login::read(&Login::path()?)?
        };
        Self::combine(connection, kept)
    }

    fn combine(connection: Connection, kept: Option<Login>) -> Result<Self, CliError> {
        // A kept token belongs to the server that it was kept for and is sent to no other.
        let kept = kept.filter(|login| {
            connection.server.as_ref().is_none_or(|server| same_server(server, &login.server))
        });
        let (server, token, ca_file) = match kept {
            Some(login) => (Some(login.server), Some(login.token), login.ca_file),
            None => (None, None, None),
        };
        let server = connection
            .server
            .or(server)
            .unwrap_or_else(|| DEFAULT_SERVER.parse().expect("the default address is an address"));
        check(&server)?;
        Ok(Self {
            server,
            token: connection.token.or(token),
            ca_file: connection.ca_file.or(ca_file),
        })
    }
}

/// Refuses addresses that cannot be a server's.
pub fn check(server: &Url) -> Result<(), CliError> {
    if !matches!(server.scheme(), "http" | "https") || server.host_str().is_none() {
        return Err(CliError::Usage(format!(
            "`{server}` is not a server's address; it looks like https://kenny.example.net or {DEFAULT_SERVER}"
        )));
    }
    if !server.username().is_empty() || server.password().is_some() {
        return Err(CliError::Usage(
            "the server's address must not hold a user name or password; the token goes into --token or KENNY_TOKEN"
                .to_owned(),
        ));
    }
    Ok(())
}

/// True when both are the same server's address.
pub fn same_server(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
        && one.path().trim_end_matches('/') == other.path().trim_end_matches('/')
}

impl Login {
    /// Where it is kept: `$XDG_CONFIG_HOME/kenny/cli.json`, or the same in the user's own configuration folder.
    pub fn path() -> Result<PathBuf, CliError> {
        let folder =
            |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = folder("XDG_CONFIG_HOME")
            .or_else(|| folder("APPDATA"))
            .or_else(|| folder("HOME").map(|home| home.join(".config")))
            .ok_or_else(|| {
                CliError::Usage(
                    "neither XDG_CONFIG_HOME nor HOME is set, so that there is no place for the login; use --server and --token"
                        .to_owned(),
                )
            })?;
        Ok(base.join("kenny").join("cli.json"))
    }

    /// Reads it; `None` when nobody logged in.
    pub fn read(path: &Path) -> Result<Option<Self>, CliError> {
        let text = match fs_err::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CliError::File(error)),
        };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            CliError::Usage(format!(
                "the kept login in {} cannot be read ({error}); run `kenny login URL` again",
                path.display()
            ))
        })
    }

    /// Writes it for its owner alone; a reader sees the old or the new one, never half.
    pub fn write(&self, path: &Path) -> Result<(), CliError> {
        let folder = path.parent().expect("the path was made of a folder and a name");
        fs_err::create_dir_all(folder).map_err(CliError::File)?;
        let temporary = path.with_extension(format!("{}.part", process::id()));
        let written = self.write_to(&temporary).and_then(|()| fs_err::rename(&temporary, path));
        written.map_err(|error| {
            // The error that matters is the first one.
            let _ = fs_err::remove_file(&temporary);
            CliError::File(error)
        })
    }

    fn write_to(&self, path: &Path) -> io::Result<()> {
        let mut file = secret_file::create_new(path)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.write_all(b"\n")?;
        file.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(server: Option<&str>, token: Option<&str>) -> Connection {
        Connection {
            server: server.map(|url| url.parse().unwrap()),
            token: token.map(str::to_owned),
            ca_file: None,
        }
    }

    fn kept() -> Login {
        let server = "https://kenny.example.net/".parse().unwrap();
        Login { server, token: "kept".to_owned(), ca_file: None, account: None }
    }

    fn resolved(server: Option<&str>, token: Option<&str>) -> (String, Option<String>) {
        let target = Target::combine(connection(server, token), Some(kept())).unwrap();
        (target.server.to_string(), target.token)
    }

    #[test]
    fn a_kept_token_goes_to_its_own_server_only() {
        let own = "https://kenny.example.net/".to_owned();
        let token = Some("kept".to_owned());
        assert_eq!(resolved(None, None), (own.clone(), token.clone()));
        assert_eq!(resolved(Some("https://kenny.example.net"), None), (own.clone(), token));
        assert_eq!(resolved(None, Some("given")), (own, Some("given".to_owned())));
        for other in [
            "http://kenny.example.net/",
            "https://kenny.example.net:8443/",
            "https://evil.example/",
        ] {
            assert_eq!(resolved(Some(other), None), (other.to_owned(), None));
        }
    }

    #[test]
    fn without_anything_the_server_of_this_machine_is_meant() {
        let target = Target::combine(connection(None, None), None).unwrap();
        assert_eq!(target.server.as_str(), "http://127.0.0.1:7741/");
        assert_eq!(target.token, None);
    }

    #[test]
    fn addresses_that_are_none_are_refused() {
        for bad in ["ws://x/", "https://user@host/", "file:///etc"] {
            assert!(matches!(check(&bad.parse().unwrap()), Err(CliError::Usage(_))), "{bad}");
        }
    }

    #[test]
    fn a_login_is_kept_and_replaced() {
        let folder = env::temp_dir().join(format!("kenny-test-{}", uuid::Uuid::new_v4()));
        let path = folder.join("kenny/cli.json");
        assert_eq!(Login::read(&path).unwrap(), None);
        for token in ["one", "two"] {
            let login = Login { token: token.to_owned(), ..kept() };
            login.write(&path).unwrap();
            assert_eq!(Login::read(&path).unwrap(), Some(login));
        }
        assert_eq!(fs_err::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        fs_err::write(&path, "{").unwrap();
        assert!(Login::read(&path).unwrap_err().to_string().contains("kenny login"));
        fs_err::remove_dir_all(folder).unwrap();
    }
}
