//! Signed executables, signed and verified by `osslsigncode`.

use std::path::Path;
use std::process::{Command, Output};

use kenny_core::authenticode::signer;
use kenny_core::image::read_facts;
use kenny_core::invitation::find;

use crate::{TEXT, agent, carrying, sha256};

/// Runs a program in a folder; it and what it needs are there.
fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    let run = Command::new(program).args(arguments).current_dir(folder).output();
    run.unwrap_or_else(|error| {
        panic!("{program} does not run ({error}): `cargo xtask setup` installs osslsigncode and openssl")
    })
}

fn well(folder: &Path, program: &str, arguments: &[&str]) -> String {
    let output = run(folder, program, arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}{words}");
    said
}

/// Makes a key and a certificate of this name, and signs an executable with them.
fn sign(folder: &Path, subject: &str, executable: &[u8]) -> Vec<u8> {
    write(folder, "own.exe", executable);
    let make = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 3650 -addext extendedKeyUsage=codeSigning -subj";
    let make: Vec<&str> = make.split(' ').chain([subject]).collect();
    well(folder, "openssl", &make);
    let sign = "sign -certs cert.pem -key key.pem -h sha256 -in own.exe -out signed.exe";
    well(folder, "osslsigncode", &sign.split(' ').collect::<Vec<_>>());
    read(folder, "signed.exe")
}

fn write(folder: &Path, name: &str, bytes: &[u8]) {
    #[expect(clippy::disallowed_methods, reason = "a program of others reads it")]
    std::fs::write(folder.join(name), bytes).unwrap();
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    #[expect(clippy::disallowed_methods, reason = "a program of others wrote it")]
    std::fs::read(folder.join(name)).unwrap()
}

fn verify(folder: &Path, bytes: &[u8]) -> Output {
    write(folder, "given.exe", bytes);
    run(folder, "osslsigncode", &["verify", "-CAfile", "cert.pem", "-in", "given.exe"])
}

#[test]
fn a_signature_stays_valid_and_the_executable_comes_out_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let own = sign(folder, "/O=Kenny/CN=Kenny Test Signing", &agent());
    let whole = carrying(&own, TEXT);
    for bytes in [&own, &whole] {
        let verified = verify(folder, bytes);
        let said = String::from_utf8_lossy(&verified.stdout);
        assert!(verified.status.success() && said.contains("Succeeded"), "{said}");
        assert!(!said.contains("MISMATCH"), "{said}");
    }
    let found = find(&whole, sha256).unwrap().unwrap();
    assert_eq!(found.text(), TEXT);
    assert_eq!(found.without(sha256).unwrap(), own);
    assert_eq!(read_facts(&whole), read_facts(&own));
    // What is signed is still signed: a changed byte of the program is not.
    let mut changed = whole.clone();
    let at = agent().len() - 1;
    changed[at] ^= 1;
    assert!(!verify(folder, &changed).status.success());
}

#[test]
fn the_signer_is_read_with_the_invitation_and_without() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let own = sign(folder, "/O=Kenny/CN=Kenny Tests \u{e9}", &agent());
    well(
        folder,
        "openssl",
        &"x509 -in cert.pem -outform der -out cert.der".split(' ').collect::<Vec<_>>(),
    );
    let certificate = read(folder, "cert.der");
    for bytes in [&own, &carrying(&own, TEXT)] {
        let signer = signer(bytes).unwrap().unwrap();
        assert_eq!(signer.certificate, certificate);
        assert!(signer.common_name.starts_with("Kenny Tests"), "{}", signer.common_name);
    }
    assert_eq!(signer(&agent()), Ok(None));
    assert_eq!(signer(b"\x7fELF"), Ok(None));
    // Damaged in any byte of the signature, it is another signer, an error, or the same.
    for at in agent().len()..own.len() {
        let mut changed = own.clone();
        changed[at] ^= 0x10;
        drop(signer(&changed));
    }
}
