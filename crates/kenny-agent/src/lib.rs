//! The agent of kenny. `main.rs` is wiring; everything it wires is here, so that tests and rigs can use it.

pub mod carried;
pub mod cli;
pub mod config;
pub mod desktop;
mod dispatch;
pub mod enrolment;
pub mod first_install;
pub mod identity;
pub mod layout;
pub mod logging;
mod output;
pub mod pause;
pub mod platform;
pub mod policy;
pub mod protect;
pub mod run;
pub mod service;
pub mod state;
mod tools;
pub mod trust;
pub mod tunnel;
pub mod update;

/// This executable's version, stamped by the build script.
pub const VERSION: &str = env!("KENNY_AGENT_VERSION");

/// A path of the tunnel's server over HTTP.
fn http_url(tunnel: &url::Url, path: &str) -> url::Url {
    let mut url = tunnel.clone();
    // `set_scheme` takes ws to http and wss to https: all four are what the URL standard calls special.
    let changed = url.set_scheme(if url.scheme() == "wss" { "https" } else { "http" });
    debug_assert!(changed.is_ok());
    url.set_path(path);
    url.set_query(None);
    url
}

/// An error with its causes in one line.
pub fn words(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

#[cfg(target_os = "linux")]
mod note {
    //! What the executable says of itself, for whoever reads the file (`kenny_core::image`).

    #[repr(C, align(4))]
    struct Aligned<const LENGTH: usize>([u8; LENGTH]);

    include!(concat!(env!("OUT_DIR"), "/note.rs"));
}
