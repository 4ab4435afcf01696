//! Every file of the fuzzer's corpora holds what the fuzzer checks.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../fuzz/checks/image.rs"]
mod image;
#[path = "../../../fuzz/checks/invitation.rs"]
mod invitation;
#[path = "../../../fuzz/checks/journal.rs"]
mod journal;

use std::path::{Path, PathBuf};

/// What all corpora together may have: they are in git.
const MAX_CORPORA_BYTES: u64 = 1024 * 1024;

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// How many files were understood, and how many refused.
fn run(target: &str, check: fn(&[u8]) -> bool) -> (usize, usize) {
    let files = corpus(target);
    let understood = files
        .iter()
        .filter(|path| {
            #[expect(clippy::disallowed_methods, reason = "the corpus lies in files")]
            let input = std::fs::read(path).unwrap();
            check(&input)
        })
        .count();
    (understood, files.len() - understood)
}

#[test]
fn executables_are_read_wherever_they_lie_and_refused_in_few_words() {
    let (agents, others) = run("image", image::check);
    assert!(agents >= 4 && others >= 8, "{agents} agents, {others} others");
}

#[test]
fn invitations_come_out_as_they_were_put_in() {
    let (carrying, others) = run("invitation", invitation::check);
    assert!(carrying >= 2 && others >= 2, "{carrying} carry one, {others} do not");
}

#[test]
fn journals_are_written_and_read_again() {
    let (journals, damaged) = run("journal", journal::check);
    assert!(journals >= 5 && damaged >= 2, "{journals} journals, {damaged} damaged");
}

#[test]
fn the_corpora_stay_small() {
    let bytes: u64 = ["frames", "image", "invitation", "journal"]
        .into_iter()
        .flat_map(corpus)
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert!(bytes < MAX_CORPORA_BYTES, "{bytes} bytes in fuzz/corpus");
}
