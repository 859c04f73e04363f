//! Signatures in links: the right to do one thing to one instance, for as long as the start that made it lasts.

use std::{fmt, sync::Arc};

use super::{
    Keys,
    secret::{BYTES, Secret, bytes_of_hex, equal, hex},
};
use crate::hub::Creation;

/// What every signature begins with, hexadecimal digits after it: no key does.
pub const PREFIX: &str = "s1-";
/// The bytes of a signature that tell the start.
const TOKEN_BYTES: usize = 16;
const SIGNED_BYTES: usize = TOKEN_BYTES + BYTES;

/// What a link lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Verb {
    Status,
    RaiseEvent,
    Terminate,
    Rewind,
    Suspend,
    Resume,
    Restart,
    Purge,
}

impl Verb {
    /// Its byte in what is signed: never another one.
    fn byte(self) -> u8 {
        match self {
            Self::Status => 1,
            Self::RaiseEvent => 2,
            Self::Terminate => 3,
            Self::Rewind => 4,
            Self::Suspend => 5,
            Self::Resume => 6,
            Self::Restart => 7,
            Self::Purge => 8,
        }
    }
}

/// A start, as a signature tells it: a number that means nothing to its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct StartToken([u8; TOKEN_BYTES]);

/// Signs links. The secret is that of the moment in which this was made.
#[derive(Clone)]
pub struct LinkSigner(Arc<Secret>);

impl fmt::Debug for LinkSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSigner(…)")
    }
}

impl LinkSigner {
    pub(super) fn new(secret: Secret) -> Self {
        Self(Arc::new(secret))
    }

    /// The `code` of a link that lets its holder do this to the instance that this start made.
    pub(in crate::server) fn code(&self, id: &str, creation: Creation, verb: Verb) -> String {
        let token = self.token(id, creation);
        let signature = self.signature(id, token, verb);
        format!("{PREFIX}{}{}", hex(&token.0), hex(&signature))
    }

    /// Whether a `code` is one of this host's for this id and verb; then the start that it is valid for. Storage is not
    /// asked: who has no valid signature learns nothing of what there is.
    pub(in crate::server) fn verified(&self, code: &str, id: &str, verb: Verb) -> Option<StartToken> {
        let bytes: [u8; SIGNED_BYTES] = bytes_of_hex(code.strip_prefix(PREFIX)?)?;
        let (token, signature) = bytes.split_at(TOKEN_BYTES);
        let token = StartToken(token.try_into().ok()?);
        equal(&self.signature(id, token, verb), signature).then_some(token)
    }

    /// The token of a start: what [`LinkSigner::verified`] returned must be equal to it.
    pub(in crate::server) fn token(&self, id: &str, creation: Creation) -> StartToken {
        let Creation { instance, time } = creation;
        let parts = [&instance.0.to_le_bytes()[..], &time.0.to_le_bytes()[..], id.as_bytes()];
        let signed = self.0.sign("start of an instance", &parts);
        let mut token = [0; TOKEN_BYTES];
        token.copy_from_slice(&signed[..TOKEN_BYTES]);
        StartToken(token)
    }

    fn signature(&self, id: &str, token: StartToken, verb: Verb) -> [u8; BYTES] {
        self.0.sign("link to an instance", &[&[verb.byte()], &token.0, id.as_bytes()])
    }
}

impl Keys {
    /// What signs links.
    pub fn signer(&self) -> LinkSigner {
        LinkSigner::new(self.table().secret.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::{InstanceKey, Timestamp};

    const VERBS: [Verb; 8] = [
        Verb::Status,
        Verb::RaiseEvent,
        Verb::Terminate,
        Verb::Rewind,
        Verb::Suspend,
        Verb::Resume,
        Verb::Restart,
        Verb::Purge,
    ];

    fn signer() -> LinkSigner {
        LinkSigner::new(Secret::from_hex(&"07".repeat(BYTES)).unwrap())
    }

    fn creation(instance: i64, time: i64) -> Creation {
        Creation { instance: InstanceKey(instance), time: Timestamp(time) }
    }

    #[test]
    fn a_code_is_for_one_id_one_start_and_one_verb() {
        let signer = signer();
        for verb in VERBS {
            let code = signer.code("a", creation(1, 5), verb);
            for other in VERBS {
                assert_eq!(signer.verified(&code, "a", other).is_some(), other == verb, "{verb:?} {other:?}");
            }
            assert_eq!(signer.verified(&code, "a", verb), Some(signer.token("a", creation(1, 5))));
            assert_eq!(signer.verified(&code, "b", verb), None);
        }
        let token = signer.token("a", creation(1, 5));
        assert!(
            [("a", 1, 6), ("a", 2, 5), ("b", 1, 5)]
                .iter()
                .all(|(id, i, t)| signer.token(id, creation(*i, *t)) != token)
        );
    }

    #[test]
    fn whatever_is_changed_in_a_code_it_is_none() {
        let signer = signer();
        let code = signer.code("a", creation(1, 5), Verb::Status);
        for at in 0..code.len() {
            let mut changed = code.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            assert_eq!(signer.verified(std::str::from_utf8(&changed).unwrap(), "a", Verb::Status), None, "{at}");
        }
        for wrong in ["", "s1-", &code[..code.len() - 2], &format!("{code}00"), &code.to_uppercase(), "s1-\u{fc}"] {
            assert_eq!(signer.verified(wrong, "a", Verb::Status), None, "{wrong}");
        }
        let other = LinkSigner::new(Secret::from_hex(&"08".repeat(BYTES)).unwrap());
        assert_eq!(other.verified(&code, "a", Verb::Status), None);
        assert_eq!(format!("{signer:?}"), "LinkSigner(…)");
    }
}
