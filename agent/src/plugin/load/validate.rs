//! Validation of a plugin file: its world, its imports and its demand, before any of its code runs.

use std::collections::BTreeSet;

use pharos_model::text;
use wasmparser::{Encoding, Parser, Payload, Validator, WasmFeatures};

pub use super::demand::Demand;
use crate::plugin::world::{WORLDS, World};

/// Files above this are not read; a JavaScript plugin with its engine has about a tenth.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

const PACKAGE: &str = "pharos:plugin/";
/// The contract's version that this host speaks.
const CONTRACT: (u64, u64) = (0, 1);

/// Interfaces of WASI 0.2 that a plugin may import: language runtimes ask for these although plugins do not use them. Files and sockets are
/// inert, and there is no HTTP.
const WASI_ALLOWED: [&str; 28] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:clocks/timezone",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Packages that are linked and do nothing, and what becomes of their calls. Interpreters import them, and without them their errors have
/// no text.
pub const INERT: [(&str, &str); 2] = [
    ("wasi:filesystem", "no folder is open to a plugin, so there is no file that it could read or write"),
    ("wasi:sockets", "every socket and every look-up of a name is refused"),
];

/// Facts about a component that passed validation.
#[derive(Debug, Clone)]
pub struct Inspection {
    pub world: &'static dyn World,
    /// The version of the contract that it was built for.
    pub contract: String,
    pub imports: Vec<String>,
    /// Places in the pool that each instance takes.
    pub demand: Demand,
}

#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    #[error("is not WebAssembly")]
    NotWasm,
    #[error("is a core module, not a component; build it for wasm32-wasip2, or wrap it with `wasm-tools component new`")]
    CoreModule,
    #[error("is damaged or cut off: {0}")]
    Damaged(String),
    #[error("uses the component model's async ABI, which Pharos leaves off; build with synchronous exports (componentize-qjs: add --sync)")]
    AsyncAbi,
    #[error("exports no world of Pharos: expected {}, found {}", markers(), list(found))]
    NoWorld { found: Vec<String> },
    #[error("was built for {found}, but this agent speaks version {}.{} of the contract; rebuild it against this agent's wit/", CONTRACT.0, CONTRACT.1)]
    OtherVersion { found: String },
    #[error("imports {}, which no {} may have; remove what needs it (plugins have no HTTP but `egress`, and of WASI only what a runtime needs, in version 0.2)", list(imports), world.name())]
    ForbiddenImports { imports: Vec<String>, world: &'static dyn World },
    #[error("has {found} {what}, but a plugin may have {max}; build it of fewer libraries or components")]
    TooMany { found: u64, what: &'static str, max: u32 },
}

/// The interfaces that make a component a plugin, in an error.
fn markers() -> String {
    WORLDS.map(marker).join(" or ")
}

fn marker(world: &dyn World) -> String {
    format!("{PACKAGE}{}", world.marker())
}

/// Names of the component in an error: those that come first, each as one line.
fn list(names: &[String]) -> String {
    /// Names in one error. A component may have thousands.
    const NAMES_MAX: usize = 10;
    let mut shown: Vec<String> = names.iter().take(NAMES_MAX).map(|name| shown(name)).collect();
    match names.len().saturating_sub(NAMES_MAX) {
        0 if names.is_empty() => return "nothing".to_owned(),
        0 => {}
        more => shown.push(format!("and {more} more")),
    }
    shown.join(", ")
}

fn shown(name: &str) -> String {
    text::line(name, text::LINE_BYTES_MAX).into_owned()
}

/// Validates a whole file.
pub fn inspect(bytes: &[u8]) -> Result<Inspection, ValidateError> {
    if !bytes.starts_with(b"\0asm") {
        return Err(ValidateError::NotWasm);
    }
    if !Parser::is_component(bytes) {
        return Err(if Parser::is_core_wasm(bytes) { ValidateError::CoreModule } else { damaged("the header is incomplete") });
    }
    validate(bytes)?;
    let (imports, exports) = names(bytes)?;
    let (world, contract) = world(&exports)?;
    check_imports(&imports, world)?;
    let demand = Demand::count(bytes).map_err(|err| damaged(&err.to_string()))?;
    match demand.excess() {
        Some((found, what, max)) => Err(ValidateError::TooMany { found, what, max }),
        None => Ok(Inspection { world, contract, imports, demand }),
    }
}

/// Validates everything: a truncated file must be an error here, not a surprise later.
fn validate(bytes: &[u8]) -> Result<(), ValidateError> {
    let features = WasmFeatures::default() & !(WasmFeatures::THREADS | WasmFeatures::MEMORY64 | WasmFeatures::CM_ASYNC);
    match Validator::new_with_features(features).validate_all(bytes) {
        Ok(_) => Ok(()),
        Err(err) if Validator::new_with_features(features | WasmFeatures::CM_ASYNC).validate_all(bytes).is_ok() => {
            let _ = err;
            Err(ValidateError::AsyncAbi)
        }
        Err(err) => Err(damaged(&err.to_string())),
    }
}

fn damaged(why: &str) -> ValidateError {
    ValidateError::Damaged(shown(why))
}

/// Imports and exports of the outermost component.
fn names(bytes: &[u8]) -> Result<(Vec<String>, Vec<String>), ValidateError> {
    let (mut imports, mut exports) = (Vec::new(), Vec::new());
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|err| damaged(&err.to_string()))? {
            Payload::Version { encoding: Encoding::Component | Encoding::Module, .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    imports.push(import.map_err(|err| damaged(&err.to_string()))?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports.push(export.map_err(|err| damaged(&err.to_string()))?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn world(exports: &[String]) -> Result<(&'static dyn World, String), ValidateError> {
    for world in WORLDS {
        let marker = marker(world);
        let Some(export) = exports.iter().find(|export| interface(export) == marker) else { continue };
        if !speaks_contract(export) {
            return Err(ValidateError::OtherVersion { found: shown(export) });
        }
        return Ok((world, version(export).to_owned()));
    }
    Err(ValidateError::NoWorld { found: exports.to_vec() })
}

fn check_imports(imports: &[String], world: &'static dyn World) -> Result<(), ValidateError> {
    let mut forbidden = BTreeSet::new();
    for import in imports {
        let name = interface(import);
        let allowed = match name.strip_prefix(PACKAGE) {
            Some(ours) if world.imports().contains(&ours) => {
                if !speaks_contract(import) {
                    return Err(ValidateError::OtherVersion { found: shown(import) });
                }
                true
            }
            Some(_) => false,
            None => WASI_ALLOWED.contains(&name) && import.contains("@0.2."),
        };
        if !allowed {
            forbidden.insert(import.clone());
        }
    }
    if forbidden.is_empty() { Ok(()) } else { Err(ValidateError::ForbiddenImports { imports: forbidden.into_iter().collect(), world }) }
}

/// Whether an import belongs to a package.
pub fn is_of(import: &str, package: &str) -> bool {
    import.strip_prefix(package).is_some_and(|rest| rest.starts_with('/'))
}

/// A name without its version.
fn interface(name: &str) -> &str {
    name.split_once('@').map_or(name, |(interface, _)| interface)
}

fn version(name: &str) -> &str {
    name.split_once('@').map(|(_, version)| version).unwrap_or_default()
}

fn speaks_contract(name: &str) -> bool {
    let mut numbers = version(name).split('.').map(|number| number.parse::<u64>().ok());
    (numbers.next().flatten(), numbers.next().flatten()) == (Some(CONTRACT.0), Some(CONTRACT.1))
}
