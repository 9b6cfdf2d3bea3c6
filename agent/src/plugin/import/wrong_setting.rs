//! Settings that are wrong, and settings that a plugin ignores.

use pharos_model::text;

/// A setting that a plugin cannot use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WrongSetting {
    /// Place below the settings: `.rules[0].above`.
    pub path: String,
    /// Reason, as one line.
    pub why: String,
}

impl WrongSetting {
    /// Reads the words of a plugin: a place that begins with `settings`, and a reason. Each becomes one line.
    pub fn from_plugin(place: &str, why: &str) -> Self {
        let line = |words: &str| text::line(words, text::LINE_BYTES_MAX).into_owned();
        Self { path: line(place.strip_prefix("settings").unwrap_or_default()), why: line(why) }
    }

    /// Names the setting below a section of the config, with the reason.
    pub fn within(&self, section: &str) -> String {
        format!("{section}{}: {}", self.path, self.why)
    }
}

/// A setting that a generation in service ignores, or a receiver whose settings it refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IgnoredSetting {
    /// Place in the config: `plugin.threshold.settings.rules[0].above`.
    pub place: String,
    /// Place and reason. The words may differ from version to version of a plugin.
    pub text: String,
}

impl IgnoredSetting {
    /// Places a wrong setting below a section of the config.
    pub fn below(section: &str, wrong: &WrongSetting) -> Self {
        Self { place: format!("{section}{}", wrong.path), text: wrong.within(section) }
    }

    /// Whether this setting is the other one, or a part of it.
    pub fn is_part_of(&self, other: &Self) -> bool {
        self.place.strip_prefix(other.place.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    }
}

/// Texts of ignored settings, in their order.
pub(crate) fn texts(ignored: &[IgnoredSetting]) -> Vec<String> {
    ignored.iter().map(|ignored| ignored.text.clone()).collect()
}
