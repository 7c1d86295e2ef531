#!/bin/sh
# Pack an ESP-IDF build folder, sign the release, verify it, and export it to OUT; needs no terminal.
#
#   RMFAB_KEY=env:RMFAB_RELEASE_KEY sh release.sh build out
#
# RMFAB_KEY     who signs: env:NAME of a variable that holds the PEM, file:PATH, or pkcs11:token=…;object=…
# RMFAB_TRUST   the trust file to verify by (default: trust.json)
# RMFAB_SEQ     the release's seq (default: as product.toml says, such as seq = "commit-time")
# RMFAB_AFTER   the release before this one, if available: seq and secure version must grow
# RMFAB_SBOM    the software bill of materials (SPDX or CycloneDX), if the build made one
# A passphrase or PIN is read from the file that RMFAB_KEY_PASSPHRASE_FILE names.
set -eu
build=$1
out=$2
: "${RMFAB_KEY:?the URI of the key that signs}"
trust=${RMFAB_TRUST:-trust.json}
mkdir -p "$out"
bundle=$out/release.rmfab

rmfab release build "$build" -o "$bundle" --force ${RMFAB_SEQ:+--seq "$RMFAB_SEQ"} \
    ${RMFAB_AFTER:+--after "$RMFAB_AFTER"} ${RMFAB_SBOM:+--sbom "$RMFAB_SBOM"}
rmfab release sign "$bundle" --key "$RMFAB_KEY"
rmfab release verify "$bundle" --trust "$trust" --junit "$out/release.xml"
rmfab release show "$bundle" --json >"$out/release.json"
rmfab ota check "$bundle" ${RMFAB_AFTER:+--from "$RMFAB_AFTER"}
rmfab ota export "$bundle" -o "$out/ota" --trust "$trust"
