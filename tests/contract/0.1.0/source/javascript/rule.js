// An alert rule that asks for everything its world offers, and finds whatever it was told.

import config from "pharos:plugin/config@0.1.0";
import log from "pharos:plugin/log@0.1.0";
import state from "pharos:plugin/state@0.1.0";
import telemetry from "pharos:plugin/telemetry@0.1.0";

const KINDS = ["postgres", "redis"];

export const plugin = {
  describe: () => ({
    id: "javascript-rule",
    version: "0.1.0",
    summary: "calls everything that contract 0.1.0 offers a rule",
    settingsSchema: JSON.stringify({ type: "object" }),
    wants: [["state", "to keep its latest title"]],
  }),

  init() {
    if (log.enabled("debug")) {
      log.emit("debug", "begins", [{ name: "settings", value: config.settings() }]);
    }
  },
};

export const alertRule = {
  rules: () =>
    KINDS.flatMap((kind) =>
      ["seen", "unseen"].map((word) => ({
        id: `${word}-${kind}`,
        summary: "what was seen",
        category: "contract",
        subjectKind: kind,
        needs: [`pharos_${kind}_up`],
        forMs: 0,
        keepFiringMs: 0,
        runbook: "https://example.com/runbook",
      })),
    ),

  evaluate(at) {
    const { kind, labels } = at.subject();
    telemetry.counterAdd("calls_total", 1);
    telemetry.gaugeSet("parts", at.parts().length);
    const title = `${kind} of ${labels.length}: ${seen(at, kind)}`;
    const finding = {
      rule: `seen-${kind}`,
      labels: [{ name: "by", value: "javascript" }],
      severity: "warning",
      strength: "raise",
      score: 0.5,
      value: at.samples(`pharos_${kind}_up`, [], "value").values.reduce((sum, value) => sum + value, 0),
      raiseAt: 1,
      clearAt: 0,
      title,
      detail: "everything that the contract offers was asked for",
      cause: "a test",
      fix: "none is needed",
      evidence: [
        { name: "kept", value: kept(title) },
        { name: "clock", value: `${at.takenAtMs()} every ${at.intervalMs()}` },
      ],
    };
    const reasons = [{ tag: "no-data" }, { tag: "part-failed", val: "failed" }, { tag: "unsupported", val: "unsupported" }];
    return { findings: [finding], skipped: reasons.map((reason) => ({ rule: `unseen-${kind}`, labels: [], reason })) };
  },
};

/** Parts, samples, rates and rows, as one line. */
function seen(at, kind) {
  const [metric, counter, label] =
    kind === "postgres"
      ? ["pharos_postgres_backends", "pharos_postgres_commits_total", "datname"]
      : ["pharos_redis_keys", "pharos_redis_commands_total", "db"];
  const parts = at.parts().map((part) => `${part.name} ${part.state.tag}`);
  const one = (pattern) => at.samples(metric, [{ label, pattern }], "value").values.length;
  const matched = [one({ tag: "equals", val: "app" }), one({ tag: "one-of", val: ["app", "shop"] }), one({ tag: "prefix", val: "s" })];
  const samples = at.samples(metric, [], "value");
  const rates = at.samples(counter, [], "rate").values;
  const members = at.members().filter(({ id }) => at.member(id)).length;
  const table = at.table("lock_waits");
  return [
    parts.join(", "),
    at.source(metric)?.state.tag ?? "nobody",
    `[${matched.join(", ")}] of ${samples.values.length} with ${samples.labels.map(({ name }) => name).join(" ")}`,
    `rates [${Array.from(rates, (rate) => rate.toFixed(1)).join(", ")}]`,
    `${members} members`,
    table ? rows(table) : "no table",
  ].join("; ");
}

function rows(table) {
  const count = table.rowCount();
  const cells = ({ kind }, column) => {
    switch (kind) {
      case "float":
        return `[${Array.from(table.floats(column, 0, count).values, (value) => value.toFixed(1)).join(", ")}]`;
      case "text":
        return table.texts(column, 0, count).words.join(" ");
      default:
        return `[${Array.from(table.integers(column, 0, count).values).join(", ")}]`;
    }
  };
  return table
    .columns()
    .map((column, index) => `${column.name} ${cells(column, index)}`)
    .join(", ");
}

/** Through every function of `state`. Outside an agent there is none, and that is said. */
function kept(title) {
  try {
    const bytes = Uint8Array.from(title, (char) => char.charCodeAt(0));
    const before = state.get("title");
    state.put("title", bytes, null);
    state.compareAndSwap("title", bytes, bytes);
    state.put("scratch", bytes, 60);
    state.delete("scratch");
    return before ? "again" : "first";
  } catch (error) {
    return (error?.payload ?? error).tag ?? String(error);
  }
}
