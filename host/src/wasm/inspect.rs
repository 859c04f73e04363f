//! What a component holds, read from its bytes, and whether it may be used as an app wants to use it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use wasmparser::{Encoding, Parser, Payload};

use super::{DeployedFunction, FunctionKind, contract};
use crate::durable::FunctionName;

/// Interfaces of WASI that languages' standard libraries always import.
const WASI_GRANTED: [&str; 5] = ["wasi:io/", "wasi:cli/", "wasi:clocks/", "wasi:random/", "wasi:filesystem/"];

/// Interfaces of WASI for outgoing requests: functions with effects may send them, without a binding.
const OUTGOING_HTTP: [&str; 2] = ["wasi:http/types@0.2.", "wasi:http/outgoing-handler@0.2."];

/// The interface of components that speak HTTP themselves.
const INCOMING_HTTP: &str = "wasi:http/incoming-handler@0.2.";

/// Why an orchestrator or entity is not granted what reaches outside.
pub(super) const NOBODY: &str = "which no binding can grant: orchestrators and entities decide and never act";

/// What a component holds.
#[derive(Clone, Debug, Default)]
pub struct ComponentInfo {
    /// The interfaces that it imports.
    pub imports: BTreeSet<String>,
    /// The interfaces that it exports.
    pub exports: BTreeSet<String>,
    /// The version of the contract that it was made for, for example `1.0.0`.
    pub contract: String,
    /// The functions that it says it holds; none if it does not say.
    pub handlers: Option<Vec<(FunctionKind, String)>>,
}

impl ComponentInfo {
    /// True if the component speaks HTTP itself: it exports `wasi:http/incoming-handler`.
    pub fn speaks_http(&self) -> bool {
        self.exports.iter().any(|export| export.starts_with(INCOMING_HTTP))
    }
}

/// Why a function cannot be loaded. Each text names the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{}: {}", .path.display(), shown(.message))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why, and the remedy.
        message: String,
    },
    /// The file is larger than a component may be.
    #[error(
        "{}: {bytes} bytes are more than the limit of {limit} (extensions.soloist.maxComponentBytes in host.json)",
        .path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The file is no WebAssembly component.
    #[error("{}: {}", .path.display(), shown(.message))]
    NotAComponent {
        /// The file.
        path: PathBuf,
        /// What it is instead, and the remedy.
        message: String,
    },
    /// The component is whole and cannot be run all the same.
    #[error("{}: {}", .path.display(), shown(.message))]
    NotRunnable {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The component was made for a contract that this host does not speak.
    #[error(
        "{}: made for {}, but this host speaks {}@{}",
        .path.display(), shown(.found), contract::PACKAGE, contract::SUPPORTED
    )]
    UnknownContract {
        /// The file.
        path: PathBuf,
        /// The interface with its version.
        found: String,
    },
    /// The component imports what no binding of the functions in it grants.
    #[error("{}: imports {}, {remedy}", .path.display(), shown(.import))]
    ImportNotGranted {
        /// The file.
        path: PathBuf,
        /// The import.
        import: String,
        /// Which binding would grant it, or why none can.
        remedy: String,
    },
    /// The component lacks what a function's trigger needs.
    #[error("{}: does not export {export}, which an {kind} needs", .path.display())]
    MissingExport {
        /// The file.
        path: PathBuf,
        /// The interface.
        export: String,
        /// The trigger.
        kind: &'static str,
    },
    /// The component does not hold the function.
    #[error("{}: holds no {kind} function {handler:?}; it holds {}", .path.display(), shown(.held))]
    UnknownHandler {
        /// The file.
        path: PathBuf,
        /// The kind.
        kind: &'static str,
        /// What was looked for.
        handler: String,
        /// What is there.
        held: String,
    },
}

/// A text that holds what a component's maker wrote: whatever is no letter of a line is spelled out.
fn shown(text: &str) -> String {
    let spelled = |char: char| match char {
        '\n' => vec![char],
        char if char.is_control() => char.escape_default().collect(),
        char => vec![char],
    };
    text.chars().flat_map(spelled).collect()
}

/// Reads what a component's bytes say of it, and that it is made for a contract that this host speaks.
pub(super) fn inspect(path: &Path, bytes: &[u8]) -> Result<ComponentInfo, LoadError> {
    let info = read_info(path, bytes)?;
    check_contract(path, &info)?;
    Ok(info)
}

/// Reads what a component's bytes say of it.
pub(super) fn read_info(path: &Path, bytes: &[u8]) -> Result<ComponentInfo, LoadError> {
    let not = |message: String| LoadError::NotAComponent { path: path.to_owned(), message };
    if bytes.is_empty() {
        return Err(not("the file is empty: build the function again".to_owned()));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(not("no WebAssembly file: it does not begin with the bytes 00 61 73 6d".to_owned()));
    }
    let malformed = |error: wasmparser::BinaryReaderError| not(format!("malformed WebAssembly: {error}"));
    let mut info = ComponentInfo::default();
    let mut depth = 0u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                return Err(not(
                    "a core module, where a component is needed: build it for the target wasm32-wasip2, or \
                                wrap it with `wasm-tools component new`"
                        .to_owned(),
                ));
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    info.imports.insert(import.map_err(malformed)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    info.exports.insert(export.map_err(malformed)?.name.name.to_owned());
                }
            }
            Payload::CustomSection(section) if section.name() == "soloist-functions" => {
                let text = String::from_utf8_lossy(section.data());
                let held = info.handlers.get_or_insert_default();
                held.extend(text.lines().filter_map(handler));
            }
            _ => {}
        }
    }
    info.contract = contract_version(&info);
    Ok(info)
}

