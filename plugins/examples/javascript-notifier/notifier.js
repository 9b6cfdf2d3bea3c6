// The component: what the world `notifier-plugin` in wit/ asks for, around the text in text.js.

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
      // A secret is named, never seen: the host puts it in.
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

/** What the host could not do: the error of the contract is what is thrown. */
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
