#!/usr/bin/env bash
# Builds the plugins that keep a version of the contract alive: tests/contract/VERSION/*.wasm, from the sources beside them and the
# released text of wit/. Run once, in the commit that releases a version; what is released is never built again. Needs node and npm.
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1:?usage: scripts/contract-fixtures.sh VERSION, such as 0.1.0}
folder=tests/contract/$version
[ -d "$folder/source" ] || { echo "contract-fixtures: $folder/source is not there" >&2; exit 1; }
if ! grep -qx "package pharos:plugin@$version;" wit/*.wit; then
    echo "contract-fixtures: wit/ is not version $version; a released contract keeps the fixtures it has" >&2
    exit 1
fi

mkdir -p "$folder/wit"
cp wit/*.wit "$folder/wit/"

for name in rust-rule rust-notifier; do
    cargo build --quiet --release --target wasm32-wasip2 --manifest-path "$folder/source/$name/Cargo.toml" --target-dir target/contract
    cp "target/contract/wasm32-wasip2/release/${name//-/_}.wasm" "$folder/$name.wasm"
done

cd "$folder/source/javascript"
npm ci --silent --no-audit --no-fund
npm run --silent build
rm -rf node_modules
cd ../..
wc -c ./*.wasm
