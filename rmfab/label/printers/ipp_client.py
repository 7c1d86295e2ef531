"""IPP over HTTP, to the CUPS of this host, a different one, or a printer."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path

from rmfab.causes import Cause
from rmfab.label.printers.address import IppPlace
from rmfab.label.printers.faults import fault_of
from rmfab.label.printers.ipp import Attributes, IppAnswer, Operation, Tag, decode_answer, encode_request
from rmfab.label.printers.patience import PrinterPatience
from rmfab.label.printers.printer import PrinterFault
from rmfab.privacy import login_name

LOCAL_SOCKET = Path("/run/cups/cups.sock")
_LOCAL_HOST = "localhost"
_MOST_ANSWER = 1 << 22
_HTTP_CAUSES = {401: Cause.PRINTER_FORBIDDEN, 403: Cause.PRINTER_FORBIDDEN, 404: Cause.PRINTER_QUEUE}
_IPP_CAUSES = {
    0x0401: Cause.PRINTER_FORBIDDEN,
    0x0402: Cause.PRINTER_FORBIDDEN,
    0x0403: Cause.PRINTER_FORBIDDEN,
    0x0406: Cause.PRINTER_QUEUE,
    0x040A: Cause.PRINTER_FORMAT,
    0x0506: Cause.PRINTER_REJECTS,
    0x0507: Cause.PRINTER_BUSY,
}
"""RFC 8011, appendix B."""


class IppClient:
    """Sends requests to one queue or printer, each in a connection of its own."""

    def __init__(self, place: IppPlace, address: str, patience: PrinterPatience) -> None:
        self._place = place
        self._address = address
        self._patience = patience
        host = place.host or _LOCAL_HOST
        self._uri = f"ipp://{f'[{host}]' if ':' in host else host}:{place.port}{place.path}"

    def ask(
        self, operation: Operation, attributes: Attributes, job: Attributes | None = None, document: bytes = b""
    ) -> IppAnswer:
        """Send a request and return a good answer.

        Raise PrinterFault, in doubt if a document may have been accepted.
        """
        user: Attributes = {"requesting-user-name": (Tag.NAME, (login_name() or "rmfab",))}
        request = encode_request(operation, self._uri, {**user, **attributes}, job)
        connection = self._connection()
        try:
            self._connect(connection)
            answer = self._exchange(connection, request + document, in_doubt=bool(document))
        finally:
            connection.close()
        if not answer.is_good:
            cause = _IPP_CAUSES.get(answer.status, Cause.PRINTER_IPP)
            general = f" (status 0x{answer.status:04x})" if cause is Cause.PRINTER_IPP else ""
            told = "; ".join(text for group in answer.groups for text in _texts(group.get("status-message", ())))
            raise fault_of(cause, self._address, f"{told}{general}" if told or general else None)
        return answer

    def _connection(self) -> http.client.HTTPConnection:
        if self._place.host is None and LOCAL_SOCKET.exists():
            return _SocketConnection(_LOCAL_HOST, timeout=self._patience.connect)
        return http.client.HTTPConnection(self._place.host or _LOCAL_HOST, self._place.port, self._patience.connect)

    def _connect(self, connection: http.client.HTTPConnection) -> None:
        try:
            connection.connect()
        except socket.gaierror as error:
            raise fault_of(Cause.PRINTER_DNS, self._address, f"no address for {self._place.host}: {error}") from None
        except OSError as error:
            what = f"cannot reach {'CUPS' if self._place.path.startswith('/printers/') else 'the printer'}"
            cause = Cause.PRINTER_NO_CUPS if self._place.host is None else Cause.PRINTER_UNREACHABLE
            raise fault_of(cause, self._address, f"{what}: {error.strerror or error}") from None

    def _exchange(self, connection: http.client.HTTPConnection, body: bytes, *, in_doubt: bool) -> IppAnswer:
        try:
            connection.sock.settimeout(self._patience.send)
            connection.request("POST", self._place.path, body, {"Content-Type": "application/ipp"})
            response = connection.getresponse()
            data = response.read(_MOST_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise self._broken(f"the connection broke: {error}", in_doubt) from None
        if response.status != 200:
            cause = _HTTP_CAUSES.get(response.status, Cause.PRINTER_IPP)
            raise fault_of(cause, self._address, f"HTTP status {response.status}")
        try:
            return decode_answer(data)
        except ValueError as error:
            raise self._broken(f"the answer is not IPP: {error}", in_doubt) from None

    def _broken(self, what: str, in_doubt: bool) -> PrinterFault:
        fault = fault_of(Cause.PRINTER_IPP, self._address, what)
        fault.in_doubt = in_doubt
        return fault


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over CUPS's socket in the file system."""

    def connect(self) -> None:
        """Connect."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(LOCAL_SOCKET))


def _texts(values: tuple[int | str, ...]) -> list[str]:
    return [value for value in values if isinstance(value, str)]
