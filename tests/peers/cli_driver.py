"""Drives esp-rainmaker-cli: reads one request as JSON on stdin, calls the package's functions, prints one JSON result.

It runs in `.venv-peers`, apart from rmfab. The package is unmodified; only the place where its SoftAP transport
connects is set, since its command line has a fixed address and wants a login.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from types import SimpleNamespace

from rmaker_tools.rmaker_prov import challenge_response, esp_rainmaker_prov
from rmaker_tools.rmaker_prov.prov import prov_util

A_BYTES = 384
USER = "wifiprov"


class Unlucky(Exception):
    """The package drew an A of fewer than 384 bytes, once in 256 sessions; it does not draw again, as others do."""


class Conversation:
    """One connection to the unit at *place*, with the security that it offers."""

    def __init__(self, place: str, pop: str) -> None:
        self.transport = prov_util.get_transport("softap", place)
        told = json.loads(prov_util.get_version(self.transport))["prov"]
        patch = prov_util.get_sec_patch_ver(self.transport)
        self.security = prov_util.get_security(told["sec_ver"], patch, USER, pop, pop)
        self.offered = [told["sec_ver"], patch]

    def session(self) -> bool:
        """Open the session; False if the unit rejects it."""
        try:
            return bool(prov_util.establish_session(self.transport, self.security))
        except (RuntimeError, OSError):
            judge_luck(self.security)
            return False

    def scan(self) -> list[dict]:
        """The networks that the unit receives."""
        return prov_util.scan_wifi_APs("softap", self.transport, self.security)

    def map(self, host: str, token: str) -> list:
        """Challenge and response with the cloud at *host*."""
        return list(
            challenge_response.perform_challenge_response_flow(self.transport, self.security, login(host, token))
        )

    def disable(self) -> bool:
        """Ask the unit to answer no more challenges."""
        return challenge_response.send_disable_chal_resp(self.transport, self.security)

    def associate(self, user: str, key: str) -> list:
        """The older way: status and node id of `cloud_user_assoc`."""
        return list(esp_rainmaker_prov.custom_config(self.transport, self.security, user, key))


def judge_luck(security: object) -> None:
    """Raise Unlucky if the session failed for the package's own reason."""
    drawn = getattr(security, "srp6a_ctx", None)
    if drawn is not None and drawn.A.bit_length() <= (A_BYTES - 1) * 8:
        raise Unlucky


def login(host: str, token: str) -> SimpleNamespace:
    """A session of the package with the cloud, which would come from its login."""
    config = SimpleNamespace(get_host=lambda: host, get_access_token=lambda: token)
    return SimpleNamespace(config=config, id_token=token)


def converse(place: str, pop: str, steps: list) -> dict:
    """Make *steps* (a name and its arguments each) in one session."""
    talk = Conversation(place, pop)
    said = {"offered": talk.offered}
    for name, *arguments in steps:
        said[name] = getattr(talk, name)(*arguments)
        if said[name] is False:
            break
    return said


def provision(place: str, pop: str, cloud: list | None, **credentials: str) -> dict:
    """The package's whole flow: capabilities, session, mapping, network, until the unit has joined or not."""
    used = []
    make = prov_util.get_security
    prov_util.get_transport = functools.partial(_transport, prov_util.get_transport, place)
    prov_util.get_security = lambda *arguments: used.append(make(*arguments)) or used[-1]
    session = None if cloud is None else login(*cloud)
    try:
        result = esp_rainmaker_prov.provision_device("softap", pop, session=session, no_retry=True, **credentials)
    except RuntimeError as error:
        judge_luck(used[-1])
        return {"error": str(error)}
    return {"result": result}


def claimed(
    folder: str, image: str, node_id: str, key: str, certificate: str, host: str, cred_host: str, random: str
) -> dict:
    """What the package leaves in *folder* (with a slash at its end) when it has claimed a board, without the cloud."""
    from rmaker_tools.rmaker_claim import claim

    listed = claim.set_csv_file_data(folder)
    claim.save_claim_data(folder, node_id, key.encode(), certificate, host, listed, cred_host)
    claim.save_random_hex_str(folder, random)
    claim.gen_nvs_partition_bin(folder, image)
    return {}


def _transport(make, place: str, mode: str, _name: str | None):
    return make(mode, place)


def main() -> None:
    """Answer the request on stdin; everything that the package prints goes to stderr."""
    request = json.load(sys.stdin)
    kind = {"converse": converse, "provision": provision, "claimed": claimed}[request.pop("do")]
    with contextlib.redirect_stdout(sys.stderr):
        try:
            said = kind(**request)
        except Unlucky:
            said = {"unlucky": True}
    sys.stdout.write(json.dumps(said))


if __name__ == "__main__":
    main()
