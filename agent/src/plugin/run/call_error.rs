//! Errors of calls into a plugin.

use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use pharos_model::text;

use crate::plugin::contract::bindings::alert_rule::pharos::plugin::types::Failure;
use crate::plugin::contract::convert;

/// Export of a plugin in which a call spends its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    /// Start functions of the modules, which run before any export.
    Start,
    Describe,
    Init,
    Rules,
    Evaluate,
    Deliver,
}

impl fmt::Display for Export {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Start => "its start function",
            Self::Describe => "`describe`",
            Self::Init => "`init`",
            Self::Rules => "`rules`",
            Self::Evaluate => "`evaluate`",
            Self::Deliver => "`deliver`",
        })
    }
}

/// Limit or trap that stopped the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    Trap(String),
    CpuExceeded(Duration),
    DeadlineExceeded(Duration),
    MemoryExceeded { wanted: ByteSize, limit: ByteSize },
}

/// A guest that was stopped, and the text that it wrote to standard error before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stopped {
    pub export: Export,
    pub stop: Stop,
    pub last_words: Option<String>,
}

impl fmt::Display for Stopped {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let export = self.export;
        match &self.stop {
            Stop::Trap(why) => write!(formatter, "trapped in {export}: {why}"),
            Stop::CpuExceeded(limit) => write!(formatter, "used more than {limit:?} of CPU time in {export}"),
            Stop::DeadlineExceeded(limit) => write!(formatter, "took longer than {limit:?} in {export}"),
            Stop::MemoryExceeded { wanted, limit } => {
                write!(formatter, "asked in {export} for {wanted} of memory in all but may hold {limit}")
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    #[error("{0}")]
    Stopped(Box<Stopped>),
    #[error("failed: {0}")]
    Failed(String),
    /// The plugin could not do its work for a reason outside of it. It counts as healthy.
    #[error("{0}")]
    Excused(String),
    /// The plugin cannot do its work before the operator changes its settings or grants. It counts as healthy.
    #[error("{0}")]
    Refused(String),
    #[error("is quarantined: {0}")]
    Quarantined(String),
    #[error("waited {waited:?} for its turn behind {behind}")]
    Busy { waited: Duration, behind: &'static str },
    #[error("found no place for another instance: {0}")]
    NoPlace(String),
    #[error("the plugin clock stands still, so nothing could interrupt it")]
    NoClock,
    /// The call is of another world than the plugin. The plugin was not called.
    #[error("exports another world")]
    OtherWorld,
}

impl CallError {
    /// Name of the reason, from a closed set: a label of metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Stopped(stopped) => match stopped.stop {
                Stop::Trap(_) => "trap",
                Stop::CpuExceeded(_) => "cpu",
                Stop::DeadlineExceeded(_) => "timeout",
                Stop::MemoryExceeded { .. } => "memory",
            },
            Self::Failed(_) => "failed",
            Self::Excused(_) => "excused",
            Self::Refused(_) => "refused",
            Self::Quarantined(_) => "quarantined",
            Self::Busy { .. } => "busy",
            Self::NoPlace(_) => "no-place",
            Self::NoClock => "no-clock",
            Self::OtherWorld => "other-world",
        }
    }

    /// Whether the error counts against the plugin, which may be quarantined for it.
    pub fn is_offence(&self) -> bool {
        match self {
            Self::Stopped(_) | Self::Failed(_) => true,
            Self::Excused(_)
            | Self::Refused(_)
            | Self::Quarantined(_)
            | Self::Busy { .. }
            | Self::NoPlace(_)
            | Self::NoClock
            | Self::OtherWorld => false,
        }
    }

    /// Text of several lines that the guest wrote to standard error before it was stopped: bounded and safe to show.
    pub fn last_words(&self) -> Option<&str> {
        match self {
            Self::Stopped(stopped) => stopped.last_words.as_deref(),
            _ => None,
        }
    }
}

/// The host acts on a failure's case. Only `internal` is the plugin's own fault.
impl From<Failure> for CallError {
    fn from(failure: Failure) -> Self {
        let text = convert::failure(&failure);
        match failure {
            Failure::Internal(_) => Self::Failed(text),
            Failure::InvalidConfig(_) | Failure::Denied(_) => Self::Refused(text),
            Failure::Unsupported(_) | Failure::Transient(_) => Self::Excused(text),
        }
    }
}

/// Last words as the end of a line; empty without any.
pub(crate) fn and_wrote(last_words: Option<&str>) -> String {
    last_words.map(|words| format!("; it wrote: {}", text::line(words, usize::MAX))).unwrap_or_default()
}
