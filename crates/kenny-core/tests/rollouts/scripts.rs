//! Every script in `scripts/` comes out as it is written there.

use std::path::Path;

use super::script;

#[test]
#[expect(clippy::disallowed_methods, reason = "the scripts lie in files")]
fn every_script_comes_out_as_it_is_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rollouts/scripts");
    let update = std::env::var("UPDATE_SNAPSHOTS").is_ok_and(|value| value == "1");
    let mut wrong = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let script = std::fs::read_to_string(&path).unwrap();
        let result = script::run(&script);
        count += 1;
        if result == script {
            continue;
        }
        if update {
            std::fs::write(&path, &result).unwrap();
        }
        let (line, is, should) = first_difference(&result, &script);
        wrong.push(format!("{}:{line}: is `{is}`, should be `{should}`", path.display()));
    }
    assert!(count >= 15, "only {count} scripts were found");
    assert!(
        wrong.is_empty(),
        "{}\nLook whether it is meant; then UPDATE_SNAPSHOTS=1 writes it down.",
        wrong.join("\n")
    );
}

/// The number of the first line that differs, and both of them.
fn first_difference(is: &str, should: &str) -> (usize, String, String) {
    let (mut is, mut should) = (is.lines(), should.lines());
    for number in 1.. {
        match (is.next(), should.next()) {
            (Some(a), Some(b)) if a == b => {}
            (None, None) => break,
            (a, b) => return (number, a.unwrap_or("").to_owned(), b.unwrap_or("").to_owned()),
        }
    }
    (0, "the same lines".to_owned(), "other line ends".to_owned())
}
