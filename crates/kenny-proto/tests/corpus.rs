//! Every file of the fuzzer's corpus, and every golden frame, holds what the fuzzer checks.

#[path = "../../../fuzz/checks/frames.rs"]
mod frames;

use std::path::Path;

#[test]
fn whatever_parses_is_written_and_read_again() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut understood = 0;
    let mut refused = 0;
    for folder in ["../../fuzz/corpus/frames", "fixtures/agent", "fixtures/server"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let input = std::fs::read(entry.unwrap().path()).unwrap();
            if frames::check(&input) {
                understood += 1;
            } else {
                refused += 1;
            }
        }
    }
    assert!(understood > 20, "only {understood} files of the corpus are frames");
    assert!(refused > 3, "only {refused} files of the corpus are none");
}
