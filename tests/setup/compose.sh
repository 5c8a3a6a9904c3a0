# tests/setup/compose.sh - sourced by ./check after clients.sh: Docker's engine,
# docker-compose 1.29 (Debian 12) and 2 (Debian 13), and the base image, which
# no hub has to give: debootstrap makes it.

COMPOSE_BASE=${CREEL_CACHE_DIR:-$HOME/.cache/creel}/bookworm-base.tar

# Debian 13's docker-compose is one executable that runs on Debian 12 as well.
# apt itself fetches and verifies it, in a state of its own.
setup_compose2() {
	local to=$ROOT/tests/.cache/compose-2 mirror apt
	[ ! -f "$to/.done" ] || return 0
	mirror=$(debian_mirror)
	say "fetching docker-compose of Debian 13"
	rm -rf "$to"
	mkdir -p "$to/lists/partial" "$to/cache/archives/partial"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" \
		>"$to/sources.list"
	apt=(apt-get -q -o Dir::State::Lists="$to/lists"
		-o Dir::Etc::SourceList="$to/sources.list"
		-o Dir::Etc::SourceParts=/dev/null -o Dir::Cache="$to/cache"
		-o APT::Sandbox::User=root -o Acquire::Languages=none)
	{
		"${apt[@]}" update && (cd "$to" && "${apt[@]}" download docker-compose) &&
			dpkg-deb -x "$to"/docker-compose_2*.deb "$to/root"
	} >"$to/log" 2>&1 || die "no docker-compose of Debian 13: see $to/log"
	ln -s root/usr/libexec/docker/cli-plugins/docker-compose "$to/docker-compose"
	"$to/docker-compose" version >>"$to/log" 2>&1 ||
		die "docker-compose of Debian 13 does not run: see $to/log"
	rm -rf "$to/lists" "$to/cache"
	touch "$to/.done"
}

setup_compose_base() {
	local tree mirror
	[ ! -f "$COMPOSE_BASE" ] || return 0
	mirror=$(debian_mirror)
	say "making the image's base with debootstrap in $COMPOSE_BASE"
	mkdir -p "$(dirname "$COMPOSE_BASE")"
	tree=$(mktemp -d)
	debootstrap --variant=minbase bookworm "$tree" "$mirror" \
		>"$COMPOSE_BASE.log" 2>&1 || {
		rm -rf --one-file-system "$tree"
		die "debootstrap failed: see $COMPOSE_BASE.log"
	}
	# What bookworm-slim leaves out as well.
	tar -C "$tree" --exclude './var/cache/apt/*' \
		--exclude './var/lib/apt/lists/*' --exclude './usr/share/doc/*' \
		--exclude './usr/share/man/*' --exclude './usr/share/info/*' \
		--exclude './usr/share/locale/*' -cf "$COMPOSE_BASE.part" .
	rm -rf --one-file-system "$tree"
	mv "$COMPOSE_BASE.part" "$COMPOSE_BASE"
}

setup_compose() {
	[ "$(id -u)" -eq 0 ] || die "the layer compose needs root for Docker's engine"
	need_packages <(printf '%s\n' docker.io docker-compose \
		debootstrap:debootstrap)
	setup_compose2
	setup_compose_base
}
