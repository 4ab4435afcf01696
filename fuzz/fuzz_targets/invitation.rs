//! Fuzzes the readers of an invitation and of a signature inside an executable.

#![no_main]

#[path = "../checks/invitation.rs"]
mod invitation;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    invitation::check(input);
});
