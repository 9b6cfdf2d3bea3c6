// The JSON Schema of the settings. The host checks settings against it before it passes them to the plugin.

export default {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  title: "Settings of the plugin javascript-rule",
  type: "object",
  additionalProperties: false,
  properties: {
    share: {
      description: "Raise when a greater share of the keys than this has no expiry.",
      type: "number",
      default: 0.5,
    },
    clear: {
      description: "Once raised, hold until the share is back at this number.",
      type: "number",
      default: 0.4,
    },
    min_keys: {
      description: "Skip logical databases with fewer keys than this.",
      type: "number",
      default: 100000,
    },
  },
};
