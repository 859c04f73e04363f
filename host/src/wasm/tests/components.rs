//! Components from core WebAssembly text.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// What a component's core module does, and what its world says.
#[derive(Clone, Debug, Default)]
pub(super) struct Core {
    /// Lines of the world: `import …;` and `export …;`.
    world: String,
    /// Core imports, which come before everything else.
    imports: String,
    /// Functions.
    body: String,
    /// The `soloist-functions` section.
    handlers: Option<&'static str>,
}

/// A world of WASI that tests import from; versions as Rust's standard library imports them.
const WASI: &str = "
package wasi:clocks@0.2.6 { interface wall-clock {
    record datetime { seconds: u64, nanoseconds: u32 }
    now: func() -> datetime;
} }
package wasi:sockets@0.2.6 { interface instance-network { ping: func(); } }
package wasi:http@0.2.6 {
    interface types {
        resource fields { constructor(); }
        resource outgoing-request { constructor(headers: fields); }
        resource request-options;
        resource future-incoming-response;
        record DNS-error-payload { rcode: option<string>, info-code: option<u16> }
        record TLS-alert-received-payload { alert-id: option<u8>, alert-message: option<string> }
        record field-size-payload { field-name: option<string>, field-size: option<u32> }
        variant error-code {
            DNS-timeout, DNS-error(DNS-error-payload), destination-not-found, destination-unavailable,
            destination-IP-prohibited, destination-IP-unroutable, connection-refused, connection-terminated,
            connection-timeout, connection-read-timeout, connection-write-timeout, connection-limit-reached,
            TLS-protocol-error, TLS-certificate-error, TLS-alert-received(TLS-alert-received-payload),
            HTTP-request-denied, HTTP-request-length-required, HTTP-request-body-size(option<u64>),
            HTTP-request-method-invalid, HTTP-request-URI-invalid, HTTP-request-URI-too-long,
            HTTP-request-header-section-size(option<u32>), HTTP-request-header-size(option<field-size-payload>),
            HTTP-request-trailer-section-size(option<u32>), HTTP-request-trailer-size(field-size-payload),
            HTTP-response-incomplete, HTTP-response-header-section-size(option<u32>),
            HTTP-response-header-size(field-size-payload), HTTP-response-body-size(option<u64>),
            HTTP-response-trailer-section-size(option<u32>), HTTP-response-trailer-size(field-size-payload),
            HTTP-response-transfer-coding(option<string>), HTTP-response-content-coding(option<string>),
            HTTP-response-timeout, HTTP-upgrade-failed, HTTP-protocol-error, loop-detected, configuration-error,
            internal-error(option<string>),
        }
    }
    interface outgoing-handler {
        use types.{outgoing-request, request-options, future-incoming-response, error-code};
        handle: func(request: outgoing-request, options: option<request-options>)
            -> result<future-incoming-response, error-code>;
    }
}
package acme:secrets@1.0.0 { interface vault { ping: func(); } }
package soloist:functions@2.0.0 { interface activity { invoke: func(); } }
";

impl Core {
    /// An HTTP function: `body` gets the request's address in local 0 and leaves the response's on the stack. At address
    /// 64 lies a response: 200 without headers or body; at 68 and 72 its headers, at 76 and 80 its body.
    pub(super) fn http(body: &str) -> Self {
        Self::default().export("http-function@1.0.0", "handle", "(param i32) (result i32)", body)
    }

    /// An activity: `body` leaves the result's address on the stack; at 128 lies `ok` of the text at 512, `len` bytes.
    pub(super) fn activity(body: &str) -> Self {
        Self::default().export("activity@1.0.0", "invoke", "(param i32) (result i32)", body)
    }

    /// An orchestrator: `body` leaves the result's address on the stack; at 256 lies `completed` with the text at 512.
    /// At 320 lies `waiting`.
    pub(super) fn orchestrator(body: &str) -> Self {
        let types = "(param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)";
        Self::default().export("orchestrator@1.0.0", "turn", types, body)
    }

