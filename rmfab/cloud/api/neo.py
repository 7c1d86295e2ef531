"""The admin API of RainMaker Neo, as a `Registrar`.

Source: esp-rainmaker-neo, docs/api/Api_Swagger.yaml and docs/en/specs/node_reg.md; what its code does differently from
the specification is noted where it matters. Cognito's admin pool gives tokens, the deployment gives credentials of AWS
for them, and these sign each request (SigV4). A job whose container ended has no failed state: it stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import quote

from rmfab.cloud.api.cognito import Cognito
from rmfab.cloud.api.exchange import JSON, Exchange, encoded
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
from rmfab.cloud.api.sigv4 import AwsCredentials, Scope, signed
from rmfab.cloud.api.tokens import Tokens
from rmfab.cloud.api.trouble import PassingTrouble, Reply
from rmfab.errors import StationError
from rmfab.secret import Secret

_JOBS = "v1/admin/nodes/registration-jobs"
_PAGE = 100
_MOST_PAGES = 1000
"""Of failed rows: 50,000 rows are 500 pages. A server that never ends its pages must not keep this host for ever."""
_MOST_JOB_PAGES = 3
"""Of jobs, newest first: the one that is looked for was started a moment ago, or not at all."""
_TERMS = 10
"""Things in one query: AWS IoT allows 12 terms (AWS IoT Core quotas, fleet indexing)."""
_MARGIN = timedelta(minutes=1)
_NOT_ADMIN = "the account must be a super admin of the deployment (custom:super_admin)"


@dataclass(frozen=True)
class NeoPlaces:
    """The URLs of a deployment: its *api*, and that of AWS *iot*; *region* is that of its stack."""

    api: str
    iot: str
    region: str


class NeoRegistrar:
    """The deployment at *places*, reached with *client* at *pace*, for the account that *cognito* signs in."""

    doubles = True  # node.go, registerInIotCore: it registers and attaches the certificate, and takes the thing as done

    def __init__(self, places: NeoPlaces, client: HttpsClient, cognito: Cognito, pace: Pace) -> None:
        self._places = places
        self._exchange = Exchange(client, places.api)
        self._exchange.secrets = cognito.exchange.secrets
        self._cognito = cognito
        self._pace = pace
        self._credentials: AwsCredentials | None = None
        self._until: datetime | None = None

    def sign_in(self) -> None:
        """See `Registrar`."""
        self._pace.tried(self._authorised)

    def upload(self, file: RegistrationFile) -> Upload:
        """See `Registrar`."""
        return self._pace.tried(lambda: self._upload(file))

    def _upload(self, file: RegistrationFile) -> Upload:
        url = self._url("v1/admin/files/upload-urls")
        value = self._well("POST", url, {"file_type": "node_cert", "file_name": file.name})
        place = self._exchange.text(value, "s3_path", url)
        self._exchange.put(self._exchange.text(value, "upload_url", url), file)
        return Upload(file.name, file.md5, place=place)

    def start(self, upload: Upload, *, doubtful: bool) -> str:
        """See `Registrar`."""
        doubts = [doubtful]

        def once() -> str:
            found = self._job_of(upload) if doubts[0] else None
            doubts[0] = True
            return found or self._start(upload)

        return self._pace.tried(once)

    def _start(self, upload: Upload) -> str:
        url = self._url(_JOBS)
        return self._exchange.text(self._well("POST", url, {"cert_file_s3_path": upload.place}), "request_id", url)

    def _job_of(self, upload: Upload) -> str | None:
        """Return the id of the job that registers *upload*, None if there is none: its place is never used twice."""
        for job in self._pages(_JOBS, "jobs", _MOST_JOB_PAGES):
            if job.get("cert_file_s3_path") == upload.place and isinstance(job.get("request_id"), str):
                return str(job["request_id"])
        return None

    def look(self, job: str) -> CloudJob:
        """See `Registrar`."""
        return self._pace.tried(lambda: self._look(job))

    def _look(self, job: str) -> CloudJob:
        url = self._url(f"{_JOBS}/{quote(job, safe='')}")
        reply, value = self._call("GET", url)
        if reply.status == 404:
            raise StationError(
                "the cloud does not know the registration job", where=job, hint=ABANDON, cause="job-unknown"
            )
        if not reply.well:
            raise self._exchange.refused(reply, value, url, _NOT_ADMIN)
        told = self._exchange.told(value)
        if self._exchange.text(value, "status", url) != "completed":
            return CloudJob(JobState.RUNNING, told)
        registered, failed = (_count(value, name) for name in ("success_count", "failed_count"))
        if registered is None or failed is None:
            raise PassingTrouble("the job has no counts", where=self._exchange.place(url), cause="api-answer")
        return CloudJob(JobState.FAILED if failed else JobState.DONE, told, registered, failed)

    def failed_rows(self, job: str) -> Iterator[FailedRow]:
        """See `Registrar`."""
        for row in self._pages(f"{_JOBS}/{quote(job, safe='')}/failed-nodes", "failed_nodes", _MOST_PAGES):
            node_id, code, reason = (row.get(name) for name in ("node_id", "code", "reason"))
            if isinstance(node_id, str):
                yield FailedRow(node_id, str(code), self._exchange.clean(str(reason)))

    def _pages(self, path: str, name: str, most: int) -> Iterator[Mapping[str, Any]]:
        """Yield the items of a list that comes in pages."""
        key = ""
        for _ in range(most):
            query = f"page_size={_PAGE}" + (f"&start_key={quote(key, safe='')}" if key else "")
            url = f"{self._url(path)}?{query}"
            value = self._pace.tried(lambda wanted=url: self._well("GET", wanted))  # type: ignore[misc]
            items = value.get(name)
            yield from (one for one in items if isinstance(one, Mapping)) if isinstance(items, list) else ()
            following = value.get("next_key")
            if not isinstance(following, str) or not following or following == key:
                return
            key = following

    def nodes(self, node_ids: Iterable[str]) -> Iterator[SeenNode]:
        """See `Registrar`: the index of AWS IoT, which an administrator's credentials may search."""
        remaining = iter(node_ids)
        while some := list(islice(remaining, _TERMS)):
            found = self._pace.tried(lambda wanted=some: self._things(wanted))  # type: ignore[misc]
            yield from (found.get(node_id, SeenNode(node_id, known=False)) for node_id in some)

    def _things(self, node_ids: list[str]) -> dict[str, SeenNode]:
        url = f"{self._places.iot}/indices/search"
        body = {"queryString": " OR ".join(f"thingName:{one}" for one in node_ids), "maxResults": _PAGE}
        reply, value = self._call("POST", url, body, "iot")
        if not reply.well:
            raise self._exchange.refused(reply, value, url, _NOT_ADMIN)
        things = value.get("things")
        found = (one for one in things if isinstance(one, Mapping)) if isinstance(things, list) else ()
        return {str(one["thingName"]): _seen(one) for one in found if isinstance(one.get("thingName"), str)}

    def close(self) -> None:
        """See `Registrar`."""
        self._exchange.client.close()

    def _url(self, path: str) -> str:
        return f"{self._places.api}/{path}"

    def _well(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        reply, value = self._call(method, url, body)
        if not reply.well:
            raise self._exchange.refused(reply, value, url, _NOT_ADMIN)
        return value

    def _call(
        self, method: str, url: str, body: Mapping[str, Any] | None = None, service: str = "execute-api"
    ) -> tuple[Reply, dict[str, Any]]:
        """Send a signed request; once more with new credentials if the server does not accept those that it has."""
        data = b"" if body is None else encoded(body)
        for last in (False, True):
            credentials = self._authorised()
            scope = Scope(self._places.region, service)
            headers = signed(method, url, JSON, data, credentials, scope, self._exchange.client.now())
            reply, value = self._exchange.ask(method, url, headers, data)
            if last or reply.status != 403 or "expired" not in self._exchange.told(value):
                return reply, value
            self._credentials = None
        raise AssertionError("the last request returns")

    def _authorised(self) -> AwsCredentials:
        """Return credentials that are valid as far as this host can tell."""
        now = self._exchange.client.now()
        if self._credentials is None or (self._until is not None and now + _MARGIN >= self._until):
            self._credentials, self._until = self._cognito.with_tokens(self._exchanged)
        return self._credentials

    def _exchanged(self, tokens: Tokens) -> tuple[AwsCredentials, datetime | None] | None:
        """Exchange *tokens* of one sign-in for credentials; None if they are not valid any more."""
        url = self._url("v1/user/credentials")
        headers = JSON | {"Authorization": f"Bearer {tokens.access.reveal()}"}
        reply, value = self._exchange.ask("POST", url, headers, encoded({"id_token": tokens.identity.reveal()}))
        if reply.status == 401:
            return None
        if not reply.well:
            raise self._exchange.refused(reply, value, url)
        names = ("access_key_id", "secret_access_key", "session_token")
        key, secret, session = (self._exchange.text(value, name, url) for name in names)
        credentials = AwsCredentials(key, Secret(secret), Secret(session))
        self._exchange.secrets |= {credentials.secret_access_key, credentials.session_token}
        return credentials, moment(value.get("expiration"))


def _seen(thing: Mapping[str, Any]) -> SeenNode:
    connectivity = thing.get("connectivity")
    changed = moment(connectivity.get("timestamp")) if isinstance(connectivity, Mapping) else None
    return SeenNode(str(thing["thingName"]), known=True, changed=changed)


def _count(value: Mapping[str, Any], name: str) -> int | None:
    """Return a number of rows; 0 if it is left out, None if it is no number."""
    count = value.get(name, 0)
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None
