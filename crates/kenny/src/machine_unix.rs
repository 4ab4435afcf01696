//! What this machine is called, on Unix.

/// Its host name, where it has one.
pub fn name() -> Option<String> {
    nix::unistd::gethostname().ok()?.into_string().ok()
}
