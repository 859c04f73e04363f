//! What is secret: random bytes, digests, signatures, and comparing without telling by the time that it takes.

use std::fmt;

use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The bytes of a secret, of a digest and of a signature.
pub(super) const BYTES: usize = 32;

/// The system has no random bytes: nothing secret can be made.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the system gives no random bytes")]
pub struct NoEntropy;

/// 256 random bits that never leave the data folder. Its `Debug` form tells nothing of them.
#[derive(Clone)]
pub(super) struct Secret([u8; BYTES]);

impl Secret {
    /// A new one.
    pub(super) fn random() -> Result<Self, NoEntropy> {
        random().map(Self)
    }

    /// One that was stored.
    pub(super) fn from_hex(text: &str) -> Option<Self> {
        bytes_of_hex(text).map(Self)
    }

    /// As it is stored.
    pub(super) fn to_hex(&self) -> String {
        hex(&self.0)
    }

    /// A signature over parts of which each but the last has a length of its own; `purpose` keeps those of one purpose from
    /// meaning anything for another.
    pub(super) fn sign(&self, purpose: &'static str, parts: &[&[u8]]) -> [u8; BYTES] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let mut context = hmac::Context::with_key(&key);
        context.update(purpose.as_bytes());
        context.update(&[0]);
        parts.iter().for_each(|part| context.update(part));
        let mut bytes = [0; BYTES];
        bytes.copy_from_slice(context.sign().as_ref());
        bytes
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A key in the clear: 64 hexadecimal digits if the host made it. Its `Debug` form tells nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyValue(String);

impl KeyValue {
    /// A new one: 256 random bits.
    pub(super) fn random() -> Result<Self, NoEntropy> {
        random().map(|bytes| Self(hex(&bytes)))
    }

    /// One that an operator chose.
    pub(super) fn chosen(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The key itself: for the one who asked for it, and nobody else.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    pub(super) fn digest(&self) -> KeyDigest {
        KeyDigest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyValue(…)")
    }
}

/// What is kept of a key. A key has 256 random bits: nobody finds it from its digest, and a slow digest would protect nothing.
#[derive(Clone, Copy)]
pub(super) struct KeyDigest([u8; BYTES]);

impl KeyDigest {
    pub(super) fn of(key: &[u8]) -> Self {
        Self(Sha256::digest(key).into())
    }

    pub(super) fn from_hex(text: &str) -> Option<Self> {
        bytes_of_hex(text).map(Self)
    }

    pub(super) fn to_hex(self) -> String {
        hex(&self.0)
    }

    pub(super) fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// Compares in a time that does not depend on where they differ.
    pub(super) fn is(&self, other: &Self) -> bool {
        equal(&self.0, &other.0)
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

/// Compares in a time that depends on the lengths alone.
pub(super) fn equal(one: &[u8], other: &[u8]) -> bool {
    one.ct_eq(other).into()
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    digits.map(char::from).collect()
}

/// The bytes of exactly so many hexadecimal digits in lower case.
pub(super) fn bytes_of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(bytes)
}

fn random() -> Result<[u8; BYTES], NoEntropy> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| NoEntropy)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_is_equality() {
        for (one, other) in [("", ""), ("a", "a"), ("a", "b"), ("a", ""), ("ab", "a"), ("same long", "same long")] {
            assert_eq!(equal(one.as_bytes(), other.as_bytes()), one == other, "{one} {other}");
        }
    }

    #[test]
    fn digests_are_sha256_and_keys_are_never_shown() {
        let key = KeyValue::chosen("abc");
        assert_eq!(key.digest().to_hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(key.digest().is(&KeyDigest::of(b"abc")) && !key.digest().is(&KeyDigest::of(b"abd")));
        let shown = format!("{key:?} {:?} {:?}", key.digest(), Secret([7; BYTES]));
        assert_eq!(shown, "KeyValue(…) KeyDigest(…) Secret(…)");
    }

    #[test]
    fn keys_are_256_random_bits() {
        let (one, other) = (KeyValue::random().unwrap(), KeyValue::random().unwrap());
        assert_ne!(one, other);
        assert!(one.reveal().len() == 64 && one.reveal().bytes().all(|digit| digit.is_ascii_hexdigit()));
    }

    #[test]
    fn signatures_differ_by_secret_purpose_and_parts() {
        let secret = Secret([7; BYTES]);
        let signed = secret.sign("a", &[b"x", b"y"]);
        assert_eq!(signed, secret.sign("a", &[b"x", b"y"]));
        let others =
            [secret.sign("b", &[b"x", b"y"]), secret.sign("a", &[b"x", b"z"]), Secret([8; 32]).sign("a", &[b"xy"])];
        assert!(others.iter().all(|other| *other != signed));
    }

    #[test]
    fn hexadecimal_is_read_strictly() {
        assert_eq!(bytes_of_hex::<2>(&hex(&[0, 255])), Some([0, 255]));
        for wrong in ["", "00f", "00ffa", "00FF", "00fg", "00 f", "0\u{fc}f"] {
            assert_eq!(bytes_of_hex::<2>(wrong), None, "{wrong}");
        }
    }
}
