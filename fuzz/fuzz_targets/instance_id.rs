//! Any id comes back from the links that are made of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use soloist::{
    durable::InstanceId,
    server::{ManagementUrls, Origin},
};

fuzz_target!(|id: &str| {
    if let Ok(parsed) = InstanceId::parse(id) {
        assert_eq!(parsed.as_str(), id);
    }
    let origin = Origin::of_address("127.0.0.1:7071".parse().expect("an address"));
    let links = ManagementUrls::new(&origin, "Hub", None).for_instance(id, None);
    let path = links.status_query_get_uri.split('?').next().expect("there is a first part");
    let segment = path.rsplit('/').next().expect("there is a last segment");
    assert!(segment.is_ascii());
    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8().expect("it was UTF-8");
    assert_eq!(decoded, id);
});
