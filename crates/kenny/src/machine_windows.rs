//! What this machine is called, on Windows.

/// Its NetBIOS name, which Windows gives every process.
pub fn name() -> Option<String> {
    std::env::var("COMPUTERNAME").ok()
}
