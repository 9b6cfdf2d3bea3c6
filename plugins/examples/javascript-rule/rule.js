// The component: the exports of the world `alert-rule-plugin` in wit/. judge.js makes the judgement.

import config from "pharos:plugin/config@0.1.0";

import { KEYS, KEYS_EXPIRING, RULE, judge, readSettings, rows } from "./judge.js";
import schema from "./schema.js";

let settings;

export const plugin = {
  describe: () => ({
    id: "javascript-rule",
    version: "0.1.0",
    summary: "Redis keys that never expire, as an example in JavaScript",
    settingsSchema: JSON.stringify(schema),
    wants: [],
  }),

  init() {
    try {
      settings = readSettings(config.settings());
    } catch (error) {
      throw { tag: "invalid-config", val: String(error) };
    }
  },
};

export const alertRule = {
  rules: () => [
    {
      id: RULE,
      summary: "many keys never expire",
      category: "memory",
      subjectKind: "redis",
      needs: [KEYS, KEYS_EXPIRING],
      forMs: 10 * 60_000,
      keepFiringMs: 0,
      runbook: null,
    },
  ],

  evaluate(snapshot) {
    if (snapshot.subject().kind !== "redis") {
      return { findings: [], skipped: [] };
    }
    const reason = whyUnreadable(snapshot, KEYS) ?? whyUnreadable(snapshot, KEYS_EXPIRING);
    if (reason) {
      return { findings: [], skipped: [{ rule: RULE, labels: [], reason }] };
    }
    const keys = rows(snapshot.samples(KEYS, [], "value"));
    const expiring = rows(snapshot.samples(KEYS_EXPIRING, [], "value"));
    return { findings: judge(keys, expiring, settings), skipped: [] };
  },
};

/** The reason why a metric cannot be judged, or null. A missing sample means "none" only while its part is present. */
function whyUnreadable(snapshot, metric) {
  const part = snapshot.source(metric);
  if (!part) {
    return { tag: "unsupported", val: `no collector reads \`${metric}\`` };
  }
  switch (part.state.tag) {
    case "present":
      return null;
    case "failed":
      return { tag: "part-failed", val: `part \`${part.name}\` failed: ${part.state.val}` };
    case "stale":
      return { tag: "part-failed", val: `part \`${part.name}\` was last read ${part.state.val} ms ago` };
    default:
      return { tag: "unsupported", val: `part \`${part.name}\` is unsupported: ${part.state.val}` };
  }
}
