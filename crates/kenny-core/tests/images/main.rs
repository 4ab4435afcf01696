//! What is read out of whole executables, good and bad.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod builder;

use std::path::Path;

use builder::{ELF_AARCH64, ELF_X86_64, PE_AARCH64, PE_X86_64, elf, note, pe, version_info};
use kenny_core::image::{ImageError, ImageFacts, NOTE_NAME, NOTE_TYPE, PRODUCT, read_facts};
use kenny_proto::{Arch, Os};

const NOTE: &[u8] = br#"{"product":"kenny-agent","version":"1.2.3-rc.1"}"#;

fn windows_agent(machine: u16, version: &str) -> Vec<u8> {
    let strings = [("FileDescription", "x"), ("ProductName", PRODUCT), ("ProductVersion", version)];
    pe(machine, Some(&version_info(&strings)))
}

fn linux_agent(machine: u16, text: &[u8]) -> Vec<u8> {
    elf(machine, &note(NOTE_NAME, NOTE_TYPE, text), 1)
}

fn facts(os: Os, arch: Arch) -> ImageFacts {
    ImageFacts { version: "1.2.3-rc.1".parse().unwrap(), os, arch }
}

#[test]
fn agents_say_what_they_are() {
    let image = windows_agent(PE_X86_64, "1.2.3-rc.1");
    assert_eq!(read_facts(&image), Ok(facts(Os::Windows, Arch::X86_64)));
    let image = windows_agent(PE_AARCH64, "1.2.3-rc.1");
    assert_eq!(read_facts(&image), Ok(facts(Os::Windows, Arch::Aarch64)));
    assert_eq!(read_facts(&linux_agent(ELF_X86_64, NOTE)), Ok(facts(Os::Linux, Arch::X86_64)));
    assert_eq!(read_facts(&linux_agent(ELF_AARCH64, NOTE)), Ok(facts(Os::Linux, Arch::Aarch64)));
}

#[test]
fn an_agent_that_is_cut_short_is_none() {
    for image in [windows_agent(PE_X86_64, "1.2.3"), linux_agent(ELF_X86_64, NOTE)] {
        for cut in 0..image.len() {
            assert!(read_facts(&image[..cut]).is_err(), "cut at {cut} of {}", image.len());
        }
    }
}

#[test]
fn overlapping_sections_do_not_multiply_the_work() {
    // 2 MiB of notes that every section names: 3 * 10^9 steps, were each of them taken.
    let notes = note("GNU", 3, &[]).repeat(130_000);
    let read = read_facts(&elf(ELF_X86_64, &notes, 20_000));
    let Err(ImageError::NotAnAgent(words)) = read else { panic!("{read:?}") };
    assert!(words.contains("1024 of its notes"), "{words}");
}

#[test]
fn an_error_repeats_little_and_nothing_that_a_terminal_obeys() {
    let product = format!("\u{1b}[2J\u{202e}{}", "x".repeat(10_000));
    let strings = [("ProductName", &*product), ("ProductVersion", "1.0.0")];
    let windows = pe(PE_X86_64, Some(&version_info(&strings)));
    let note = format!(r#"{{"product":"{product}","version":"1"}}"#);
    let malformed = format!(r#""{}""#, "x".repeat(900));
    let version = format!("1.0.0-{}", "\u{1b}".repeat(90));
    for image in [
        windows,
        windows_agent(PE_X86_64, &version),
        linux_agent(ELF_X86_64, note.as_bytes()),
        linux_agent(ELF_X86_64, malformed.as_bytes()),
    ] {
        let words = read_facts(&image).unwrap_err().to_string();
        assert!(words.len() < 400, "{} bytes: {words:.400}", words.len());
        assert!(!words.contains(['\u{1b}', '\u{202e}']), "{words:?}");
    }
}

#[test]
fn a_version_is_short_and_a_note_too() {
    let longest = format!("1.0.0-{}", "x".repeat(122));
    assert_eq!(
        read_facts(&windows_agent(PE_X86_64, &longest)).unwrap().version.to_string(),
        longest
    );
    let read = read_facts(&windows_agent(PE_X86_64, &format!("{longest}x")));
    let Err(ImageError::NotAnAgent(words)) = read else { panic!("{read:?}") };
    assert!(words.contains("128 bytes"), "{words}");
    let note = [NOTE, &[b' '; 1000]].concat();
    let read = read_facts(&linux_agent(ELF_X86_64, &note));
    let Err(ImageError::NotAnAgent(words)) = read else { panic!("{read:?}") };
    assert!(words.contains("1024 bytes"), "{words}");
}

#[test]
fn a_big_endian_executable_is_for_no_platform_of_ours() {
    let mut image = linux_agent(ELF_AARCH64, NOTE);
    image[5] = 2;
    for number in [16..18, 18..20, 20..24, 40..48, 58..60, 60..62] {
        image[number].reverse();
    }
    assert_eq!(read_facts(&image), Err(ImageError::Platform("big-endian".to_owned())));
}

/// What the fuzzer starts from, by file name.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let other_notes = [note("GNU", 1, &[1; 16]), note(NOTE_NAME, NOTE_TYPE + 1, b"later")].concat();
    let notes = [other_notes, note(NOTE_NAME, NOTE_TYPE, NOTE)].concat();
    let unnamed = version_info(&[("ProductVersion", "1.0.0")]);
    let foreign = version_info(&[("ProductName", "notepad"), ("ProductVersion", "10.0.1.2")]);
    vec![
        ("agent-x86_64.pe", windows_agent(PE_X86_64, "1.2.3-rc.1")),
        ("agent-aarch64.pe", windows_agent(PE_AARCH64, "1.2.3")),
        ("agent-i386.pe", windows_agent(0x014c, "1.2.3")),
        ("agent-without-semver.pe", windows_agent(PE_X86_64, "10.0.1.2")),
        ("unnamed.pe", pe(PE_X86_64, Some(&unnamed))),
        ("foreign.pe", pe(PE_X86_64, Some(&foreign))),
        ("empty.pe", pe(PE_X86_64, None)),
        ("agent-x86_64.elf", linux_agent(ELF_X86_64, NOTE)),
        ("agent-aarch64.elf", elf(ELF_AARCH64, &notes, 2)),
        ("agent-riscv.elf", linux_agent(243, NOTE)),
        ("agent-malformed.elf", linux_agent(ELF_X86_64, br#"{"product":7}"#)),
        ("foreign.elf", elf(ELF_X86_64, &note("GNU", 3, &[1; 20]), 1)),
        ("empty.elf", elf(ELF_X86_64, &[], 0)),
    ]
}

#[test]
fn the_seeds_of_the_fuzzer_are_what_the_builder_makes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/image");
    let write = std::env::var_os("KENNY_WRITE_SEEDS").is_some();
    for (name, seed) in seeds() {
        let path = folder.join(name);
        if write {
            #[expect(clippy::disallowed_methods, reason = "somebody asked for the files")]
            std::fs::write(&path, &seed).unwrap();
        }
        #[expect(clippy::disallowed_methods, reason = "the corpus lies in files")]
        let committed = std::fs::read(&path).unwrap();
        assert_eq!(committed, seed, "{name}: KENNY_WRITE_SEEDS=1 writes it anew");
    }
}
