//! `[plugins]` and `[plugin.ID]`: the folder of plugins, and the grants and settings of each.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

use super::shape::{Key, Shape, key};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginsConfig {
    /// The folder of plugin files, `ID.wasm`. Changes are loaded while the agent runs.
    pub dir: PathBuf,
    /// The time between two scans of the whole folder, for changes that the watch missed.
    #[serde(with = "humantime_serde")]
    pub rescan: Duration,
    /// The time without changes before a file is read.
    #[serde(with = "humantime_serde")]
    pub debounce: Duration,
    /// The probation of a new generation. If it exceeds its error budget meanwhile, the previous generation serves again.
    #[serde(with = "humantime_serde")]
    pub probation: Duration,
    /// The memory that the compilation of one plugin may take.
    pub compile_memory_max: ByteSize,
    #[serde(with = "humantime_serde")]
    pub compile_timeout: Duration,
    /// Whether address space for instances is reserved at the start. If that is impossible, the agent allocates memory on demand.
    pub pooling: bool,
}

pub const PLUGINS_KEYS: &[Key] = &[
    key("dir", Shape::Text),
    key("rescan", Shape::Duration),
    key("debounce", Shape::Duration),
    key("probation", Shape::Duration),
    key("compile_memory_max", Shape::Size),
    key("compile_timeout", Shape::Duration),
    key("pooling", Shape::Boolean),
];

impl Default for PluginsConfig {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("plugins"),
            rescan: Duration::from_secs(30),
            debounce: Duration::from_millis(300),
            probation: Duration::from_secs(300),
            compile_memory_max: ByteSize::gib(2),
            compile_timeout: Duration::from_secs(120),
            pooling: true,
        }
    }
}

/// Settings and grants of the plugin with this id.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PluginConfig {
    pub enabled: bool,
    pub settings: toml::Table,
    pub grants: Grants,
    pub limits: LimitsConfig,
}

/// The permissions of a plugin. By default it has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grants {
    /// Hosts that the plugin may send HTTP to: `host`, `host:port`, `*.example.com`, an address or a network like `10.1.0.0/16`;
    /// a name gets HTTPS, unless it is written `http://host`.
    pub egress: Vec<String>,
    /// Secrets that the host may put into requests of the plugin.
    pub secrets: Vec<String>,
    /// Relays that the plugin may send mail through.
    pub mail: Vec<String>,
}

/// Limits of one plugin. `None`: the default of its world.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// The memory of one instance, in bytes.
    pub memory: Option<ByteSize>,
    /// CPU time of one call, waiting for the host excluded.
    #[serde(with = "humantime_serde")]
    pub cpu: Option<Duration>,
    /// Wall time of one call.
    #[serde(with = "humantime_serde")]
    pub wall: Option<Duration>,
}

pub const PLUGIN_KEYS: &[Key] = &[
    key("enabled", Shape::Boolean),
    key("settings", Shape::Settings),
    key("grants", Shape::Table(GRANTS_KEYS)),
    key("limits", Shape::Table(&[key("memory", Shape::Size), key("cpu", Shape::Duration), key("wall", Shape::Duration)])),
];

const GRANTS_KEYS: &[Key] =
    &[key("egress", Shape::List(&Shape::Text)), key("secrets", Shape::List(&Shape::Text)), key("mail", Shape::List(&Shape::Text))];

impl Default for PluginConfig {
    fn default() -> Self {
        Self { enabled: true, settings: toml::Table::new(), grants: Grants::default(), limits: LimitsConfig::default() }
    }
}

/// The smallest memory of an instance: less does not hold the stack of a guest.
const MEMORY_MIN: ByteSize = ByteSize::mib(2);
/// The largest memory of an instance: addresses in WebAssembly have 32 bits.
const MEMORY_MAX: ByteSize = ByteSize::gib(4);
/// The tick of the clock that interrupts plugins. A shorter limit would have no effect.
const CALL_MIN: Duration = Duration::from_millis(10);
/// The smallest memory for compilation: less does not hold the compiler itself.
const COMPILE_MEMORY_MIN: ByteSize = ByteSize::mib(16);

