"""The JSON Schema of the settings. The host checks settings against it before it passes them to the plugin."""

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Settings of the plugin python-rule",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "share": {
            "description": "Raise when a greater share of the sessions than this is idle.",
            "type": "number",
            "default": 0.8,
        },
        "clear": {
            "description": "Once raised, hold until the share is back at this number.",
            "type": "number",
            "default": 0.7,
        },
        "min_sessions": {
            "description": "Skip datnames with fewer sessions than this.",
            "type": "number",
            "default": 20,
        },
    },
}
