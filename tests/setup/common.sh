# tests/setup/common.sh - sourced by ./run and ./check (bash, `set -eu`).
# Sets ROOT; say, die, need_packages FILE..., build PRESET TARGET...

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$ROOT"

say() { printf '== %s\n' "$*" >&2; }
die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Installed as a Debian package, or (PACKAGE:COMMAND) the command is there.
have_package() {
	local package=${1%%:*} command=${1#*:}
	if [ "$command" != "$1" ] && command -v "$command" >/dev/null 2>&1; then
		return 0
	fi
	dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
		grep -qx installed
}

need_packages() {
	local line missing=() as_root=()
	while read -r line; do
		case $line in '' | '#'*) continue ;; esac
		have_package "$line" || missing+=("${line%%:*}")
	done < <(cat "$@")
	[ ${#missing[@]} -gt 0 ] || return 0

	command -v apt-get >/dev/null 2>&1 ||
		die "not a Debian system; install the equivalents (docs/PACKAGES.md) of: ${missing[*]}"
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null 2>&1 ||
			die "run as root, or install these packages first: ${missing[*]}"
		as_root=(sudo)
	fi
	say "installing Debian packages: ${missing[*]}"
	"${as_root[@]}" apt-get update -q >/dev/null ||
		die "apt-get update failed; packages still missing: ${missing[*]}"
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -q -y --no-install-recommends "${missing[@]}" \
		</dev/null >/dev/null ||
		die "apt-get could not install: ${missing[*]}"
}

# build PRESET DIR CMAKE_ARG... : configures once, builds all.
build() {
	local preset=$1 dir=$2 log generator=() go_on=(-k)
	shift 2
	mkdir -p "$dir"
	log=$dir/build.log
	if [ ! -f "$dir/CMakeCache.txt" ] && command -v ninja >/dev/null 2>&1; then
		generator=(-G Ninja)
	fi
	if command -v ccache >/dev/null 2>&1; then
		set -- -DCMAKE_C_COMPILER_LAUNCHER=ccache "$@"
	fi
	say "building $preset in $dir (log: $log)"
	if ! cmake "${generator[@]}" --preset "$preset" "$@" >"$log" 2>&1; then
		tail -n 25 "$log" >&2
		die "configuring $preset failed: see $log"
	fi
	[ ! -f "$dir/build.ninja" ] || go_on=(-k 0)
	if ! cmake --build "$dir" --parallel "$(nproc)" -- "${go_on[@]}" >>"$log" 2>&1; then
		grep -E -A4 'error:|FAILED|undefined reference|CMake Error' "$log" | head -n 40 >&2
		die "building $preset failed: see $log"
	fi
}
