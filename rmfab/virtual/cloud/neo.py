"""The admin API of RainMaker Neo, with the Cognito pool of its administrators and the index of AWS IoT.

Source: esp-rainmaker-neo, docs/api/Api_Swagger.yaml, docs/en/specs/node_reg.md, and its code where it differs: a CSV
that cannot be read ends the job's container, and the job stays "started" for ever; the node is the common name of the
certificate, whatever the column says; a row that is registered already changes nothing.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from rmfab.virtual.cloud.aws_signature import IssuedKey, UnsignedError, judge_signature
from rmfab.virtual.cloud.certificates import UnfitCertificateError, read_certificate
from rmfab.virtual.cloud.deployment import VirtualDeployment
from rmfab.virtual.cloud.request import ApiAnswer, ApiRequest
from rmfab.virtual.cloud.sheet import BadSheetError, read_sheet
from rmfab.virtual.cloud.sign_in import IssuedTokens
from rmfab.virtual.cloud.store import CloudNode, CloudTask, FailedNode, drawn

STAGE, COGNITO, IOT = "/prod", "/cognito", "/iot"
_JOBS = "/v1/admin/nodes/registration-jobs"
_BUCKET = "s3://rmng-files/system/node_certs/"
_JOB = re.compile(rf"{_JOBS}/([^/]+)(/failed-nodes)?")
_TERM = re.compile(r"thingName:([a-zA-Z0-9_-]{1,128})")
_MOST_TERMS = 12
_PAGE_SIZE = 20
_INITIATE = "AWSCognitoIdentityProviderService.InitiateAuth"


@dataclass
class VirtualNeo(VirtualDeployment):
    """A deployment of RainMaker Neo.

    *looks*: at which look a job ends, None: never. *super_admin*: whether the user may register. *duplicates*: it
    reports certificates that are registered already, as older deployments do. *mismatches*: it refuses a different
    certificate for a node, as its specification proposes (node_reg.md, section 3.6); without that it adds it.
    """

    stage = STAGE
    uploads_once = True

    region: str = "us-east-1"
    client_id: str = "rehearsal"
    looks: int | None = 3
    super_admin: bool = True
    duplicates: bool = False
    mismatches: bool = False
    key_lifetime: timedelta = timedelta(hours=1)
    keys: dict[str, IssuedKey] = field(default_factory=dict)

    def served(self, request: ApiRequest) -> ApiAnswer:
        """See `VirtualDeployment`."""
        if request.path == f"{COGNITO}/" and request.method == "POST":
            return self._cognito(request)
        if request.path == f"{STAGE}/v1/user/credentials" and request.method == "POST":
            return self._credentials(request)
        service = "iot" if request.path.startswith(IOT) else "execute-api"
        try:
            judge_signature(request, self.keys, self.region, service, self.now())
        except UnsignedError as error:
            return ApiAnswer(403, {"message": str(error)})
        if not self.super_admin:
            return ApiAnswer(403, {"message": "Forbidden"})
        if service == "iot":
            return self._search(request)
        return self._admin(request, request.path.removeprefix(STAGE))

    # Sign-in

    def _cognito(self, request: ApiRequest) -> ApiAnswer:
        told = request.json()
        if told is None or request.fields.get("x-amz-target") != _INITIATE:
            return _exception("UnknownOperationException", "")
        if told.get("ClientId") != self.client_id:
            return _exception("ResourceNotFoundException", f"User pool client {told.get('ClientId')} does not exist.")
        parameters = told.get("AuthParameters") or {}
        if told.get("AuthFlow") == "REFRESH_TOKEN_AUTH":
            renewed = self.sign_ins.renew(parameters.get("REFRESH_TOKEN"))
            if renewed is None:
                return _exception("NotAuthorizedException", "Refresh Token has been revoked")
            return _result(renewed, fresh=False)
        if not self.sign_ins.knows(parameters.get("USERNAME"), parameters.get("PASSWORD")):
            return _exception("NotAuthorizedException", "Incorrect username or password.")
        return _result(self.sign_ins.issue(), fresh=True)

    def _credentials(self, request: ApiRequest) -> ApiAnswer:
        scheme, _, access = request.token.partition(" ")
        if scheme != "Bearer" or not self.sign_ins.admits(access):
            return ApiAnswer(401, {"message": "Unauthorized"})
        told = request.json()
        if told is None or not self.sign_ins.pair(access, told.get("id_token")):
            return ApiAnswer(403, {"message": "id_token does not belong to this sign-in"})
        name, until = f"ASIA{secrets.token_hex(8).upper()}", self.now() + self.key_lifetime
        key = self.keys[name] = IssuedKey(secrets.token_urlsafe(30), secrets.token_urlsafe(90), until)
        return ApiAnswer(
            200,
            {
                "access_key_id": name,
                "secret_access_key": key.secret,
                "session_token": key.session,
                "expiration": int(until.timestamp()),
            },
        )

    # Registration

    def _admin(self, request: ApiRequest, path: str) -> ApiAnswer:
        match request.method, path:
            case "POST", "/v1/admin/files/upload-urls":
                return self._upload_url(request)
            case "POST", "/v1/admin/nodes/registration-jobs":
                return self._start(request)
            case "GET", "/v1/admin/nodes/registration-jobs":
                jobs = [self._described(task) for task in reversed(self.store.tasks.values())]
                return _page(request, "jobs", jobs)
        found = _JOB.fullmatch(path)
        if found is None or request.method != "GET":
            return ApiAnswer(404, {"message": "Not found"})
        task = self.store.tasks.get(found[1])
        if task is None:
            return ApiAnswer(404, {"message": "registration job not found"})
        if found[2]:
            rows = [asdict(one) | {"recorded_at": int(self.now().timestamp())} for one in task.failed]
            return _page(request, "failed_nodes", rows if task.ended else [])
        self._look(task)
        return ApiAnswer(200, self._described(task))

    def _upload_url(self, request: ApiRequest) -> ApiAnswer:
        told = request.json()
        if told is None or told.get("file_type") != "node_cert" or len(str(told.get("file_name", ""))) > 50:
            return ApiAnswer(500, {"message": "failed to extract request struct"})
        key = f"{secrets.token_hex(4)}_{told.get('file_name') or drawn()}"
        return ApiAnswer(201, {"upload_url": self.storage.presign(self.base, key), "s3_path": f"{_BUCKET}{key}"})

    def _start(self, request: ApiRequest) -> ApiAnswer:
        told = request.json()
        place = "" if told is None else str(told.get("cert_file_s3_path", ""))
        if not place.startswith("s3://"):
            return ApiAnswer(500, {"message": "failed to extract request"})
        task = CloudTask(drawn(), place, self.now(), [], self.looks)
        try:
            sheet = read_sheet(self.storage.objects[place.removeprefix(_BUCKET)])
            task.rows = [(row.get("node_id", ""), row.get("certs", "")) for row in sheet]
        except (BadSheetError, KeyError):
            task.loaded = False
        self.store.tasks[task.id] = task
        return ApiAnswer(202, {"request_id": task.id, "message": "Bulk registration request created"})

    def _look(self, task: CloudTask) -> None:
        if task.loaded and task.rows and task.ends_now():
            for node_id, pem in task.rows:
                self._register(task, node_id, pem)

    def _register(self, task: CloudTask, column: str, pem: str) -> None:
        try:
            certificate = read_certificate(pem)
        except UnfitCertificateError as error:
            task.failed.append(FailedNode(column, "INVALID_CERT", str(error)))
            return
        known = self.store.nodes.get(certificate.node_id)
        if known is None:
            self.store.nodes[certificate.node_id] = CloudNode(certificate.node_id, self.now(), [certificate.id])
            task.registered += 1
        elif certificate.id in known.certificates and not self.duplicates:
            task.registered += 1
        elif certificate.id in known.certificates:
            task.failed.append(_duplicate(certificate.node_id, certificate.id))
        elif self.mismatches:
            task.failed.append(FailedNode(certificate.node_id, "UNKNOWN", "cert mismatch for existing node"))
        else:  # two live certificates, and no word of it (src/rmneo/node/node.go, registerInIotCore)
            known.certificates.append(certificate.id)
            task.registered += 1

    def _described(self, task: CloudTask) -> dict[str, Any]:
        status = "completed" if task.ended else "data_loaded" if task.loaded and task.rows else "started"
        told: dict[str, Any] = {
            "request_id": task.id,
            "job_type": "register",
            "status": status,
            "cert_file_s3_path": task.place,
            "created_at": int(task.began.timestamp()),
            "message": f"Bulk node registration {status}",
        }
        if task.loaded:
            told["total_nodes"] = len(task.rows)
        if task.ended:
            told |= {"success_count": task.registered, "failed_count": len(task.failed)}
        return told

    def _search(self, request: ApiRequest) -> ApiAnswer:
        told = request.json()
        if request.path != f"{IOT}/indices/search" or request.method != "POST" or told is None:
            return ApiAnswer(404, {"message": "Not found"})
        terms = str(told.get("queryString", "")).split(" OR ")
        names = [found[1] for found in map(_TERM.fullmatch, terms) if found]
        if len(names) != len(terms) or len(names) > _MOST_TERMS:
            return ApiAnswer(400, {"message": "InvalidQueryException"})
        things = [self._thing(name) for name in names if name in self.store.nodes]
        return ApiAnswer(200, {"things": things})

    def _thing(self, name: str) -> dict[str, Any]:
        at = self.store.nodes[name].connected
        connectivity = {"connected": False, "timestamp": 0 if at is None else int(at.timestamp() * 1000)}
        return {"thingName": name, "connectivity": connectivity}


def _duplicate(node_id: str, certificate: str) -> FailedNode:
    reason = (
        "failed to register node: operation error IoT: ResourceAlreadyExistsException: The certificate is already "
        f"provisioned or registered: arn:aws:iot:us-east-1:123456789012:cert/{certificate}"
    )
    return FailedNode(node_id, "DUPLICATE_NODEID", reason)


def _page(request: ApiRequest, name: str, items: list[dict[str, Any]]) -> ApiAnswer:
    try:
        size, start = int(request.query.get("page_size", _PAGE_SIZE)), int(request.query.get("start_key", 0))
    except ValueError:
        return ApiAnswer(500, {"message": "failed to list"})
    some = items[start : start + size]
    told: dict[str, Any] = {name: some, "page_total": len(some)}
    return ApiAnswer(200, told | ({"next_key": str(start + size)} if start + size < len(items) else {}))


def _exception(kind: str, told: str) -> ApiAnswer:
    return ApiAnswer(400, {"__type": kind, "message": told})


def _result(tokens: IssuedTokens, *, fresh: bool) -> ApiAnswer:
    result = {"AccessToken": tokens.access, "IdToken": tokens.identity, "ExpiresIn": 3600, "TokenType": "Bearer"}
    if fresh:
        result["RefreshToken"] = tokens.refresh
    return ApiAnswer(200, {"AuthenticationResult": result, "ChallengeParameters": {}})
