#!/bin/sh
# From the last approval to the update in place on a client, with its parts. It
# needs a running demo (clerestory demo) and takes the program and its folder:
#
#     sh bench/deliver.sh ./clerestory ~/.local/share/clerestory/demo [rounds]
#
# Every part is a command of its own, so each also pays for a process, the
# database and unlocking keys.
set -eu
program=$(realpath "$1") dir=$(realpath "$2") rounds=${3:-5}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
now() { date +%s%3N; }
# A product of one small file; its source is this checkout.
run() { "$program" "$@" -C "$dir" --passphrase-file "$dir/passphrase" >"$tmp/out" 2>&1 || { cat "$tmp/out" >&2; exit 1; }; }
for i in $(seq "$rounds"); do
	version=0.0.$(date +%s)
	echo "build $version" >"$tmp/tool"
	run release propose clerestory "$version" "$tmp/tool" --by dana --repo .
	hash=$(sed -n "s/^  hash  *//p" "$tmp/out")
	run release approve clerestory "$version" --key boris --hash "$hash"
	run release approve clerestory "$version" --key chidi --hash "$hash"
	approved=$(now)
	run release publish clerestory "$version"
	published=$(now)
	run repository offer clerestory "$version"
	run repository publish --root-keys "$dir/root-keys"
	offered=$(now)
	"$program" update --trust "$dir/trusted_root.json" --repo "$dir/repository" --log "$dir/log" --product clerestory --dir "$tmp/client" >"$tmp/out" 2>&1 || { cat "$tmp/out" >&2; exit 1; }
	grep -q "UPDATED" "$tmp/out"
	done=$(now)
	echo "deliver   approved to in place $((done - approved)) ms: logged and witnessed $((published - approved)), offered and signed $((offered - published)), fetched and verified $((done - offered))"
	sleep 1
done
