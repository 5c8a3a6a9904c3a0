# tests/setup/clients.sh - sourced by ./check: clients that are no Debian 12
# packages, into tests/.cache. A second run needs no network.

# boto3 of Debian 13, pure Python, unpacked: FILE SHA256
TRIXIE_BOTO3="
python-boto3/python3-boto3_1.37.9-1_all.deb 075544512aa3ef06ece5c5d4138a6ce1454e27cc2de7b20f1482f030a786e1b0
python-botocore/python3-botocore_1.37.9+repack-1_all.deb ca7193ec8ab83f071c18c872f3cbde43b968251342de919915a8f56b2253683b
python-s3transfer/python3-s3transfer_0.11.4-1_all.deb 485ad1216593bdc736009435035a5ae97740e72ecbe6198ee59bd35f73874998
"

fetch_deb() { # PATH SHA256 DESTINATION
	local repo
	for repo in $(apt-get indextargets --format '$(REPO_URI)' \
		"Created-By: Packages" "Origin: Debian" 2>/dev/null | sort -u); do
		rm -f "$3.part"
		/usr/lib/apt/apt-helper -q -o APT::Sandbox::User= \
			-o Acquire::Retries=2 -o Acquire::http::Timeout=30 \
			download-file "${repo}pool/main/p/$1" "$3.part" \
			>/dev/null 2>&1 || continue
		if echo "$2  $3.part" | sha256sum -c --status; then
			mv "$3.part" "$3"
			return 0
		fi
	done
	rm -f "$3.part"
	return 1
}

setup_boto3() {
	local to=$ROOT/tests/.cache/boto3-1.37 path hash file
	local cache=${CREEL_CACHE_DIR:-$HOME/.cache/creel}
	[ ! -f "$to/.done" ] || return 0
	say "unpacking boto3 1.37"
	mkdir -p "$cache"
	rm -rf "$to"
	mkdir -p "$to"
	while read -r path hash; do
		[ -n "$path" ] || continue
		file=$cache/${path##*/}
		if ! { [ -f "$file" ] &&
			echo "$hash  $file" | sha256sum -c --status; }; then
			fetch_deb "$path" "$hash" "$file" ||
				die "cannot fetch ${path##*/} from this machine's Debian mirror; put it into $cache"
		fi
		dpkg-deb -x "$file" "$to"
	done <<<"$TRIXIE_BOTO3"
	touch "$to/.done"
}

setup_npm() { # FOLDER CACHE WHAT
	local to=$ROOT/tests/.cache/$2
	if [ -d "$to/node_modules" ] &&
		cmp -s "$1/package-lock.json" "$to/package-lock.json"; then
		return 0
	fi
	say "installing $3 with npm"
	rm -rf "$to"
	mkdir -p "$to"
	cp "$1/package.json" "$1/package-lock.json" "$to/"
	npm ci --prefix "$to" --ignore-scripts --no-audit --no-fund \
		</dev/null >"$to/npm.log" 2>&1 || {
		rm -f "$to/package-lock.json"
		die "npm ci failed: see $to/npm.log"
	}
}

setup_js() {
	setup_npm tests/clients/js js "the AWS SDK for JavaScript"
}

setup_fastdfs_js() {
	setup_npm tests/fastdfs/js fastdfs-js "FastDFS's clients"
}

# The Debian mirror of this machine's apt.
debian_mirror() {
	apt-get indextargets --format '$(REPO_URI)' "Created-By: Packages" \
		"Origin: Debian" 2>/dev/null | grep -v security | sort -u |
		head -n 1 | grep . || die "apt knows no Debian mirror"
}

# --full: today's aws, s3cmd and mc, in a chroot of Debian 13.
TRIXIE_ROOT=${CREEL_CACHE_DIR:-$HOME/.cache/creel}/trixie

setup_trixie() {
	local mirror
	[ ! -f "$TRIXIE_ROOT/.done" ] || return 0
	[ "$(id -u)" -eq 0 ] ||
		die "--full needs root for a Debian 13 chroot in $TRIXIE_ROOT"
	mirror=$(debian_mirror)
	say "making a Debian 13 chroot in $TRIXIE_ROOT"
	rm -rf --one-file-system "$TRIXIE_ROOT"
	mkdir -p "$TRIXIE_ROOT"
	debootstrap --variant=minbase --include=ca-certificates trixie \
		"$TRIXIE_ROOT" "$mirror" >"$TRIXIE_ROOT.log" 2>&1 ||
		die "debootstrap failed: see $TRIXIE_ROOT.log"
	cp /etc/resolv.conf /etc/hosts "$TRIXIE_ROOT/etc/"
	chroot "$TRIXIE_ROOT" env DEBIAN_FRONTEND=noninteractive apt-get \
		install -q -y --no-install-recommends awscli s3cmd \
		minio-client </dev/null >>"$TRIXIE_ROOT.log" 2>&1 ||
		die "packages of the chroot: see $TRIXIE_ROOT.log"
	touch "$TRIXIE_ROOT/.done"
}
