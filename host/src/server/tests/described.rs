//! The OpenAPI document and the router, for the pages that no table of their own leads to.

use super::*;
use crate::server::openapi;

#[test]
fn the_hosts_open_pages_are_documented_as_they_are_routed() {
    let host = host(small());
    let document = openapi::document(&[], false);
    let paths = ["/", "/openapi.json", "/runtime/health/live", "/runtime/health/ready"];
    let others = ["/other", "/runtime", "/runtime/health", "/runtime/health/other", "/openapi.json/other"];
    for path in paths.iter().chain(&others) {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            let answer = host.ask(&format!("{method} {path}"));
            let is_served = !answer.starts_with("HTTP/1.1 404 ");
            let is_documented = !document["paths"][path][method.to_ascii_lowercase()].is_null();
            assert_eq!(is_served, is_documented, "{method} {path}: {answer}");
        }
    }
    for path in document["paths"].as_object().unwrap().keys() {
        let is_compared_elsewhere = path.starts_with("/admin/") || path.starts_with(MANAGEMENT_PATH);
        assert!(is_compared_elsewhere || paths.contains(&path.as_str()), "{path} is not looked at");
    }
}
