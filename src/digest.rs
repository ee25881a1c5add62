//! A collision-resistant digest for file names.

use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The first half of SHA-256, in hexadecimal digits.
pub(crate) fn of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
        // Writing to a String does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_sha_256() {
        assert_eq!(super::of(b"abc"), "ba7816bf8f01cfea414140de5dae2223");
    }
}
