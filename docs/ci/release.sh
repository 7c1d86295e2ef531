#!/bin/sh
# Pack a build, sign the release, verify it, and export it for updates over the air; needs no terminal.
#
#   RMFAB_KEY=env:RMFAB_RELEASE_KEY sh release.sh BUILD OUT
#
# BUILD is a build folder, or a bundle to add a signature to. OUT gets NAME-VERSION.rmfab, release.json, release.xml (a
# JUnit report) and ota/ (a shelf; the one that is there is continued). If anything fails, OUT is as it was before,
# except for the report of a release that was not accepted.
#
# stdout says whether the release can be installed over the air, and names what is in OUT. Commands that write to the
# temporary folder say nothing but warnings.
#
# RMFAB_KEY     who signs: env:NAME of a variable that holds the PEM or its base64, file:PATH, or pkcs11:token=...
# RMFAB_KEY_PASSPHRASE_FILE   the file with the passphrase or PIN of that key, if it has one
# RMFAB_TRUST   the trust file to verify by (default: trust.json)
# RMFAB_SEQ     the release's seq (default: as product.toml says, such as seq = "commit-time")
# RMFAB_AFTER   the release before this one, if available: seq and secure version must grow
# RMFAB_SBOM    the software bill of materials (SPDX or CycloneDX), if the build made one
# RMFAB_STEP    sign: stop after signing, if a second key signs in another job (OUT gets only the bundle)
set -eu

fail() { # EXIT-CODE ERROR HINT
    printf 'release.sh: error: %s\nrelease.sh: hint: %s\n' "$2" "$3" >&2
    exit "$1"
}

if [ $# -ne 2 ]; then
    sed -n '2,${/^#/!q;s/^# \{0,1\}//p;}' "$0" >&2
    exit 2
fi
build=$1
out=$2
trust=${RMFAB_TRUST:-trust.json}
step=${RMFAB_STEP:-all}
case $step in
all | sign) ;;
*) fail 2 "RMFAB_STEP is \"$step\"" "use sign, or leave it unset" ;;
esac
case ${RMFAB_KEY:-} in
"") fail 2 "RMFAB_KEY is not set" "set it to the URI of the key that signs, such as env:RMFAB_RELEASE_KEY" ;;
env:*) [ -n "$(printenv "${RMFAB_KEY#env:}")" ] || fail 3 "the variable of $RMFAB_KEY is not set, or is empty" \
    "in GitLab: is the tag protected, and the variable for the environment of this job? In GitHub: is it a secret of the environment of this job, and passed with env:?" ;;
esac

work=$(mktemp -d "$(dirname "$out")/.release.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Fail before anything is packed: does the key open, and is there a trust file?
rmfab release pubkey --key "$RMFAB_KEY" -o "$work/key.pub" >/dev/null
rmfab trust list "$trust" >/dev/null

case $build in
*.rmfab) cp "$build" "$work/release.rmfab" ;;
*) rmfab -q release build "$build" -o "$work/release.rmfab" --require-clean ${RMFAB_SEQ:+--seq "$RMFAB_SEQ"} \
    ${RMFAB_AFTER:+--after "$RMFAB_AFTER"} ${RMFAB_SBOM:+--sbom "$RMFAB_SBOM"} >/dev/null ;;
esac
rmfab release show "$work/release.rmfab" --json >"$work/release.json"
version=$(sed -n 's/^  "version": "\(.*\)",\{0,1\}$/\1/p' "$work/release.json")
project=$(sed -n 's/^    "project": "\(.*\)",\{0,1\}$/\1/p' "$work/release.json")
tag=${CI_COMMIT_TAG:-}
if [ "${GITHUB_REF_TYPE:-}" = tag ]; then
    tag=$GITHUB_REF_NAME
fi
if [ -n "$tag" ] && [ "${tag#v}" != "${version#v}" ]; then
    fail 3 "the tag is $tag, but the version of the firmware is $version" \
        "set PROJECT_VER (or version.txt) to ${tag#v}, or push the tag v${version#v}"
fi
name=$(printf '%s-%s' "$project" "$version" | tr -c 'A-Za-z0-9._+-' '-')
bundle=$work/$name.rmfab
mv "$work/release.rmfab" "$bundle"
rmfab -q release sign "$bundle" --key "$RMFAB_KEY" >/dev/null

if [ "$step" = all ]; then
    rmfab release verify "$bundle" --trust "$trust" --junit "$work/release.xml" >/dev/null || {
        code=$?
        mkdir -p "$out" && mv -f "$work/release.xml" "$out/"
        exit "$code"
    }
    (cd "$work" && rmfab release show "$name.rmfab" --json >release.json)
    rmfab ota check "$bundle" ${RMFAB_AFTER:+--from "$RMFAB_AFTER"}
    if [ -d "$out/ota" ]; then
        cp -Rp "$out/ota" "$work/ota"
    fi
    rmfab -q ota export "$bundle" -o "$work/ota" --trust "$trust" >/dev/null
fi

mkdir -p "$out"
mv -f "$bundle" "$out/"
if [ "$step" = all ]; then
    mv -f "$work/release.json" "$work/release.xml" "$out/"
    if [ -d "$out/ota" ]; then
        mv "$out/ota" "$work/before"
    fi
    mv "$work/ota" "$out/ota"
fi
printf '%s\n' "$out/$name.rmfab"
if [ "$step" = all ]; then
    printf '%s\n' "$out/release.json" "$out/release.xml" "$out/ota"
fi
