//! Stages at which something goes wrong with a plugin.

/// Stage of an error, as `/api/plugins` and the agent's snapshot serve it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The file could not be read.
    Read,
    /// The file is no plugin.
    Validate,
    Compile,
    Link,
    /// The plugin describes itself wrongly.
    Describe,
    /// Settings do not fit the schema of the plugin.
    Settings,
    /// The start with the present settings failed.
    Init,
    /// The trial run on the latest snapshots failed.
    Canary,
    /// The plugin serves, and ignores some settings.
    SettingsIgnored,
    /// A call failed in service.
    Call,
    /// A new version failed in service, and the previous version serves again.
    Probation,
}

impl Stage {
    pub const ALL: [Self; 11] = [
        Self::Read,
        Self::Validate,
        Self::Compile,
        Self::Link,
        Self::Describe,
        Self::Settings,
        Self::Init,
        Self::Canary,
        Self::SettingsIgnored,
        Self::Call,
        Self::Probation,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Validate => "validate",
            Self::Compile => "compile",
            Self::Link => "link",
            Self::Describe => "describe",
            Self::Settings => "settings",
            Self::Init => "init",
            Self::Canary => "canary",
            Self::SettingsIgnored => "settings-ignored",
            Self::Call => "call",
            Self::Probation => "probation",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_have_the_names_that_rules_and_dashboards_know() {
        let names = Stage::ALL.map(Stage::as_str).join(" ");
        assert_eq!(names, "read validate compile link describe settings init canary settings-ignored call probation");
    }
}
