//! Stamps the one version into the executable: the Windows version resource, the ELF note and the constant.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-env-changed=KENNY_AGENT_VERSION");
    println!("cargo:rerun-if-changed=build.rs");
    let version = env::var("KENNY_AGENT_VERSION")
        .unwrap_or_else(|_| env::var("CARGO_PKG_VERSION").expect("cargo sets it"));
    println!("cargo:rustc-env=KENNY_AGENT_VERSION={version}");
    let out = env::var("OUT_DIR").expect("cargo sets it");
    std::fs::write(Path::new(&out).join("note.rs"), note(&version))
        .expect("OUT_DIR can be written");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("windows") {
        resource(&version);
    }
}

/// An ELF note (name `kenny`, type 1) as a byte array: sizes, type, name and descriptor, each padded to 4.
fn note(version: &str) -> String {
    let name = b"kenny\0";
    let text = format!(r#"{{"product":"kenny-agent","version":"{version}"}}"#);
    let mut bytes: Vec<u8> = Vec::new();
    for word in [name.len(), text.len(), 1] {
        bytes.extend(u32::try_from(word).expect("a note is short").to_le_bytes());
    }
    for part in [name.as_slice(), text.as_bytes()] {
        bytes.extend(part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    format!(
        "#[used]\n#[unsafe(link_section = \".note.kenny\")]\nstatic NOTE: Aligned<{0}> = Aligned({bytes:?});\n",
        bytes.len()
    )
}

fn resource(version: &str) {
    let mut resource = winresource::WindowsResource::new();
    let number = version.split(['-', '+']).next().unwrap_or_default();
    let mut parts = number.split('.').map(|part| part.parse::<u64>().unwrap_or(0));
    let packed = (0..3).fold(0, |packed, _| packed << 16 | parts.next().unwrap_or(0)) << 16;
    resource
        .set_version_info(winresource::VersionInfo::FILEVERSION, packed)
        .set_version_info(winresource::VersionInfo::PRODUCTVERSION, packed)
        .set("ProductName", "kenny-agent")
        .set("ProductVersion", version)
        .set("FileVersion", version)
        .set("FileDescription", "kenny agent")
        .set("OriginalFilename", "kenny-agent.exe")
        .set("LegalCopyright", "Apache-2.0 OR MIT")
        .set_manifest(MANIFEST);
    resource.compile().expect("the resource compiler (windres or rc.exe) is installed");
}

const MANIFEST: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0">
  <trustInfo xmlns="urn:schemas-microsoft-com:asm.v3"><security><requestedPrivileges>
    <requestedExecutionLevel level="asInvoker" uiAccess="false"/>
  </requestedPrivileges></security></trustInfo>
  <compatibility xmlns="urn:schemas-microsoft-com:compatibility.v1"><application>
    <supportedOS Id="{8e0f7a12-bfb3-4fe8-b9a5-48fd50a15a9a}"/>
  </application></compatibility>
  <application xmlns="urn:schemas-microsoft-com:asm.v3"><windowsSettings>
    <longPathAware xmlns="http://schemas.microsoft.com/SMI/2016/WindowsSettings">true</longPathAware>
  </windowsSettings></application>
</assembly>
"#;
