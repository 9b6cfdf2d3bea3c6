// The component: the exports of the world `notifier-plugin` in wit/. text.js makes the messages.

import config from "pharos:plugin/config@0.1.0";
import egress from "pharos:plugin/egress@0.1.0";

import schema from "./schema.js";
import { outcome, payload, readSettings, retry } from "./text.js";
import { decode, encode } from "./utf8.js";

let settings;

export const plugin = {
  describe: () => ({
    id: "javascript-notifier",
    version: "0.1.0",
    summary: "posts alerts into a chat, as an example in JavaScript",
    settingsSchema: JSON.stringify(schema),
    wants: [["egress", "to post alerts to the chat's webhook"]],
  }),

  init() {
    try {
      settings = readSettings(config.settings());
    } catch (error) {
      throw { tag: "invalid-config", val: String(error) };
    }
  },
};

export const notifier = {
  deliver(message) {
    const { url, url_secret } = settings;
    const request = {
      method: "POST",
      // The plugin names a secret and never sees its value. The host puts the value in.
      url: [url_secret === null ? { tag: "plain", val: url } : { tag: "secret", val: url_secret }],
      headers: [{ name: "content-type", value: [{ tag: "plain", val: "application/json" }] }],
      body: encode(JSON.stringify(payload(message, settings))),
      signing: null,
    };
    let response;
    try {
      response = egress.send(request);
    } catch (error) {
      return unsent(error);
    }
    return outcome({ ...response, body: decode(response.body) });
  },
};

/** The outcome of an error that the host throws: an `egress-error` of the contract. */
function unsent(error) {
  const { tag, val } = error;
  switch (tag) {
    case "denied":
      throw { tag: "denied", val };
    case "not-sent":
      return retry(val);
    case "ambiguous":
      return { tag: "ambiguous", val };
    case "too-large":
      return { tag: "rejected", val: `the message or its answer is larger than the ${val} bytes allowed; lower \`max_alerts\`` };
    default:
      throw error;
  }
}
