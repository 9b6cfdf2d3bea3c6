#!/bin/sh
# Builds python-rule.wasm from rule.py and what that imports.
set -eu
cd "$(dirname "$0")"
componentize-py --quiet --wit-path ../../../wit --world alert-rule-plugin componentize rule --output python-rule.wasm