    /// An entity: `body` leaves the result's address on the stack; at 384 lies that of one operation that completed with the
    /// text at 512, which is the state, too.
    pub(super) fn entity(body: &str) -> Self {
        let types = "(param i32 i32 i32 i32 i32 i32 f64 i32 i32 i32 i32 i32 i32 i32) (result i32)";
        Self::default().export("entity@1.0.0", "run", types, body)
    }

    /// Exports one more interface of the contract.
    pub(super) fn export(mut self, interface: &str, function: &str, types: &str, body: &str) -> Self {
        let interface = format!("soloist:functions/{interface}");
        self.world += &format!("export {interface};\n");
        self.body += &format!("(func (export \"{interface}#{function}\") {types} {body})\n");
        self
    }

    /// Imports a function of an interface.
    pub(super) fn import(mut self, interface: &str, function: &str, types: &str) -> Self {
        self.world += &format!("import {interface};\n");
        self.imports += &format!("(import \"{interface}\" \"{function}\" (func $imported {types}))\n");
        self
    }

    /// Adds `$send`, which hands an empty request to the host and leaves 0 if it was taken, 1 if not.
    pub(super) fn sending(mut self) -> Self {
        let (types, handler) = ("wasi:http/types@0.2.6", "wasi:http/outgoing-handler@0.2.6");
        self.world += &format!("import {types};\nimport {handler};\n");
        self.imports += &format!(
            r#"(import "{types}" "[constructor]fields" (func $fields (result i32)))
               (import "{types}" "[constructor]outgoing-request" (func $request (param i32) (result i32)))
               (import "{handler}" "handle" (func $handle (param i32 i32 i32 i32)))
"#
        );
        self.with(
            "(func $send (result i32)
               (call $handle (call $request (call $fields)) (i32.const 0) (i32.const 0) (i32.const 1024))
               (i32.load8_u (i32.const 1024)))",
        )
    }

    /// More functions and globals.
    pub(super) fn with(mut self, items: &str) -> Self {
        self.body += items;
        self
    }

    /// Says which functions it holds.
    pub(super) fn holding(mut self, handlers: &'static str) -> Self {
        self.handlers = Some(handlers);
        self
    }

    /// The core module, as text. `cabi_realloc` hands out memory from 64 KiB on and grows it.
    fn text(&self) -> String {
        let (imports, body) = (&self.imports, &self.body);
        let handlers = self.handlers.map_or(String::new(), |h| format!("(@custom \"soloist-functions\" {h:?})"));
        format!(
            r#"(module
{imports}
(memory (export "memory") 2)
(data (i32.const 64) "\c8\00\00\00")
(data (i32.const 128) "\00\00\00\00\00\02\00\00\01\00\00\00")
(data (i32.const 256) "\00\00\00\00\00\00\00\00\01\00\00\00\00\02\00\00\01\00\00\00")
(data (i32.const 384) "\c0\01\00\00\01\00\00\00\01\00\00\00\00\02\00\00\01\00\00\00")
(data (i32.const 448) "\00\00\00\00\00\02\00\00\01\00\00\00")
(data (i32.const 512) "6")
(global $next (mut i32) (i32.const 65536))
(func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
  (local $at i32)
  (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
  (global.set $next (i32.add (local.get $at) (local.get 3)))
  (block $fits (loop $grow
    (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
    (if (i32.lt_s (memory.grow (i32.const 1)) (i32.const 0)) (then unreachable))
    (br $grow)))
  (local.get $at))
{body}
{handlers})"#
        )
    }

    /// The core module's bytes, without the component around it.
    pub(super) fn module(&self) -> Vec<u8> {
        wat::parse_str(self.text()).unwrap()
    }

    /// The component's bytes.
    pub(super) fn component(&self) -> Vec<u8> {
        let mut resolve = Resolve::default();
        let contract = concat!(env!("CARGO_MANIFEST_DIR"), "/../wit");
        resolve.push_dir(contract).unwrap();
        let text = format!("package test:guest;\n{WASI}\nworld guest {{ {} }}", self.world);
        let package = resolve.push_str("guest.wit", &text).unwrap();
        let world = resolve.select_world(&[package], Some("guest")).unwrap();
        let mut module = self.module();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
    }
}
