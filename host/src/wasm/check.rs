//! What a component's file is, and what is wrong with it: everything at once, for people who look before they run.
//!
//! The judgement is that of [`super::Wasm::deploy`], which stops at the first mistake.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{
    ComponentInfo, DeployedFunction, FunctionKind, LoadError, component, contract,
    inspect::{NOBODY, check_function, imports_refused, inspect, read_info},
};
use crate::{
    app::{Code, Diagnostic, Origin},
    durable::Digest,
};

/// The versions of the contract that this host loads, as a text for people.
pub const CONTRACTS: &str = contract::SUPPORTED;

/// What a component's file is.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// SHA-256 of its bytes.
    pub digest: Digest,
    /// Its size, in bytes.
    pub bytes: u64,
    /// What it holds. The version of the contract may be one that this host does not load.
    pub info: ComponentInfo,
    /// The triggers that it can serve, as function.json has them.
    pub triggers: Vec<&'static str>,
    /// Whether this host loads its version of the contract.
    pub is_supported: bool,
}

/// Reads what a component's file is, of any size and of any version of the contract.
///
/// # Errors
/// [`LoadError`] if it cannot be read or is no component.
pub fn inspect_file(path: &Path) -> Result<Inspection, LoadError> {
    let file = component::read_file(path, u64::MAX)?;
    let info = read_info(path, &file.bytes)?;
    let exports = |name: &str| info.exports.iter().any(|export| export.starts_with(name));
    let serves = |kind: &FunctionKind| {
        let own = exports(&format!("{}/{}@", contract::PACKAGE, kind.export()));
        own || *kind == FunctionKind::Http && exports("wasi:http/incoming-handler@0.2.")
    };
    Ok(Inspection {
        digest: file.digest,
        bytes: file.bytes.len() as u64,
        triggers: FunctionKind::ALL.into_iter().filter(serves).map(FunctionKind::trigger).collect(),
        is_supported: inspect(path, &file.bytes).is_ok(),
        info,
    })
}

/// Everything that keeps functions from being loaded, as far as it can be told without compiling: by the function's index,
/// or by none where it is about a file that several functions share. Files of more than `component_bytes_max` bytes are not
/// read.
pub fn check(functions: &[DeployedFunction], component_bytes_max: u64) -> Vec<(Vec<usize>, LoadError)> {
    let mut by_path: BTreeMap<&Path, BTreeSet<usize>> = BTreeMap::new();
    for (index, function) in functions.iter().enumerate() {
        by_path.entry(&function.component).or_default().insert(index);
    }
    let mut problems = Vec::new();
    for (path, indices) in by_path {
        let everyone: Vec<usize> = indices.iter().copied().collect();
        let info = component::read_file(path, component_bytes_max).and_then(|file| inspect(path, &file.bytes));
        let info = match info {
            Ok(info) => info,
            Err(error) => {
                problems.push((everyone, error));
                continue;
            }
        };
        let held: Vec<&DeployedFunction> = everyone.iter().map(|index| &functions[*index]).collect();
        problems.extend(imports_refused(path, &info, &held).map(|error| (everyone.clone(), error)));
        let check = |index: &usize| Some((vec![*index], check_function(path, &info, &functions[*index]).err()?));
        problems.extend(everyone.iter().filter_map(check));
    }
    problems
}

impl LoadError {
    /// The file that it is about.
    pub fn path(&self) -> &Path {
        match self {
            Self::Unreadable { path, .. }
            | Self::TooLarge { path, .. }
            | Self::NotAComponent { path, .. }
            | Self::NotRunnable { path, .. }
            | Self::UnknownContract { path, .. }
            | Self::ImportNotGranted { path, .. }
            | Self::MissingExport { path, .. }
            | Self::UnknownHandler { path, .. } => path,
        }
    }

    /// The code of the finding.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable { .. } => Code::Unreadable,
            Self::TooLarge { .. } => Code::ComponentTooLarge,
            Self::NotAComponent { .. } => Code::NotAComponent,
            Self::NotRunnable { .. } => Code::NotRunnable,
            Self::UnknownContract { .. } => Code::UnknownContract,
            Self::ImportNotGranted { .. } => Code::ImportNotGranted,
            Self::MissingExport { .. } => Code::MissingExport,
            Self::UnknownHandler { .. } => Code::UnknownHandler,
        }
    }

    /// The finding, about these functions.
    pub fn diagnostic(&self, functions: &[&str]) -> Diagnostic {
        let text = self.to_string();
        let message = text.strip_prefix(&format!("{}: ", self.path().display())).unwrap_or(&text);
        Diagnostic {
            code: self.code(),
            function: (!functions.is_empty()).then(|| functions.join(", ")),
            message: message.to_owned(),
            origin: Origin::whole(self.path()),
            did_you_mean: None,
            help: self.help(),
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::NotAComponent { path, .. } if is_source(path) => Some(
                "functions are WebAssembly components here: compile this one to a component, and name that in scriptFile"
                    .to_owned(),
            ),
            Self::UnknownContract { .. } => {
                Some("build it again with an SDK of this host's version, or run it on a newer host".to_owned())
            }
            Self::TooLarge { .. } => {
                Some("build it for release, strip it, or raise extensions.soloist.maxComponentBytes".to_owned())
            }
            Self::MissingExport { .. } => {
                Some("name the component that was built for this trigger, or correct the trigger's type".to_owned())
            }
            Self::UnknownHandler { .. } => {
                Some("set entryPoint to one of these, or build the component again".to_owned())
            }
            Self::ImportNotGranted { remedy, .. } if remedy == NOBODY => {
                Some("move the call into an activity, and call that".to_owned())
            }
            Self::Unreadable { .. }
            | Self::NotAComponent { .. }
            | Self::NotRunnable { .. }
            | Self::ImportNotGranted { .. } => None,
        }
    }
}

/// What the original's languages have as their script.
fn is_source(path: &Path) -> bool {
    const EXTENSIONS: [&str; 13] =
        ["js", "mjs", "cjs", "ts", "py", "cs", "csx", "fsx", "ps1", "java", "jar", "dll", "exe"];
    path.extension().is_some_and(|own| EXTENSIONS.iter().any(|known| own.eq_ignore_ascii_case(known)))
}
