//! Embeds the SDK's source, by which `soloist init` makes apps that build without this repository.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let repository = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("..");
    let mut files = Vec::new();
    for folder in ["guest-sdk/rust", "wit"] {
        println!("cargo::rerun-if-changed=../{folder}");
        collect(&repository, Path::new(folder), &mut files)?;
    }
    files.sort();
    let entries: String = files
        .iter()
        .map(|file| format!("({:?}, include_str!({:?})),\n", file.display(), repository.join(file).display()))
        .collect();
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("sdk_files.rs"), format!("&[\n{entries}]\n"))
}

fn collect(repository: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(repository.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect(repository, &path, files)?;
            }
        } else if [".rs", ".toml", ".wit"].iter().any(|end| name.ends_with(end)) {
            files.push(path);
        }
    }
    Ok(())
}
