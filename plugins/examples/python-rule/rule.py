"""The component: the exports of the world `alert-rule-plugin` in wit/. judge.py makes the judgement."""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports.alert_rule import (
    Finding,
    Report,
    Rule,
    Skipped,
    SkipReason,
    SkipReason_PartFailed,
    SkipReason_Unsupported,
    Strength,
)
from wit_world.exports.plugin import Description
from wit_world.imports import config
from wit_world.imports.snapshots import (
    PartState_Failed,
    PartState_Present,
    PartState_Stale,
    Reading,
    Samples,
    Snapshot,
)
from wit_world.imports.types import Failure_InvalidConfig, Label, Severity

from judge import CONNECTIONS, RULE, Idle, Settings, judge
from schema import SCHEMA

settings = Settings()


class Plugin(exports.Plugin):
    def describe(self) -> Description:
        return Description(
            id="python-rule",
            version="0.1.0",
            summary="PostgreSQL sessions that idle, as an example in Python",
            settings_schema=json.dumps(SCHEMA),
            wants=[],
        )

    def init(self) -> None:
        global settings
        try:
            settings = Settings.read(config.settings())
        except ValueError as error:
            raise Err(Failure_InvalidConfig(str(error))) from error


class AlertRule(exports.AlertRule):
    def rules(self) -> list[Rule]:
        return [
            Rule(
                id=RULE,
                summary="most sessions of a datname are idle",
                category="connections",
                subject_kind="postgres",
                needs=[CONNECTIONS],
                for_ms=10 * 60_000,
                keep_firing_ms=0,
                runbook=None,
            )
        ]

    def evaluate(self, at: Snapshot) -> Report:
        with at:
            if at.subject().kind != "postgres":
                return Report([], [])
            if reason := why_unreadable(at, CONNECTIONS):
                return Report([], [Skipped(RULE, [], reason)])
            sessions = rows(at.samples(CONNECTIONS, [], Reading.VALUE))
        return Report([finding(idle) for idle in judge(sessions, settings)], [])


def why_unreadable(snapshot: Snapshot, metric: str) -> SkipReason | None:
    """The reason why a metric cannot be judged, or None. A missing sample means "none" only while its part is present."""
    part = snapshot.source(metric)
    if part is None:
        return SkipReason_Unsupported(f"no collector reads `{metric}`")
    match part.state:
        case PartState_Present():
            return None
        case PartState_Failed(why):
            return SkipReason_PartFailed(f"part `{part.name}` failed: {why}")
        case PartState_Stale(age_ms):
            return SkipReason_PartFailed(f"part `{part.name}` was last read {age_ms} ms ago")
        case unsupported:
            return SkipReason_Unsupported(f"part `{part.name}` is unsupported: {unsupported.value}")


def rows(samples: Samples) -> list[tuple[dict[str, str], float]]:
    """Labels and value of each series. Columns are dictionary-coded: `codes[i]` indexes `words`."""
    columns = [(column.name, column.values.words, column.values.codes) for column in samples.labels]
    return [({name: words[codes[at]] for name, words, codes in columns}, value) for at, value in enumerate(samples.values)]


def finding(idle: Idle) -> Finding:
    return Finding(
        rule=RULE,
        labels=[Label("datname", idle.datname)],
        severity=Severity.WARNING,
        strength=Strength.RAISE if idle.raises else Strength.HOLD,
        score=None,
        value=idle.share,
        raise_at=settings.share,
        clear_at=settings.clear,
        title=idle.title,
        detail=idle.detail,
        cause="Connection pools of the applications that are larger than the number of statements that run at the same time.",
        fix="Let the pools close idle sessions (`idle_timeout`, `minimumIdle`), or put a pooler such as PgBouncer in between.",
        evidence=[Label("idle", str(idle.idle)), Label("sessions", str(idle.sessions))],
    )
