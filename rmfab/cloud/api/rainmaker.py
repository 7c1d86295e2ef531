"""The admin API of ESP RainMaker, as a `Registrar`.

Source: esp-rainmaker-admin-cli, rmaker_admin_lib/{session,user,node_mfg}.py. Tokens go into `Authorization` without
"Bearer". The request that starts a job has the refresh token in its body, with which the backend works on. No endpoint
names the rows that failed, so the nodes are asked for one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from rmfab.cloud.api.exchange import JSON, Exchange, encoded, refuse_expired, wrong_sign_in
from rmfab.cloud.api.https import HttpsClient
from rmfab.cloud.api.pace import Pace
from rmfab.cloud.api.registrar import (
    ABANDON,
    CloudJob,
    FailedRow,
    JobState,
    RegistrationFile,
    SeenNode,
    Upload,
    moment,
)
from rmfab.cloud.api.tokens import Account, Tokens
from rmfab.cloud.api.trouble import Reply
from rmfab.errors import StationError
from rmfab.secret import Secret

VERSION = "v1"
_MOVED = 101044
"""The error code of a user who is being moved to a new user pool: the same request succeeds a little later."""
_MOST_MOVES = 5
_SOON = 2.0  # seconds between two such requests
_REGISTER = "admin/node_certificates/register"
_DONE = ("success", "completed")
_FAILED = ("failure", "failed")


class RainmakerRegistrar:
    """The deployment of *account* at the URL *api*, reached with *client* at *pace*."""

    doubles = False

    def __init__(self, api: str, client: HttpsClient, account: Account, pace: Pace) -> None:
        self._api = api
        self._exchange = Exchange(client, api)
        self._account = account
        self._pace = pace
        self._tokens: Tokens | None = None

    def sign_in(self) -> None:
        """See `Registrar`."""
        url = f"{self._api}/apiversions"
        reply, value = self._pace.tried(lambda: self._exchange.ask("GET", url, {}))
        versions = value.get("supported_versions")
        if not reply.well or not isinstance(versions, list) or VERSION not in versions:
            raise StationError(
                f"not the API of ESP RainMaker in version {VERSION}",
                where=self._exchange.place(url),
                hint="check api in [cloud]: it ends before /v1; update rmfab if the deployment is newer",
                cause="api-version",
            )
        self._pace.tried(self._authorised)

    def upload(self, file: RegistrationFile) -> Upload:
        """See `Registrar`."""
        return self._pace.tried(lambda: self._upload(file))

    def _upload(self, file: RegistrationFile) -> Upload:
        url = self._url(_REGISTER, file_name=file.name)
        value = self._well("GET", url)
        self._exchange.put(self._exchange.text(value, "url", url), file)
        request = value.get("request_id")  # older backends have none
        return Upload(file.name, file.md5, request=request if isinstance(request, str) else "")

    def start(self, upload: Upload, *, doubtful: bool) -> str:
        """See `Registrar`."""
        doubts = [doubtful]

        def once() -> str:
            if doubts[0] and upload.request and self._status(upload.request) is not None:
                return upload.request
            doubts[0] = True
            return self._start(upload)

        return self._pace.tried(once)

    def _start(self, upload: Upload) -> str:
        url = self._url(_REGISTER)
        empty = ("group_name", "type", "model", "parent_group_id", "parent_group_name", "subtype", "node_policies")
        body: dict[str, Any] = {
            "file_name": upload.name,
            "file_md5": upload.md5,
            "refresh_token": self._authorised().refresh.reveal(),
            "request_id": upload.request,
            "tags": [],
            "force": False,  # true would replace the certificates of nodes that exist
            "update_nodes": False,
            **dict.fromkeys(empty, ""),
        }
        return self._exchange.text(self._well("POST", url, body), "request_id", url)

    def look(self, job: str) -> CloudJob:
        """See `Registrar`."""
        found = self._pace.tried(lambda: self._status(job))
        if found is None:
            raise StationError(
                "the cloud does not know the registration job", where=job, hint=ABANDON, cause="job-unknown"
            )
        return found

    def _status(self, job: str) -> CloudJob | None:
        """Return the job, None if the cloud does not know it."""
        url = self._url(_REGISTER, request_id=job)
        reply, value = self._call("GET", url)
        if reply.status in (400, 404):
            return None
        if not reply.well:
            raise self._exchange.refused(reply, value, url)
        status, told = self._exchange.text(value, "status", url), self._exchange.told(value)
        if status in _DONE:
            return CloudJob(JobState.DONE, told)
        return CloudJob(JobState.FAILED if status in _FAILED else JobState.RUNNING, told)

    def failed_rows(self, job: str) -> Iterator[FailedRow]:  # noqa: ARG002 - the cloud does not tell them
        """See `Registrar`: there are none here."""
        return iter(())

    def nodes(self, node_ids: Iterable[str]) -> Iterator[SeenNode]:
        """See `Registrar`."""
        for node_id in node_ids:
            yield self._pace.tried(lambda wanted=node_id: self._node(wanted))  # type: ignore[misc]

    def _node(self, node_id: str) -> SeenNode:
        url = self._url("admin/nodes", node_id=node_id)
        reply, value = self._call("GET", url)
        if reply.status in (400, 404):
            return SeenNode(node_id, known=False)
        if not reply.well:
            raise self._exchange.refused(reply, value, url)
        found = value.get("node_info")
        for one in found if isinstance(found, list) else ():
            if isinstance(one, Mapping) and one.get("node_id") == node_id:
                return SeenNode(node_id, True, _changed(one), moment(one.get("registration_timestamp")))
        return SeenNode(node_id, known=False)

    def close(self) -> None:
        """See `Registrar`."""
        self._exchange.client.close()

    def _url(self, path: str, **query: str) -> str:
        ending = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        return f"{self._api}/{VERSION}/{path}" + (f"?{ending}" if ending else "")

    def _well(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the answer to a request. Raise StationError if it is refused, also in the answer itself."""
        reply, value = self._call(method, url, body)
        if not reply.well or value.get("status") in _FAILED:
            raise self._exchange.refused(reply, value, url)
        return value

    def _call(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> tuple[Reply, dict[str, Any]]:
        """Send an authorised request; once more with new tokens if the server does not accept those that it has."""
        data = None if body is None else encoded(body)
        for last in (False, True):
            access = self._authorised().access.reveal()
            reply, value = self._exchange.ask(method, url, JSON | {"Authorization": access}, data)
            if reply.status != 401 or last:
                return reply, value
            self._renew()
        raise AssertionError("the last request returns")

    # Sign-in

    def _authorised(self) -> Tokens:
        """Return tokens that are valid as far as this host can tell."""
        if self._tokens is None:
            self._keep(self._account.tokens.load() or self._signed_in())
        tokens = self._tokens
        if tokens is None:
            raise AssertionError("they are kept above")
        if not tokens.valid(self._exchange.client.now()):
            self._renew()
        return self._tokens or tokens

    def _keep(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._exchange.secrets |= {tokens.access, tokens.identity, tokens.refresh}

    def _renew(self) -> None:
        """Get new tokens for the refresh token; sign in again if the cloud does not accept that any more."""
        tokens = self._tokens
        if tokens is None:
            raise AssertionError("there is no sign-in to renew")
        reply, value = self._login({"refreshtoken": tokens.refresh.reveal()})
        access, identity = value.get("accesstoken"), value.get("idtoken")
        if reply.well and isinstance(access, str) and isinstance(identity, str):
            self._new(tokens.renewed(access, identity), reply)
            return
        self._account.tokens.forget()
        self._keep(self._signed_in())

    def _signed_in(self) -> Tokens:
        """Sign in with the password."""
        password = self._account.password()
        self._exchange.secrets.add(password)
        reply, value = self._login({"user_name": self._account.user, "password": password.reveal()})
        names = ("accesstoken", "idtoken", "refreshtoken")
        if not reply.well or value.get("status") in _FAILED:
            told = self._exchange.told(value) or f"status {reply.status}"
            raise wrong_sign_in(self._account.user, told, self._api)
        texts = [self._exchange.text(value, name, self._url("login2")) for name in names]
        tokens = Tokens(*map(Secret, texts))
        self._new(tokens, reply)
        return tokens

    def _login(self, request: Mapping[str, str]) -> tuple[Reply, dict[str, Any]]:
        url = self._url("login2")
        for _ in range(_MOST_MOVES):
            reply, value = self._exchange.ask("POST", url, JSON, encoded(request))
            if str(value.get("error_code")) != str(_MOVED):
                return reply, value
            self._pace.wait(_SOON)
        raise StationError(
            f"the cloud keeps moving the user to a new pool (error {_MOVED})",
            where=self._exchange.place(url),
            hint="try again later; if it stays, ask whoever runs the deployment",
            cause="sign-in-moved",
        )

    def _new(self, tokens: Tokens, reply: Reply) -> None:
        """Keep tokens that the cloud has just made. Raise StationError if this host's clock says they are over."""
        self._keep(tokens)
        refuse_expired(tokens, reply, self._exchange)
        self._account.tokens.save(tokens)


def _changed(node: Mapping[str, Any]) -> datetime | None:
    """Return when a node last connected or disconnected, None if it never did."""
    status = node.get("status")
    connectivity = status.get("connectivity") if isinstance(status, Mapping) else None
    return moment(connectivity.get("timestamp")) if isinstance(connectivity, Mapping) else None
