# shellcheck shell=sh
# SPDX-License-Identifier: BSD-3-Clause
#
# For the scripts that get a program from Debian's packages: downloaded with apt from the mirror that the machine uses and checked
# with its keys. Nothing is installed, nobody has to be root, and nothing of it is copied to anywhere else than the cache. Who
# includes this has set $work, a folder to make things in.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/uiommu

fail()
{
	echo "$(basename "$0"): $*" >&2
	exit 1
}

# Where the machine has Debian's packages from.
mirror()
{
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(REPO_URI) $(ORIGIN) $(LABEL)' 'Created-By: Packages' 2>/dev/null |
		awk '$2 == "Debian" && $3 == "Debian" { print $1; exit }'
}

# apt, with lists, cache and status of our own, and the machine's other configuration.
private_apt()
{
	# shellcheck disable=SC2154 # $work
	apt-get -q -o Dir::State="$work/apt/state" -o Dir::State::status="$work/apt/status" -o Dir::Cache="$work/apt/cache" \
		-o Dir::Etc::SourceList="$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::Etc::Preferences=/dev/null \
		-o Dir::Etc::PreferencesParts=/dev/null -o APT::Default-Release="$suite" \
		-o Acquire::Check-Valid-Until=false -o Acquire::Languages=none -o APT::Sandbox::User= -o Acquire::Retries=3 "$@" >&2
}

# begin SUITE MB: an empty $work, and in it the lists of what the suite has. Needs MB of room.
begin()
{
	suite=$1
	for tool in apt-get dpkg-deb; do
		command -v "$tool" >/dev/null || fail "needs $tool"
	done
	rm -rf "$work"
	mkdir -p "$work/apt/state/lists/partial" "$work/apt/cache/archives/partial"
	have=$(df -Pm "$work" | awk 'NR == 2 { print $4 }')
	[ "$have" -ge "$2" ] || fail "$cache: needs $2 MB, and $have are free"
	uri=$(mirror)
	[ -n "$uri" ] || fail "apt knows of no mirror of Debian here; run apt-get update"
	: >"$work/apt/status"
	key=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -r "$key" ] && signed="[signed-by=$key] " || signed=
	echo "deb $signed$uri $suite main" >"$work/apt/sources.list"
	private_apt update || fail "the packages' lists cannot be had (no network?)"
}

# download PACKAGE...: to $work/apt.
download()
{
	(cd "$work/apt" && private_apt download "$@") || fail "cannot download $*"
}
