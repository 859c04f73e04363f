//! Looks at an app as a start does, and starts nothing.

use std::{collections::BTreeSet, path::Path};

use super::deploy::deployed_function;
use crate::{
    app::{App, Diagnostic, Function, Report, Severity},
    wasm::{self, DeployedFunction, Wasm, WasmConfig},
};

/// What was found in an app.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Everything that was found.
    pub report: Report,
    /// The app, as far as it can be made out. None if its folder cannot be used.
    pub app: Option<App>,
    /// The names of the functions that a start would serve.
    pub served: BTreeSet<String>,
}

/// Reads an app and its components as a start does, without data, without listening and without running any of its code.
pub async fn check(app: &Path, environment: impl IntoIterator<Item = (String, String)>) -> Checked {
    let (app, mut report, is_usable) = match App::load(app, environment) {
        Ok(app) => (app.clone(), app.report, true),
        Err(error) => match error.app {
            Some(app) => (*app, error.report, false),
            None => return Checked { report: error.report, app: None, served: BTreeSet::new() },
        },
    };
    let functions: Vec<&Function> = app.functions.iter().filter(|function| !function.disabled).collect();
    let deployed: Vec<DeployedFunction> = functions.iter().map(|function| deployed_function(function)).collect();
    let mut bad = BTreeSet::new();
    for (indices, error) in wasm::check(&deployed, app.host_json.soloist.max_component_bytes) {
        let names: Vec<&str> = indices.iter().map(|index| functions[*index].name.as_str()).collect();
        report.add(error.diagnostic(&names));
        bad.extend(indices);
    }
    let sound: Vec<usize> = (0..deployed.len()).filter(|index| !bad.contains(index)).collect();
    for (index, problem) in compile(&sound, &deployed, &functions).await {
        report.add(problem);
        bad.insert(index);
    }
    let served = functions.iter().enumerate().filter(|(index, _)| is_usable && !bad.contains(index));
    let served = served.map(|(_, function)| function.name.clone()).collect();
    Checked { report, app: Some(app), served }
}

/// Compiles and links the components of functions with which nothing else is wrong.
async fn compile(sound: &[usize], deployed: &[DeployedFunction], functions: &[&Function]) -> Vec<(usize, Diagnostic)> {
    if sound.is_empty() {
        return Vec::new();
    }
    let config = WasmConfig {
        requests_max: 1,
        activities_max: 1,
        entities_max: 1,
        turns_max: 1,
        residents_max: 1,
        component_bytes_max: u64::MAX,
        ..WasmConfig::default()
    };
    let wasm = match Wasm::new(config) {
        Ok(wasm) => wasm,
        // A machine without room for one guest: no component's fault.
        Err(error) => {
            tracing::warn!(%error, "components are not compiled: there is no engine");
            return Vec::new();
        }
    };
    let (_, results) = wasm.prepare(sound.iter().map(|index| deployed[*index].clone()).collect()).await;
    let failed = sound.iter().zip(results).filter_map(|(index, result)| Some((*index, result.err()?)));
    failed.map(|(index, error)| (index, error.diagnostic(&[&functions[index].name]))).collect()
}

impl Checked {
    /// Whether a start would serve everything.
    pub fn is_good(&self) -> bool {
        self.report.count(Severity::Error) == 0
    }
}
