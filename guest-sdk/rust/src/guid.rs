//! GUIDs that a repetition makes again.

/// The n-th GUID of an execution: version 5, from the execution's id and the number.
pub(crate) fn nth(execution_id: &str, n: u32) -> String {
    /// Namespace of Durable Functions' deterministic GUIDs.
    const NAMESPACE: [u8; 16] =
        [0x9e, 0x95, 0x29, 0x58, 0x5e, 0x33, 0x4d, 0xaf, 0x82, 0x7f, 0x2f, 0xa1, 0x29, 0x37, 0xb8, 0x75];
    uuid_v5(NAMESPACE, &format!("{execution_id}_{n}"))
}

/// RFC 9562 §5.5.
fn uuid_v5(namespace: [u8; 16], name: &str) -> String {
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(&namespace);
    sha1.update(name.as_bytes());
    let digest = sha1.digest().bytes();
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&digest[..16]);
    uuid[6] = (uuid[6] & 0x0f) | 0x50;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_are_of_version_5() {
        // The example of RFC 9562, appendix A.4.
        let dns = [0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8];
        assert_eq!(uuid_v5(dns, "www.example.com"), "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    }
}
