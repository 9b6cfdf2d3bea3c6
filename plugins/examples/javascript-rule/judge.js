// The judgement. No code here needs the host, so `npm test` runs in plain Node.

export const RULE = "keys-without-expiry";
export const KEYS = "pharos_redis_keys";
export const KEYS_EXPIRING = "pharos_redis_keys_expiring";

const DEFAULTS = { share: 0.5, clear: 0.4, min_keys: 100_000 };

/** Reads the settings and fills in defaults. Throws a text that names the wrong key and its correction. */
export function readSettings(json) {
  const given = JSON.parse(json);
  for (const key of Object.keys(given)) {
    if (!(key in DEFAULTS)) {
      throw `settings.${key}: unknown key; the keys are ${Object.keys(DEFAULTS).join(", ")}`;
    }
    if (typeof given[key] !== "number") {
      throw `settings.${key}: give a number`;
    }
  }
  const settings = { ...DEFAULTS, ...given };
  if (settings.clear > settings.share) {
    throw `settings.clear: ${settings.clear} is above \`share\` (${settings.share}); give at most that`;
  }
  return settings;
}

/** Series as objects with labels and value. Columns are dictionary-coded: `codes[i]` indexes `words`. */
export function rows(samples) {
  return Array.from(samples.values, (value, at) => {
    const labels = samples.labels.map(({ name, values }) => [name, values.words[values.codes[at]]]);
    return { labels: Object.fromEntries(labels), value };
  });
}

/** The findings, from the number of keys and of expiring keys in each logical database. */
export function judge(keys, expiring, settings) {
  const expiringOf = new Map(expiring.map(({ labels, value }) => [labels.db, value]));
  return keys
    .filter(({ value }) => value >= settings.min_keys)
    .map(({ labels, value }) => ({ db: labels.db, keys: value, share: 1 - (expiringOf.get(labels.db) ?? 0) / value }))
    .filter(({ share }) => share > settings.clear)
    .map((database) => finding(database, settings));
}

function finding({ db, keys, share }, settings) {
  const percent = `${Math.round(share * 100)} %`;
  return {
    rule: RULE,
    labels: [{ name: "db", value: db }],
    severity: "warning",
    strength: share > settings.share ? "raise" : "hold",
    score: null,
    value: share,
    raiseAt: settings.share,
    clearAt: settings.clear,
    title: `${percent} of the keys in ${db} never expire`,
    detail: `${Math.round(keys * share)} of ${keys} keys in ${db} have no expiry and stay until they are deleted.`,
    cause: "Code that writes keys without a TTL, or `SET` on an existing key, which removes its TTL.",
    fix: "Write with `SET key value EX 3600` (or `KEEPTTL` when changing a value), and give old keys a TTL with `EXPIRE`.",
    evidence: [{ name: "keys", value: String(keys) }],
  };
}
