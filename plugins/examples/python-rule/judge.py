"""The judgement. No code here needs the host, so `python3 -m unittest` runs it anywhere."""

import json
from dataclasses import dataclass, fields

RULE = "idle-sessions"
CONNECTIONS = "pharos_postgres_connections"


@dataclass(frozen=True)
class Settings:
    """The settings under `[plugin.python-rule.settings]` in the configuration."""

    share: float = 0.8
    clear: float = 0.7
    min_sessions: float = 20

    @classmethod
    def read(cls, text: str) -> "Settings":
        """Reads the settings and fills in defaults. Raises a ValueError that names the wrong key and its correction."""
        given = json.loads(text)
        known = [field.name for field in fields(cls)]
        for key, value in given.items():
            if key not in known:
                raise ValueError(f"settings.{key}: unknown key; the keys are {', '.join(known)}")
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"settings.{key}: give a number")
        settings = cls(**given)
        if settings.clear > settings.share:
            raise ValueError(f"settings.clear: {settings.clear} is above `share` ({settings.share}); give at most that")
        return settings


@dataclass(frozen=True)
class Idle:
    """A datname with many idle sessions."""

    datname: str
    idle: int
    sessions: int
    share: float
    raises: bool

    @property
    def title(self) -> str:
        return f"{self.share:.0%} of the sessions in {self.datname} are idle"

    @property
    def detail(self) -> str:
        return f"{self.idle} of {self.sessions} sessions in {self.datname} wait for their clients and use connections that others may need."


def judge(sessions: list[tuple[dict[str, str], float]], settings: Settings) -> list[Idle]:
    """The datnames with many idle sessions, from the number of sessions by datname and state."""
    counts: dict[str, dict[str, float]] = {}
    for labels, count in sessions:
        counts.setdefault(labels["datname"], {})[labels["state"]] = count
    found = []
    for datname, states in sorted(counts.items()):
        total, idle = sum(states.values()), states.get("idle", 0)
        if total >= max(settings.min_sessions, 1) and idle / total > settings.clear:
            share = idle / total
            found.append(Idle(datname, round(idle), round(total), share, share > settings.share))
    return found
