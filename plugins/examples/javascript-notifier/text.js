// The message for the chat, and the outcome of the chat's answer. No code here needs the host, so `npm test` runs in plain Node.

const DEFAULTS = { url: null, url_secret: null, channel: null, max_alerts: 10 };

const SIGNS = { info: ":information_source:", warning: ":warning:", critical: ":rotating_light:" };

/** The longest pause before the next try, in milliseconds. A chat may ask for a longer pause. */
const RETRY_AFTER_MAX_MS = 3_600_000;

const BODY_SHOWN_CHARS = 200;

/** Reads the settings and fills in defaults. Throws a text that names the wrong key and its correction. */
export function readSettings(json) {
  const given = JSON.parse(json);
  for (const key of Object.keys(given)) {
    if (!(key in DEFAULTS)) {
      throw `settings.${key}: unknown key; the keys are ${Object.keys(DEFAULTS).join(", ")}`;
    }
  }
  const settings = { ...DEFAULTS, ...given };
  if ((settings.url === null) === (settings.url_secret === null)) {
    throw "settings.url_secret: give either `url_secret`, the name of a secret that holds the webhook, or `url`";
  }
  return settings;
}

/** The body of a Slack incoming webhook. Mattermost, Rocket.Chat and others accept it as well. */
export function payload(message, settings) {
  const shown = message.alerts.slice(0, settings.max_alerts);
  const hidden = message.alerts.length - shown.length + message.truncated;
  const lines = shown.map(line);
  if (hidden > 0) {
    lines.push(`... and ${hidden} more`);
  }
  if (message.externalUrl) {
    lines.push(`<${message.externalUrl}|${escaped(message.agent)}>`);
  }
  const text = lines.join("\n");
  return settings.channel === null ? { text } : { text, channel: settings.channel };
}

function line(alert) {
  const over = (alert.endedAtMs ?? null) !== null;
  const sign = over ? ":white_check_mark:" : SIGNS[alert.severity];
  const word = over ? `resolved${alert.endedBecause ? ` (${alert.endedBecause})` : ""}` : alert.severity;
  const rows = [`${sign} *${word}* ${escaped(alert.title)} - ${escaped(`${alert.subject.kind} ${alert.subject.id}`)}`];
  if (!over && alert.fix) {
    rows.push(`> ${escaped(alert.fix)}`);
  }
  if (!over && alert.runbook) {
    rows.push(`> <${escaped(alert.runbook)}>`);
  }
  return rows.join("\n");
}

/** Escapes markup: `<!channel>` in a label must not notify the whole channel, and no label may become a link. */
function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** The outcome of the chat's answer, for the host. */
export function outcome({ status, headers, body }) {
  const reason = body.trim().slice(0, BODY_SHOWN_CHARS);
  const shown = reason ? `status ${status}: ${reason}` : `status ${status}`;
  if (status >= 200 && status < 300) {
    return { tag: "accepted", val: null };
  }
  if (status === 401 || status === 403) {
    return { tag: "unauthorised", val: shown };
  }
  if (status === 410) {
    return { tag: "gone", val: shown };
  }
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    const after = headers.find(([name]) => name.toLowerCase() === "retry-after")?.[1];
    const seconds = /^\d+$/.test(after ?? "") ? Number(after) : null;
    return retry(shown, seconds === null ? null : Math.min(seconds * 1000, RETRY_AFTER_MAX_MS));
  }
  return { tag: "rejected", val: shown };
}

export function retry(why, afterMs = null) {
  return { tag: "retry", val: { afterMs, why } };
}
