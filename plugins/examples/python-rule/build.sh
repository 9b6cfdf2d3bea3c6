#!/bin/sh
# Builds python-rule.wasm from rule.py and its imports. WIT is the path of Pharos' folder `wit`, if that is elsewhere.
set -eu
cd "$(dirname "$0")"
componentize-py --quiet --wit-path "${WIT:-../../../wit}" --world alert-rule-plugin componentize rule --output python-rule.wasm
