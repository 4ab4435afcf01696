//! What the operator can set: flags, each also as an environment variable, checked once at start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kenny_core::rollout::Pace;
use kenny_proto::AccountName;
use kenny_proto::audit::AuditAnchor;
use url::Url;

use crate::limits::Limits;
use crate::releases::bytes_per_s;
use crate::trust::Lifetimes;

/// The command line of `kenny-server`.
#[derive(Debug, Parser)]
#[command(name = "kenny-server", version, about = "The server of kenny.", max_term_width = 100)]
pub struct Cli {
    /// Folder for the database and the releases; made when it is not there.
    #[arg(
        long,
        env = "KENNY_DATA_DIR",
        default_value = "kenny-data",
        value_name = "DIR",
        global = true
    )]
    pub data_dir: PathBuf,
    /// Flags of the server itself.
    #[command(flatten)]
    pub options: Options,
    /// What else to do than to serve.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Subcommands; without one the server runs.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Makes a new token of the account `owner` and prints it; its old ones are worth nothing from then on. The server must
    /// not run.
    ResetToken,
    /// Helps an account whose password or second factor is lost. The server must not run.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Prints the OpenAPI document of the REST API.
    Openapi,
    /// Looks at the audit log in the data folder, whether the server runs or not.
    #[command(subcommand)]
    Audit(AuditCommand),
}

/// About the audit log.
#[derive(Debug, Clone, Subcommand)]
pub enum AuditCommand {
    /// Finds out whether a row was changed, is missing, stands elsewhere or was cut off; prints where the log ends.
    Verify {
        /// A place that the log had once, as this command or `kenny audit verify` printed it; may be given again.
        #[arg(long, value_name = "SEQUENCE:HASH")]
        anchor: Vec<AuditAnchor>,
    },
}

/// About one account.
#[derive(Debug, Clone, Subcommand)]
pub enum AccountCommand {
    /// Gives it a random password and prints it; its second factor, tokens and sessions are gone, and it is enabled.
    Reset {
        /// The account's name
        name: AccountName,
    },
}

/// Flags of the server itself.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, env = "KENNY_LISTEN", default_value_t = DEFAULT_LISTEN, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
    /// Certificate chain for HTTPS, PEM.
    #[arg(long, env = "KENNY_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// Private key for HTTPS, PEM.
    #[arg(long, env = "KENNY_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Serve plain HTTP beyond this machine, for example behind a proxy that does TLS.
    #[arg(long, env = "KENNY_INSECURE_HTTP", value_parser = clap::builder::FalseyValueParser::new())]
    pub insecure_http: bool,
    /// How agents and operators reach the server, such as https://kenny.example.org; needed behind a proxy.
    #[arg(long, env = "KENNY_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<Url>,
    /// A proxy in front of the server whose X-Forwarded-For is believed; may be given again. Nobody else's is.
    #[arg(long, env = "KENNY_TRUSTED_PROXY", value_name = "ADDRESS", value_delimiter = ',')]
    pub trusted_proxy: Vec<IpAddr>,
    /// Certificates (PEM) that invited PCs shall trust besides their system's, where the server's is of an own authority.
    #[arg(long, env = "KENNY_AGENT_CA", value_name = "FILE")]
    pub agent_ca: Option<PathBuf>,
    /// Days for which a signed snapshot of the releases holds; it is renewed at half of that.
    #[arg(long, env = "KENNY_SNAPSHOT_DAYS", value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=90))]
    pub snapshot_days: u32,
    /// Hours for which a signed timestamp holds, and so the longest that a newer release can be hidden from agents;
    /// it is renewed after a quarter of that.
    #[arg(long, env = "KENNY_TIMESTAMP_HOURS", value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=720))]
    pub timestamp_hours: u32,
    /// Cap on all downloads of releases together in bytes per second, such as 500k or 2M, so that many agents that update at once
    /// do not take the whole line.
    #[arg(long, env = "KENNY_DOWNLOAD_LIMIT", value_name = "BYTES", value_parser = bytes_per_s)]
    pub download_limit: Option<NonZeroU64>,
    /// For tests: milliseconds that the server waits after a first failed update; later waits grow from it.
    #[arg(long, value_name = "MS", hide = true)]
    pub retry_backoff_ms: Option<u64>,
    /// For tests: how long an update may be silent, in hundredths of the usual time.
    #[arg(long, value_name = "PERCENT", hide = true)]
    pub silence_percent: Option<u32>,
    /// How log lines look on stderr.
    #[arg(long, env = "KENNY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Where the server listens when nothing else is said.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7741);

