// The JSON Schema of the settings. The host checks settings against it before it passes them to the plugin.

export default {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "Settings of the plugin javascript-notifier",
  type: "object",
  additionalProperties: false,
  properties: {
    url: {
      description: "Address of the chat's incoming webhook. Anybody who has the address can post, so `url_secret` is the better place.",
      type: "string",
    },
    url_secret: {
      description: "Name of the secret that holds the chat's incoming webhook.",
      type: "string",
    },
    channel: {
      description: "Another channel than the webhook's own (Mattermost).",
      type: "string",
    },
    max_alerts: {
      description: "Alerts of one message that are written out; the others are counted.",
      type: "integer",
      minimum: 1,
      maximum: 100,
      default: 10,
    },
  },
};
