import assert from "node:assert/strict";
import test from "node:test";

import { outcome, payload, readSettings } from "./text.js";
import { decode, encode } from "./utf8.js";

const alert = (over) => ({
  severity: "critical",
  subject: { kind: "redis", id: "cache1:6379" },
  title: "server does not answer",
  fix: "see the log",
  endedAtMs: null,
  endedBecause: null,
  ...over,
});
const message = (...alerts) => ({ alerts, truncated: 0, agent: "db-watch-1" });
const settings = readSettings('{"url":"https://chat.example.com/hooks/x"}');

test("an alert has its severity, its subject and its fix", () => {
  const { text } = payload(message(alert({})), settings);
  assert.equal(text, ":rotating_light: *critical* server does not answer - redis cache1:6379\n> see the log");
});

test("an alert that is over is marked as resolved, with the reason if no check found that it is fine", () => {
  const { text } = payload(message(alert({ endedAtMs: 1, endedBecause: "gone" })), settings);
  assert.equal(text, ":white_check_mark: *resolved (gone)* server does not answer - redis cache1:6379");
});

test("texts of other programs notify no channel and have no links", () => {
  const { text } = payload(message(alert({ title: "<!channel> & <http://x|y>", fix: null })), settings);
  assert.match(text, /&lt;!channel&gt; &amp; &lt;http:\/\/x\|y&gt;/);
});

test("alerts beyond the limit are counted", () => {
  const { text, channel } = payload(message(alert({}), alert({}), alert({})), { ...settings, max_alerts: 1, channel: "ops" });
  assert.match(text, /\n\.\.\. and 2 more$/);
  assert.equal(channel, "ops");
});

test("an answer is read as the contract asks", () => {
  const of = (status, headers = []) => outcome({ status, headers, body: "" });
  assert.equal(of(200).tag, "accepted");
  assert.deepEqual(of(429, [["Retry-After", "30"]]).val, { afterMs: 30_000, why: "status 429" });
  assert.deepEqual(of(503, [["retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"]]).val, { afterMs: null, why: "status 503" });
  assert.deepEqual([of(404).tag, of(403).tag, of(410).tag, of(500).tag], ["rejected", "unauthorised", "gone", "retry"]);
});

test("mistakes in the settings name their key", () => {
  assert.throws(() => readSettings('{"uri":"x"}'), /^settings.uri: unknown key/);
  assert.throws(() => readSettings("{}"), /^settings.url_secret: give either/);
});

test("text survives as bytes, and bytes that are no text are shown", () => {
  assert.deepEqual(encode("é€"), new TextEncoder().encode("é€"));
  assert.equal(decode(encode("grün 🚨")), "grün 🚨");
  assert.equal(decode(new Uint8Array([0x6f, 0xff])), "oÿ");
});
