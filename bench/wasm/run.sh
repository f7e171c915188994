#!/bin/sh
# Builds what is compared and runs it once: sh run.sh [megabytes]
set -eu
cd "$(dirname "$0")"
[ -d node_modules/@noble/hashes ] || npm install --no-audit --no-fund --no-package-lock --silent
CGO_ENABLED=0 GOOS=js GOARCH=wasm go build -trimpath -ldflags="-s -w" -o gohash.wasm ./gohash
cp "$(go env GOROOT)/lib/wasm/wasm_exec.js" wasm_exec.js
trap 'rm -f gohash.wasm wasm_exec.js' EXIT
node hash.mjs "${1:-512}"
