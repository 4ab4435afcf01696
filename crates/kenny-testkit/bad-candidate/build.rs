//! Stamps the version resource of an agent into an executable that is none.

use std::env;

fn main() {
    println!("cargo:rerun-if-env-changed=KENNY_AGENT_VERSION");
    println!("cargo:rerun-if-changed=build.rs");
    let version = env::var("KENNY_AGENT_VERSION").unwrap_or_else(|_| "9.0.0-exits".to_owned());
    println!("cargo:rustc-env=KENNY_AGENT_VERSION={version}");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("windows") {
        winresource::WindowsResource::new()
            .set("ProductName", "kenny-agent")
            .set("ProductVersion", &version)
            .set("FileDescription", "a candidate of the tests of kenny")
            .compile()
            .expect("the resource compiler (windres or rc.exe) is installed");
    }
}