fn handler(line: &str) -> Option<(FunctionKind, String)> {
    let (kind, name) = line.trim().split_once(' ')?;
    let kind = FunctionKind::ALL.into_iter().find(|k| k.word() == kind)?;
    Some((kind, name.trim().to_owned()))
}

/// The versions of the contract in the names of imports and exports, with those names.
fn contract_versions(info: &ComponentInfo) -> impl Iterator<Item = (&String, &str)> {
    info.imports.iter().chain(&info.exports).filter_map(|name| {
        let interface = name.strip_prefix(contract::PACKAGE)?;
        Some((name, interface.split_once('@').map_or("", |(_, version)| version)))
    })
}

fn contract_version(info: &ComponentInfo) -> String {
    contract_versions(info).map(|(_, version)| version).max().unwrap_or_default().to_owned()
}

/// Every version must be of a major version that we speak.
fn check_contract(path: &Path, info: &ComponentInfo) -> Result<(), LoadError> {
    match contract_versions(info).find(|(_, version)| *version != "1" && !version.starts_with("1.")) {
        None => Ok(()),
        Some((name, _)) => Err(LoadError::UnknownContract { path: path.to_owned(), found: name.clone() }),
    }
}

/// Checks that a component imports no more than the bindings of all the functions that it holds grant.
pub(super) fn check_imports(
    path: &Path,
    info: &ComponentInfo,
    functions: &[&DeployedFunction],
) -> Result<(), LoadError> {
    imports_refused(path, info, functions).next().map_or(Ok(()), Err)
}

/// Everything that a component imports, and that no binding of the functions that it holds grants.
pub(super) fn imports_refused<'a>(
    path: &'a Path,
    info: &'a ComponentInfo,
    functions: &[&DeployedFunction],
) -> impl Iterator<Item = LoadError> + 'a {
    let effects: Vec<String> =
        functions.iter().filter(|f| f.kind.has_effects()).map(|f| f.name.as_str().to_owned()).collect();
    let has_client = functions.iter().any(|f| f.kind.has_effects() && f.client.is_some());
    info.imports.iter().filter_map(move |import| {
        let remedy = import_refused(import, &effects, has_client)?;
        Some(LoadError::ImportNotGranted { path: path.to_owned(), import: import.clone(), remedy })
    })
}

/// Why an import is not granted to the functions with effects of these names; none if it is.
fn import_refused(import: &str, effects: &[String], has_client: bool) -> Option<String> {
    if WASI_GRANTED.iter().any(|granted| import.starts_with(granted)) {
        return None;
    }
    if let Some(interface) = import.strip_prefix(contract::PACKAGE) {
        return match interface.trim_start_matches('/').split('@').next().unwrap_or_default() {
            "durable-client" if has_client => None,
            "durable-client" if effects.is_empty() => Some(NOBODY.to_owned()),
            "durable-client" => Some(format!(
                "which no binding grants: add {{\"type\": \"durableClient\", \"direction\": \"in\"}} to the function.json of \
                 {}",
                one_of(effects)
            )),
            // The log, and types that exports use, which carry no calls.
            _ => None,
        };
    }
    if effects.is_empty() {
        return Some(NOBODY.to_owned());
    }
    if OUTGOING_HTTP.iter().any(|granted| import.starts_with(granted)) {
        return None;
    }
    Some("which is neither of the contract nor what a language's standard library needs".to_owned())
}

/// Names to choose from, the first of many.
fn one_of(names: &[String]) -> String {
    const SHOWN: usize = 3;
    match names.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(" or "),
        Some(more) => format!("{} or one of {more} more", names[..SHOWN].join(" or ")),
    }
}

/// Checks that a component exports what a function's trigger needs, and holds the function.
pub(super) fn check_function(path: &Path, info: &ComponentInfo, function: &DeployedFunction) -> Result<(), LoadError> {
    let export = function.kind.export();
    let wanted = format!("{}/{export}@1", contract::PACKAGE);
    if !info.exports.iter().any(|name| name.starts_with(&wanted)) {
        let is_http = function.kind == FunctionKind::Http;
        // It serves every request by one export, whatever the function's name.
        if is_http && info.speaks_http() {
            return Ok(());
        }
        let or = if is_http { " nor wasi:http/incoming-handler@0.2" } else { "" };
        return Err(LoadError::MissingExport {
            path: path.to_owned(),
            export: format!("{}/{export}@{}{or}", contract::PACKAGE, contract::SUPPORTED),
            kind: function.kind.trigger(),
        });
    }
    let Some(handlers) = &info.handlers else { return Ok(()) };
    let wanted = folded(&function.handler);
    if handlers.iter().any(|(kind, name)| *kind == function.kind && folded(name) == wanted) {
        return Ok(());
    }
    let held: Vec<String> = handlers.iter().map(|(kind, name)| format!("{} {name}", kind.word())).collect();
    Err(LoadError::UnknownHandler {
        path: path.to_owned(),
        kind: function.kind.word(),
        handler: function.handler.clone(),
        held: if held.is_empty() { "none".to_owned() } else { held.join(", ") },
    })
}

/// Names of handlers compare as people write them in several languages: `E1_SayHello`, `e1-say-hello`, `e1SayHello`.
fn folded(name: &str) -> FunctionName {
    FunctionName::new(&name.chars().filter(|c| !matches!(c, '_' | '-')).collect::<String>())
}
