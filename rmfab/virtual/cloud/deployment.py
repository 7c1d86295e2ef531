"""What every virtual deployment has: a user who signs in, a storage for uploads, and a store of nodes and jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from rmfab.virtual.cloud.request import ApiAnswer, ApiRequest
from rmfab.virtual.cloud.sign_in import SignIns
from rmfab.virtual.cloud.storage import PREFIX, Storage
from rmfab.virtual.cloud.store import CloudStore


@dataclass
class VirtualDeployment(ABC):
    """A deployment. *now* is the clock; *base* the URL of the server, known once it listens.

    `stage` begins the path of its API. `uploads_once`: an upload URL is valid once.
    """

    stage: ClassVar[str]
    uploads_once: ClassVar[bool]

    now: Callable[[], datetime]
    base: str = ""
    sign_ins: SignIns = field(init=False)
    storage: Storage = field(init=False)
    store: CloudStore = field(default_factory=CloudStore)

    def __post_init__(self) -> None:
        self.sign_ins = SignIns(self.now)
        self.storage = Storage(self.now, once=self.uploads_once)

    @property
    def api(self) -> str:
        """The URL of the API."""
        return f"{self.base}{self.stage}"

    def answer(self, request: ApiRequest) -> ApiAnswer:
        """See `VirtualCloud`."""
        return self.storage.answer(request) if request.path.startswith(PREFIX) else self.served(request)

    @abstractmethod
    def served(self, request: ApiRequest) -> ApiAnswer:
        """Return the answer of the API."""
