//! What holds of the reader of executables, whatever the bytes are.

use kenny_core::image::read_facts;

/// Most bytes of an error's words: they go into logs, journals and answers.
const MAX_WORDS_BYTES: usize = 600;

/// Panics where it does not hold. True where the bytes were an agent.
pub fn check(input: &[u8]) -> bool {
    let read = read_facts(input);
    match &read {
        Ok(facts) => assert!(facts.version.to_string().len() <= 128, "a version of any length"),
        Err(error) => {
            let words = error.to_string();
            assert!(words.len() <= MAX_WORDS_BYTES, "{} bytes of words: {words:.200}", words.len());
            assert!(!words.contains(char::is_control), "control characters: {words:?}");
        }
    }
    // One byte further on in memory they are the same bytes.
    let moved = [&[0], input].concat();
    assert_eq!(read_facts(&moved[1..]), read, "it depends on where the bytes lie");
    read.is_ok()
}
