import assert from "node:assert/strict";
import test from "node:test";

import { judge, readSettings, rows } from "./judge.js";

const series = (db, value) => ({ labels: { db }, value });
const settings = readSettings("{}");

test("a database where most keys never expire is raised", () => {
  const [finding] = judge([series("db0", 200_000)], [series("db0", 50_000)], settings);
  assert.equal(finding.strength, "raise");
  assert.equal(finding.title, "75 % of the keys in db0 never expire");
});

test("a share between the thresholds is held, and one back at clear is fine", () => {
  const strengths = (expiring) => judge([series("db0", 200_000)], [series("db0", expiring)], settings).map((found) => found.strength);
  assert.deepEqual(strengths(110_000), ["hold"]);
  assert.deepEqual(strengths(120_000), []);
});

test("a small database is skipped", () => {
  assert.deepEqual(judge([series("db0", 99_999)], [], settings), []);
});

test("rows decode the dictionary", () => {
  const samples = { labels: [{ name: "db", values: { words: ["db0", "db1"], codes: [1, 0] } }], values: [7, 8] };
  assert.deepEqual(rows(samples), [series("db1", 7), series("db0", 8)]);
});

test("mistakes in the settings name their key", () => {
  assert.throws(() => readSettings('{"shore":1}'), /^settings.shore: unknown key; the keys are share, clear, min_keys$/);
  assert.throws(() => readSettings('{"clear":0.9}'), /settings.clear: 0.9 is above `share` \(0.5\)/);
});
