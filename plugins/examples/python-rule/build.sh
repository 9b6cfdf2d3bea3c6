#!/bin/sh
# Builds python-rule.wasm from rule.py and what that imports. WIT is the folder `wit` of Pharos, where that is elsewhere.
set -eu
cd "$(dirname "$0")"
componentize-py --quiet --wit-path "${WIT:-../../../wit}" --world alert-rule-plugin componentize rule --output python-rule.wasm
