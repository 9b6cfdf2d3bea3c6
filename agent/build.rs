//! Embeds the shipped plugins, so that one file is a complete agent.
//!
//! What is embedded is what `make plugins` left in `target/plugins`. Before that nothing is: a plain `cargo build`, `cargo test` or clippy
//! works on a fresh clone, and that agent takes its plugins from `plugins.dir` alone.

#![expect(clippy::disallowed_macros, reason = "printing is how a build script speaks to cargo")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let plugins = manifest.join("../target/plugins");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    // Made here, so that cargo sees the first plugin appear in it.
    fs::create_dir_all(&plugins).expect("target/ can be written");
    println!("cargo::rerun-if-changed={}", plugins.display());
    let commits = manifest.join("../.git/logs/HEAD");
    if commits.is_file() {
        println!("cargo::rerun-if-changed={}", commits.display());
    }
    fs::write(out.join("embedded.rs"), embedded(&plugins)).expect("OUT_DIR can be written");
    println!("cargo::rustc-env=PHAROS_REVISION={}", first_line("git", &["rev-parse", "--short=12", "HEAD"]));
    println!("cargo::rustc-env=PHAROS_RUSTC={}", first_line(&env::var("RUSTC").expect("cargo sets RUSTC"), &["--version"]));
}

/// A Rust table of ids and bytes.
fn embedded(plugins: &Path) -> String {
    let mut files: Vec<PathBuf> =
        fs::read_dir(plugins).map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect()).unwrap_or_default();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    files.sort();
    let mut table = "pub(crate) const SHIPPED: &[(&str, &[u8])] = &[\n".to_owned();
    for path in files {
        println!("cargo::rerun-if-changed={}", path.display());
        let path = path.canonicalize().expect("the file was just listed");
        let id = path.file_stem().and_then(|stem| stem.to_str()).expect("plugin ids are ASCII");
        writeln!(table, "    ({id:?}, include_bytes!({path:?})),").expect("a String takes everything");
    }
    table + "];\n"
}

/// What a program says, or `unknown` where it is missing.
fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_else(|| "unknown".to_owned())
}
