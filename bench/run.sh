#!/bin/sh
# Runs every benchmark with its peer: sh bench/run.sh
# Needs wrk, nginx, hyperfine; the first run makes a log of a million entries.
set -eu
cd "$(dirname "$0")/.."
go run ./bench/write
go run ./bench/check
go run ./bench/serve
go run ./bench/delta
go run ./bench/poll
go run ./bench/replay
