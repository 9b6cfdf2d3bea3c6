//! The report as values. `print` formats it for people; `--json` serializes it as it is.

use pharos_model::postgres::privilege::{Need, without};
use pharos_model::snapshot::{FailureReason, PartId};
use pharos_model::subject::SubjectKind;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Whether nothing is missing anywhere.
    pub ok: bool,
    pub servers: Vec<ServerReport>,
}

/// One server.
#[derive(Debug, Serialize)]
pub(super) struct ServerReport {
    /// `postgres` or `redis`
    pub kind: SubjectKind,
    pub id: String,
    /// The `[[database]]` or `[[redis]]` that names it.
    pub database: String,
    pub ok: bool,
    /// Why there was no session. `None`: there was one.
    pub refused: Option<Refused>,
    pub version: Option<String>,
    /// A warning about this version or this session.
    pub caveat: Option<String>,
    /// The role whose rights are in force.
    pub role: Option<String>,
    /// The role that logged in, if a preset (`ALTER ROLE ... SET role`) replaced it by another role.
    pub login: Option<String>,
    /// Datname of the session.
    pub datname: Option<String>,
    pub standby: Option<bool>,
    pub parts: Vec<PartReport>,
    /// SQL that grants everything that is missing, for psql and a superuser.
    pub script: Option<String>,
}

impl ServerReport {
    /// A report about a server that was not examined yet.
    pub(super) fn new(kind: SubjectKind, id: String, database: String) -> Self {
        Self {
            kind,
            id,
            database,
            ok: false,
            refused: None,
            version: None,
            caveat: None,
            role: None,
            login: None,
            datname: None,
            standby: None,
            parts: Vec::new(),
            script: None,
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Refused {
    pub reason: FailureReason,
    pub why: String,
}

/// One part of a server's facts. A part that is read in every datname has a report for each.
#[derive(Debug, Serialize)]
pub(super) struct PartReport {
    pub part: PartId,
    pub datname: Option<String>,
    pub state: State,
    /// Why the part is not `ok`: `privilege` if the role lacks a right, else the reason in the agent's metrics. Null if the part did not
    /// fail.
    pub reason: Option<FailureReason>,
    /// The reasons as sentences. Empty if nothing is wrong.
    pub why: Vec<String>,
    /// Whether an administrator could add what is missing.
    #[serde(skip)]
    is_missing: bool,
}

/// Everything that is missing for one part.
#[derive(Debug, Default)]
pub(super) struct Lack {
    /// What is missing, as sentences.
    why: Vec<String>,
    /// Whether the role lacks a right that the part needs.
    is_of_role: bool,
}

impl Lack {
    pub(super) fn of(part: PartId, needs: &[Need]) -> Self {
        let rights: Vec<Need> = needs.iter().copied().filter(|need| need.is_right()).collect();
        let why = without(part, needs).map(|what| format!("without {what}")).collect();
        Self { why, is_of_role: without(part, &rights).next().is_some() }
    }
}

impl PartReport {
    /// Builds the report of a part. `reason` is that of a failure, `lack` is what is missing for the part.
    pub(super) fn new(
        part: PartId,
        datname: Option<&str>,
        (state, reason): (State, Option<FailureReason>),
        why: Vec<String>,
        lack: Lack,
    ) -> Self {
        let Lack { why: missing, is_of_role } = lack;
        let lacks_right = is_of_role && (state != State::Failed || reason.is_none());
        let reason = if lacks_right { Some(FailureReason::Privilege) } else { reason };
        let state = if state == State::Ok && !missing.is_empty() { State::Reduced } else { state };
        // An administrator cannot add what the server's version does not offer.
        let is_missing = match state {
            State::Ok => false,
            State::Reduced | State::Failed => true,
            State::Unsupported => !missing.is_empty(),
        };
        // A part that failed has given its reason already.
        let why = if why.is_empty() { missing } else { why };
        Self { part, datname: datname.map(ToOwned::to_owned), state, reason, why, is_missing }
    }

    /// The state as people read it.
    pub(super) fn word(&self) -> &'static str {
        let lacks_right = self.reason == Some(FailureReason::Privilege);
        if self.state == State::Unsupported && lacks_right { "no right" } else { self.state.word() }
    }

    /// Counts a part as missing if it has a cure, even if the role lacks no right.
    pub(super) fn curable(mut self, has_cure: bool) -> Self {
        self.is_missing |= has_cure;
        self
    }
}

impl ServerReport {
    /// Sets `ok` once everything was examined.
    pub(super) fn conclude(mut self) -> Self {
        self.ok = self.refused.is_none() && self.script.is_none() && !self.parts.iter().any(|part| part.is_missing);
        self
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Ok,
    /// The part was read, but it lacks some facts.
    Reduced,
    /// The server or the role does not offer the part.
    Unsupported,
    Failed,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Reduced => "reduced",
            Self::Unsupported => "unsupported",
            Self::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Word and reason of a part with this outcome, and whether something is missing, if the role and the server lack `needs`.
    fn reported(part: PartId, outcome: (State, Option<FailureReason>), needs: &[Need]) -> (&'static str, Option<FailureReason>, bool) {
        let report = PartReport::new(part, None, outcome, Vec::new(), Lack::of(part, needs));
        (report.word(), report.reason, report.is_missing)
    }

    #[test]
    fn only_a_right_that_is_missing_is_called_one() {
        let unsupported = (State::Unsupported, Some(FailureReason::Unsupported));
        let no_right = Some(FailureReason::Privilege);
        // A role with pg_monitor, on a server without the extension.
        for need in [Need::StatementsExtension, Need::StatementsLibrary] {
            assert_eq!(reported(PartId::Statements, unsupported, &[need]), ("unsupported", Some(FailureReason::Unsupported), true));
            assert_eq!(reported(PartId::Statements, unsupported, &[need, Need::Stats]), ("no right", no_right, true), "both are missing");
        }
        assert_eq!(reported(PartId::Statements, unsupported, &[Need::StatementsSchema]), ("no right", no_right, true));
        for (part, need) in [(PartId::Activity, Need::Activities), (PartId::Tables, Need::Counts)] {
            assert_eq!(reported(part, (State::Ok, None), &[need]), ("reduced", None, true));
        }
        assert_eq!(reported(PartId::Activity, (State::Ok, None), &[Need::Activities, Need::Stats]), ("reduced", no_right, true));
        assert_eq!(reported(PartId::Activity, (State::Ok, None), &[Need::StatementsExtension]), ("ok", None, false), "not of this part");
        assert_eq!(
            reported(PartId::Activity, (State::Failed, Some(FailureReason::Timeout)), &[Need::Stats]),
            ("failed", Some(FailureReason::Timeout), true)
        );
    }
}
