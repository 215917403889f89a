#!/usr/bin/env bash
# Install the programs that the wire tests and benchmarks use as peers, from Debian packages.
#
# Does nothing where all of them are there. Installs only as root on a machine with apt-get; otherwise it says what is
# missing and ends well: the tests skip by name what they do not find, or fail if SPIR_REQUIRE_PEERS=1.
set -euo pipefail

PATH="$PATH:/usr/sbin:/sbin"

# program:package
peers=(
  findscu:dcmtk
  Orthanc:orthanc
  dciodvfy:dicom3tools
  nginx:nginx-light
  haproxy:haproxy
  socat:socat
  wrk:wrk
  node:nodejs
  npm:npm
)

missing=()
for peer in "${peers[@]}"; do
  command -v "${peer%%:*}" >/dev/null || missing+=("${peer##*:}")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "peers that are not installed: ${missing[*]} (Debian packages; run this as root to install them)" >&2
  exit 0
fi

# The packages of servers would start them. A policy that forbids it stands while they are installed.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi

echo "installing peers: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
for package in "${missing[@]}"; do
  apt-get install -y -qq --no-install-recommends "$package" >/dev/null \
    || echo "the package $package could not be installed" >&2
done
