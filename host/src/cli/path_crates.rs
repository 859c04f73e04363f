//! The crates outside of an app's folder that its functions are made of: path dependencies, and theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::build::manifests;
use super::toolchain::{TARGET, command};

/// What cargo says of a workspace and of all that it depends on.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Option<Resolve>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    manifest_path: PathBuf,
    /// None for a path dependency: who depends on a registry or a repository watches nothing.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

/// The folders of the crates outside of the app's folder (which has no symbolic links) that crates in it depend on by path,
/// directly or not. Cargo is asked, without the network: after a build it knows. What it does not know is left out.
pub(super) fn outside(app_root: &Path) -> BTreeSet<PathBuf> {
    let (mut known, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for manifest in manifests(app_root).unwrap_or_default() {
        if known.contains(&manifest) {
            continue;
        }
        let Some(metadata) = metadata(&manifest) else { continue };
        let local: BTreeMap<String, PathBuf> = metadata
            .packages
            .into_iter()
            .filter(|package| package.source.is_none())
            .filter_map(|package| Some((package.id, package.manifest_path.canonicalize().ok()?)))
            .collect();
        let nodes = metadata.resolve.map(|resolve| resolve.nodes).unwrap_or_default();
        folders.extend(reached(app_root, &local, nodes));
        known.extend(local.into_values());
    }
    folders
}

fn metadata(manifest: &Path) -> Option<Metadata> {
    let mut cargo = command("cargo", manifest.parent()?);
    cargo.args(["metadata", "--offline", "--format-version", "1", "--filter-platform", TARGET, "--manifest-path"]);
    let output = cargo.arg(manifest).output().ok().filter(|output| output.status.success())?;
    serde_json::from_slice(&output.stdout).ok()
}

/// The folders of the local packages that are not in the app and that one in it leads to: a workspace may have others.
fn reached(app_root: &Path, local: &BTreeMap<String, PathBuf>, nodes: Vec<Node>) -> BTreeSet<PathBuf> {
    let dependencies: BTreeMap<String, Vec<String>> =
        nodes.into_iter().map(|node| (node.id, node.dependencies)).collect();
    let in_app = |manifest: &Path| manifest.starts_with(app_root);
    let mut ids: Vec<&String> = local.iter().filter(|(_, manifest)| in_app(manifest)).map(|(id, _)| id).collect();
    let mut seen: BTreeSet<&String> = ids.iter().copied().collect();
    while let Some(id) = ids.pop() {
        let further = dependencies.get(id).into_iter().flatten();
        ids.extend(further.filter(|id| local.contains_key(*id) && seen.insert(id)));
    }
    let manifests = seen.into_iter().map(|id| &local[id]).filter(|manifest| !in_app(manifest));
    manifests.filter_map(|manifest| manifest.parent().map(Path::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn crates_outside_are_those_that_the_apps_own_lead_to() {
        let folder = tempfile::tempdir().expect("temp folder");
        let root = folder.path().canonicalize().expect("it exists");
        let package = |path: &str, more: &str| {
            let name = path.rsplit('/').next().expect("has a name").to_lowercase();
            let text = format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n{more}");
            fs::create_dir_all(root.join(path).join("src")).expect("create folder");
            fs::write(root.join(path).join("Cargo.toml"), text).expect("write manifest");
            fs::write(root.join(path).join("src/lib.rs"), "").expect("write source");
        };
        package("app/F", "[dependencies]\nshared = { path = \"../../shared\" }\ninner = { path = \"../inner\" }\n");
        package("app/inner", "");
        package("app/Broken", "[dependencies]\nmissing = { path = \"../../missing\" }\n");
        package("shared", "[dependencies]\ndeeper = { path = \"../libraries/deeper\" }\n");
        package("libraries/deeper", "");
        package("libraries/other", "");
        let found = outside(&root.join("app"));
        assert_eq!(found, BTreeSet::from([root.join("libraries/deeper"), root.join("shared")]));
        // In a workspace that has others, too.
        let members =
            "[workspace]\nresolver = \"3\"\nmembers = [\"app/F\", \"app/inner\", \"shared\", \"libraries/*\"]\n";
        fs::write(root.join("Cargo.toml"), members).expect("write manifest");
        fs::remove_dir_all(root.join("app/Broken")).expect("remove");
        assert_eq!(outside(&root.join("app")), found);
        assert_eq!(outside(&root.join("nothing")), BTreeSet::new());
    }
}
