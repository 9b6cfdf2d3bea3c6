// A notifier that calls everything its world offers, and posts what it was given to the `url` of its settings.

import config from "pharos:plugin/config@0.1.0";
import egress from "pharos:plugin/egress@0.1.0";
import log from "pharos:plugin/log@0.1.0";
import mail from "pharos:plugin/mail@0.1.0";
import state from "pharos:plugin/state@0.1.0";
import telemetry from "pharos:plugin/telemetry@0.1.0";

let url;

export const plugin = {
  describe: () => ({
    id: "javascript-notifier",
    version: "0.1.0",
    summary: "calls everything that contract 0.1.0 offers a notifier",
    settingsSchema: JSON.stringify({ type: "object", required: ["url"], properties: { url: { type: "string" } } }),
    wants: [["egress", "to post what it was given"]],
  }),

  init() {
    log.emit("debug", "begins", []);
    url = JSON.parse(config.settings()).url;
    if (typeof url !== "string") {
      throw { tag: "invalid-config", val: "settings.url: give an address" };
    }
  },
};

export const notifier = {
  deliver(message) {
    telemetry.counterAdd("deliveries_total", 1);
    const bytes = (text) => Uint8Array.from(unescape(encodeURIComponent(text)), (char) => char.charCodeAt(0));
    attempt(() => state.put("latest", bytes(message.id), 60));
    const said = [
      `${message.id} to ${message.receiver} by ${message.agent} at attempt ${message.attempt}, ${message.truncated} left out, ` +
        `${message.groupLabels.length} group labels, ${message.commonLabels.length} common labels, ${message.externalUrl ?? "no address"}`,
      ...message.alerts.map(alert),
      `mail: ${attempt(() => `${mailed().length} results`)}`,
      "",
    ].join("\n");
    const plain = (val) => ({ tag: "plain", val });
    const request = {
      method: "POST",
      url: [plain(url)],
      headers: [
        { name: "content-type", value: [plain("text/plain")] },
        { name: "authorization", value: [plain("Bearer "), { tag: "secret", val: "token" }] },
        { name: "webhook-id", value: [plain(message.id)] },
      ],
      body: bytes(said),
      signing: { tag: "standard-webhooks", val: ["key"] },
    };
    const { status } = egress.send(request);
    return status >= 200 && status < 300
      ? { tag: "accepted", val: "taken" }
      : { tag: "retry", val: { afterMs: null, why: `status ${status}` } };
  },
};

function alert({ reason, severity, fingerprint, incident, subject, title, labels, endedAtMs, endedBecause }) {
  const ended = `ended ${endedAtMs} because ${endedBecause}`;
  return `${reason} ${severity} ${fingerprint} ${incident} of ${subject.kind} ${subject.id}: ${title} (${labels.length} labels, ${ended})`;
}

/** A mail over a relay that nobody granted. */
function mailed() {
  return mail.send("nowhere", {
    to: [{ name: null, email: "ops@example.com" }],
    subject: "contract",
    text: "0.1.0",
    html: null,
    headers: [["X-Contract", "0.1.0"]],
  });
}

/** What a call gives, or the case of its error. */
function attempt(call) {
  try {
    return call();
  } catch (error) {
    return (error?.payload ?? error).tag ?? String(error);
  }
}
