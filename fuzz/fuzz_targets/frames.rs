//! Fuzzes the parser of the tunnel's frames, both directions.

#![no_main]

#[path = "../checks/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    frames::check(input);
});
