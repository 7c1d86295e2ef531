"""The admin API of ESP RainMaker, as its admin CLI uses it.

Source: esp-rainmaker-admin-cli, rmaker_admin_lib/{session,user,node_mfg}.py. `Authorization` is the access token,
without "Bearer". A job runs with the refresh token in its request, and ends as a failure if one of its rows cannot be
registered; which one is in no answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rmfab.virtual.cloud.certificates import UnfitCertificateError, read_certificate
from rmfab.virtual.cloud.deployment import VirtualDeployment
from rmfab.virtual.cloud.request import ApiAnswer, ApiRequest
from rmfab.virtual.cloud.sheet import BadSheetError, read_sheet
from rmfab.virtual.cloud.store import CloudNode, CloudTask, FailedNode, drawn

STAGE = "/dev"
_MOVED = 101044
_MOST_ROWS = 50_000
_BODY = (
    "file_name", "file_md5", "refresh_token", "group_name", "type", "model", "parent_group_id", "parent_group_name",
    "subtype", "tags", "force", "update_nodes", "request_id", "node_policies",
)  # fmt: skip


@dataclass
class VirtualRainmaker(VirtualDeployment):
    """A deployment of ESP RainMaker.

    *request_ids*: it names a job before it is started, as newer backends do. *moves*: how many sign-ins end with "the
    user is being moved". *looks*: at which look a job ends, None: never. *versions*: those of its API.
    """

    stage = STAGE
    uploads_once = False

    request_ids: bool = True
    moves: int = 0
    looks: int | None = 2
    versions: tuple[str, ...] = ("v1",)
    _names: dict[str, str] = field(default_factory=dict)

    def served(self, request: ApiRequest) -> ApiAnswer:
        """See `VirtualDeployment`."""
        match request.method, request.path.removeprefix(STAGE):
            case "GET", "/apiversions":
                return ApiAnswer(200, {"supported_versions": list(self.versions)})
            case "POST", "/v1/login2":
                return self._login(request)
        if not self.sign_ins.admits(request.token):
            return ApiAnswer(401, {"message": "Unauthorized"})
        match request.method, request.path.removeprefix(STAGE):
            case "GET", "/v1/admin/node_certificates/register" if "file_name" in request.query:
                return self._upload_url(request.query["file_name"])
            case "GET", "/v1/admin/node_certificates/register" if "request_id" in request.query:
                return self._status(request.query["request_id"])
            case "POST", "/v1/admin/node_certificates/register":
                return self._register(request)
            case "GET", "/v1/admin/nodes" if "node_id" in request.query:
                return self._node(request.query["node_id"])
        return _failure(404, "Not found", 100004)

    def _login(self, request: ApiRequest) -> ApiAnswer:
        told = request.json()
        if told is None:
            return _failure(400, "Invalid JSON", 100001)
        if self.moves:
            self.moves -= 1
            return _failure(400, "User migration in progress", _MOVED)
        if "refreshtoken" in told:
            tokens = self.sign_ins.renew(told["refreshtoken"])
            if tokens is None:
                return _failure(401, "Invalid refresh token", 101020)
            return ApiAnswer(200, {"status": "success", "accesstoken": tokens.access, "idtoken": tokens.identity})
        if not self.sign_ins.knows(told.get("user_name"), told.get("password")):
            return _failure(401, "Incorrect user name or password", 101015)
        new = self.sign_ins.issue()
        return ApiAnswer(
            200,
            {
                "status": "success",
                "accesstoken": new.access,
                "idtoken": new.identity,
                "refreshtoken": new.refresh,
            },
        )

    def _upload_url(self, name: str) -> ApiAnswer:
        self._names[name] = key = f"{drawn()}/{name}"
        told = {"url": self.storage.presign(self.base, key)}
        return ApiAnswer(200, told | ({"request_id": key.partition("/")[0]} if self.request_ids else {}))

    def _register(self, request: ApiRequest) -> ApiAnswer:
        told = request.json()
        if told is None or set(told) != set(_BODY):
            return _failure(400, "Invalid request", 100001)
        if not self.sign_ins.refreshes(told["refresh_token"]):
            return _failure(400, "Invalid refresh token", 101020)
        key = self._names.get(str(told["file_name"]))
        data = self.storage.objects.get(key) if key else None
        if key is None or data is None:
            return _failure(400, "File not found", 103004)
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != told["file_md5"]:
            return _failure(400, "File checksum mismatch", 103005)
        name = key.partition("/")[0] if self.request_ids else drawn()
        if self.request_ids and told["request_id"] != name:
            return _failure(400, "Invalid request id", 103006)
        if name in self.store.tasks:  # the same request again
            return ApiAnswer(200, {"status": "success", "request_id": name})
        self.store.tasks[name] = self._task(name, key, data)
        return ApiAnswer(200, {"status": "success", "request_id": name})

    def _task(self, name: str, key: str, data: bytes) -> CloudTask:
        task = CloudTask(name, key, self.now(), [], self.looks)
        try:
            sheet = read_sheet(data)
            task.rows = [(row["node_id"], row["certs"]) for row in sheet]
        except (BadSheetError, KeyError) as error:
            task.loaded, task.told = False, f"Invalid CSV: {error}"
        if len(task.rows) > _MOST_ROWS:
            task.loaded, task.told = False, f"More than {_MOST_ROWS} nodes"
        return task

    def _status(self, name: str) -> ApiAnswer:
        task = self.store.tasks.get(name)
        if task is None:
            return _failure(404, "Request id not found", 103007)
        if task.ends_now() and task.loaded:
            self._end(task)
        if not task.ended:
            return ApiAnswer(200, {"status": "in_progress", "description": ""})
        return ApiAnswer(200, {"status": "failure" if task.told else "success", "description": task.told})

    def _end(self, task: CloudTask) -> None:
        for node_id, pem in task.rows:
            self._register_row(task, node_id, pem)
        if task.failed:
            task.told = f"{len(task.failed)} of {len(task.rows)} nodes could not be registered"

    def _register_row(self, task: CloudTask, node_id: str, pem: str) -> None:
        try:
            certificate = read_certificate(pem)
        except UnfitCertificateError as error:
            task.failed.append(FailedNode(node_id, "INVALID_CERT", str(error)))
            return
        if certificate.node_id != node_id:
            task.failed.append(FailedNode(node_id, "INVALID_CERT", "the common name is not the node id"))
        elif node_id in self.store.nodes:
            task.failed.append(FailedNode(node_id, "DUPLICATE", "the node exists"))
        else:
            self.store.nodes[node_id] = CloudNode(node_id, self.now(), [certificate.id])
            task.registered += 1

    def _node(self, node_id: str) -> ApiAnswer:
        node = self.store.nodes.get(node_id)
        if node is None:
            return _failure(400, "Node does not exist", 104004)
        at = 0 if node.connected is None else int(node.connected.timestamp() * 1000)
        told: Mapping[str, Any] = {
            "node_id": node_id,
            "node_status": "registered",
            "registration_timestamp": int(node.registered.timestamp()),
            "status": {"connectivity": {"connected": False, "timestamp": at}},
        }
        return ApiAnswer(200, {"node_info": [told], "total": 1})


def _failure(status: int, told: str, code: int) -> ApiAnswer:
    return ApiAnswer(status, {"status": "failure", "description": told, "error_code": code})
