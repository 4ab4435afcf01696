//! Random secrets that people read off a screen and type: letters and digits that are not mistaken for each other.

use crate::auth::random_bytes;

/// Crockford's Base32: no I, L, O and U.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A new password: 100 random bits.
pub fn new_password() -> String {
    grouped(20, 5)
}

/// A new recovery code: 80 random bits, so that its SHA-256 tells nothing.
pub fn new_recovery_code() -> String {
    grouped(16, 4)
}

/// At most 32 characters, in groups.
fn grouped(characters: usize, group: usize) -> String {
    let random = random_bytes();
    let characters: Vec<char> = random[..characters]
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte & 31)]))
        .collect();
    let groups: Vec<String> =
        characters.chunks(group).map(|group| group.iter().collect()).collect();
    groups.join("-")
}

/// A recovery code as it is hashed: people type it with other letter sizes, spaces and dashes, and mistake letters after
/// all.
pub fn plain(code: &str) -> String {
    code.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|character| match character.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_as_people_type_them() {
        let code = new_recovery_code();
        assert_eq!(code.len(), 19);
        assert_eq!(plain(&code).len(), 16);
        assert_eq!(plain(&code.to_uppercase().replace('-', "  ")), plain(&code));
        assert_eq!(plain("OIL-1"), "0111");
        assert_ne!(new_recovery_code(), code);
        assert_eq!(new_password().len(), 23);
    }
}