/// What a server is made of.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder for the database and the releases.
    pub data_dir: PathBuf,
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Certificate and key; plain HTTP without.
    pub tls: Option<TlsFiles>,
    /// Plain HTTP beyond this machine is wanted.
    pub insecure_http: bool,
    /// How others reach the server.
    pub public_url: Option<Url>,
    /// Certificates that invited PCs trust besides their system's.
    pub agent_ca: Option<PathBuf>,
    /// Time between heartbeats; three without a frame mean offline.
    pub heartbeat: Duration,
    /// How long updates may take, and how long they rest after a failure.
    pub pace: Pace,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpAddr>,
    /// Bounds for whoever has not proved who it is.
    pub limits: Limits,
    /// The cap on all downloads together, in bytes per second.
    pub download_limit: Option<NonZeroU64>,
    /// For how long the server's own signatures hold.
    pub lifetimes: Lifetimes,
}

/// PEM files for HTTPS.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate chain.
    pub cert: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Settings that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Tokens would cross the network in the clear.
    #[error(
        "{0} can be reached from other machines, and without TLS tokens would cross the network in the clear. \
         Give --tls-cert and --tls-key, or listen on 127.0.0.1, or say --insecure-http when a proxy in front does TLS"
    )]
    PlainBeyondLoopback(SocketAddr),
    /// Not a URL that links can be built on.
    #[error(
        "--public-url `{0}` must look like https://kenny.example.org: http or https, a host, and no path, query or password"
    )]
    PublicUrl(Url),
}

impl Config {
    /// The defaults, with this data folder.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            listen: DEFAULT_LISTEN,
            tls: None,
            insecure_http: false,
            public_url: None,
            agent_ca: None,
            heartbeat: Duration::from_secs(u64::from(kenny_proto::HEARTBEAT_S)),
            pace: Pace::default(),
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
            download_limit: None,
            lifetimes: Lifetimes::default(),
        }
    }

    /// What the command line says.
    pub fn from_cli(data_dir: PathBuf, options: Options) -> Self {
        let usual = Pace::default();
        let pace = Pace {
            first_backoff: options
                .retry_backoff_ms
                .map_or(usual.first_backoff, Duration::from_millis),
            deadline_percent: options.silence_percent.unwrap_or(usual.deadline_percent),
        };
        let hours = |hours: u32| Duration::from_hours(u64::from(hours));
        let lifetimes = Lifetimes {
            snapshot: hours(options.snapshot_days * 24),
            timestamp: hours(options.timestamp_hours),
        };
        Self {
            pace,
            lifetimes,
            listen: options.listen,
            tls: options.tls_cert.zip(options.tls_key).map(|(cert, key)| TlsFiles { cert, key }),
            insecure_http: options.insecure_http,
            public_url: options.public_url,
            trusted_proxies: options.trusted_proxy.iter().map(IpAddr::to_canonical).collect(),
            agent_ca: options.agent_ca,
            download_limit: options.download_limit,
            ..Self::new(data_dir)
        }
    }

    /// Refuses settings that do not go together.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.tls.is_none() && !self.insecure_http && !self.listen.ip().is_loopback() {
            return Err(ConfigError::PlainBeyondLoopback(self.listen));
        }
        if let Some(url) = &self.public_url {
            let bare = matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.path() == "/"
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none();
            if !bare {
                return Err(ConfigError::PublicUrl(url.clone()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_stays_on_this_machine_unless_asked_otherwise() {
        let mut config = Config::new("data");
        assert_eq!(config.check(), Ok(()));
        config.listen = "0.0.0.0:7741".parse().unwrap();
        assert_eq!(config.check(), Err(ConfigError::PlainBeyondLoopback(config.listen)));
        config.insecure_http = true;
        assert_eq!(config.check(), Ok(()));
        config.insecure_http = false;
        config.tls = Some(TlsFiles { cert: "c".into(), key: "k".into() });
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    fn a_public_url_is_an_origin() {
        let check = |url: &str| {
            Config { public_url: Some(url.parse().unwrap()), ..Config::new("data") }.check().is_ok()
        };
        assert!(check("https://kenny.example.org"));
        assert!(check("http://kenny.example.org:8080/"));
        for bad in ["ftp://a", "https://a/b", "https://a?x", "https://u:p@a", "https://a/#f"] {
            assert!(!check(bad), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["kenny-server", "--tls-cert", "a"]);
        assert!(cli.is_err(), "a certificate needs its key");
    }
}
