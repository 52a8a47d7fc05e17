#!/usr/bin/env bash
# Installs what the tests compare with and drive: Debian's nginx, wrk, h2load, curl, Node.js, Chromium, openssl.
# Needs root and apt-get; without them it says what is missing, and the tests that need it are skipped with that reason.
set -u

declare -A package=(
  [nginx]=nginx-light [wrk]=wrk [curl]=curl [node]=nodejs [chromium]=chromium [openssl]=openssl [unshare]=util-linux [ip]=iproute2
  [h2load]=nghttp2-client
)
missing=()
for program in "${!package[@]}"; do
  PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
[ ${#missing[@]} = 0 ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "not installed, and cannot be without root and apt-get: ${missing[*]} (the tests that need them are skipped)"
  exit 0
fi
echo "installing for the tests: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# A package must not start a server of its own on this machine.
policy=/usr/sbin/policy-rc.d
made=
if [ ! -e $policy ]; then printf '#!/bin/sh\nexit 101\n' > $policy; chmod +x $policy; made=yes; fi
apt-get -qq update >/dev/null && apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
status=$?
[ -n "$made" ] && rm -f $policy
[ $status = 0 ] || echo "apt-get failed ($status): the tests that need ${missing[*]} are skipped"
exit 0