impl PluginConfig {
    pub fn validate(&self, path: &str, mut report: impl FnMut(String, String)) {
        for (index, grant) in self.grants.egress.iter().enumerate().filter(|(_, grant)| !is_host(grant)) {
            let why = format!(
                "\"{grant}\" grants nothing: write a host, host:port, *.example.com, http://host, an address or a network like 10.1.0.0/16"
            );
            report(format!("{path}.grants.egress[{index}]"), why);
        }
        let LimitsConfig { memory, cpu, wall } = self.limits;
        if let Some(memory) = memory.filter(|memory| !(MEMORY_MIN..=MEMORY_MAX).contains(memory)) {
            report(format!("{path}.limits.memory"), format!("is {memory}, but an instance takes between {MEMORY_MIN} and {MEMORY_MAX}"));
        }
        for (key, limit) in [("cpu", cpu), ("wall", wall)] {
            if let Some(limit) = limit.filter(|limit| *limit < CALL_MIN) {
                report(format!("{path}.limits.{key}"), format!("is {limit:?}, in which no call can end; give it at least {CALL_MIN:?}"));
            }
        }
    }
}

/// True if a grant can match a host: hosts have no path and no user, and a star replaces whole names in front.
fn is_host(grant: &str) -> bool {
    let host = grant.split_once("://").map_or(grant, |(scheme, rest)| if matches!(scheme, "http" | "https") { rest } else { "" });
    let network = host.split_once('/').is_some_and(|(first, prefix)| match first.parse() {
        Ok(IpAddr::V4(_)) => prefix.parse().is_ok_and(|prefix: u8| prefix <= 32),
        Ok(IpAddr::V6(_)) => prefix.parse().is_ok_and(|prefix: u8| prefix <= 128),
        Err(_) => false,
    });
    let name = host.strip_prefix("*.").unwrap_or(host);
    let has_port = !name.ends_with(']') && name.matches(':').count() == 1 || name.contains("]:");
    if has_port && !name.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return false;
    }
    network || (!name.is_empty() && name.chars().all(|char| char.is_alphanumeric() || "-._:[]".contains(char)))
}

/// True if a path leads to a file. False if the file system does not answer: then the folder is checked when it is read.
fn is_file(path: &Path) -> bool {
    /// The longest wait for the file system. One that hangs must not keep the agent from starting.
    const ANSWER_MAX: Duration = Duration::from_secs(3);
    let (answer, answered) = std::sync::mpsc::sync_channel(1);
    let path = path.to_owned();
    // A check that hangs leaves its thread until the file system answers or the process ends.
    let checking = std::thread::Builder::new().name("plugin folder".to_owned()).spawn(move || answer.send(path.is_file()));
    checking.is_ok() && answered.recv_timeout(ANSWER_MAX).unwrap_or(false)
}

impl PluginsConfig {
    pub fn resolve_paths(&mut self, base: &Path) {
        self.dir = base.join(&self.dir);
    }

    pub fn validate(&self, mut report: impl FnMut(String, String)) {
        for (name, value) in [("rescan", self.rescan), ("compile_timeout", self.compile_timeout)] {
            if value.is_zero() {
                report(format!("plugins.{name}"), "must not be 0".to_owned());
            }
        }
        if self.compile_memory_max < COMPILE_MEMORY_MIN {
            let size = self.compile_memory_max;
            report(
                "plugins.compile_memory_max".to_owned(),
                format!("is {size}, in which nothing can be compiled; give it at least {COMPILE_MEMORY_MIN}"),
            );
        }
        if is_file(&self.dir) {
            report("plugins.dir".to_owned(), format!("{} is a file, not a folder", self.dir.display()));
        }
    }
}
