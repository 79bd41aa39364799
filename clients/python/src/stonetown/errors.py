"""What can go wrong: an :class:`Error` per gRPC code, with the server's reason; and grants that were not given."""
from __future__ import annotations

from collections.abc import Mapping

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from stonetown.reason import Reason
from stonetown.v1 import Grant, GrantState

_PREFIX = "ERROR_REASON_"


class Error(Exception):
    """A call that the server refused or that did not reach it. None of them is a "no": whether something is allowed is not
    known then."""

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        reason: Reason | str | None = None,
        metadata: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        #: Why, by name; a plain text where a newer server has a reason that this version does not know.
        self.reason = reason
        #: The names and numbers that belong to the reason.
        self.metadata: Mapping[str, str] = dict(metadata or {})
        #: The id under which the server's logs know the call.
        self.request_id = request_id

    def __str__(self) -> str:
        reason = f", {self.reason_name}" if self.reason else ""
        return f"{self.message} ({self.code.name}{reason})"

    @property
    def reason_name(self) -> str | None:
        """The reason as text, known or not."""
        return self.reason.value if isinstance(self.reason, Reason) else self.reason


class Aborted(Error):
    """Another write got in between; the same call may succeed now."""


class AlreadyExists(Error):
    """What was to be made is there."""


class Cancelled(Error):
    """The call was given up."""


class DeadlineExceeded(Error):
    """There was no answer in time. A write may have happened all the same."""


class FailedPrecondition(Error):
    """What the call rests on is not so: a definition that the schema lacks, a state that something is not in."""


class Internal(Error):
    """The server failed, or its answer could not be read."""


class InvalidArgument(Error):
    """The request is malformed; the message names the field."""


class NotFound(Error):
    """There is no such thing, or none that the caller may see."""


class OutOfRange(Error):
    """A state that is no longer kept, or not there yet."""


class PermissionDenied(Error):
    """The caller may not make this call. Not the answer of a check: that is a :class:`~stonetown.Decision`."""


class ResourceExhausted(Error):
    """A limit of the server, which the message names."""


class Unauthenticated(Error):
    """The server does not know the caller: the token is missing, wrong or over."""


class Unavailable(Error):
    """The server is away, or does not take this now."""


class Unimplemented(Error):
    """The server has no such call."""


_BY_CODE: dict[grpc.StatusCode, type[Error]] = {
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.INTERNAL: Internal,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRange,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
}


def from_rpc(error: grpc.RpcError) -> Error:
    """The error of a failed call, which is a call itself wherever gRPC raises it."""
    if not isinstance(error, grpc.Call):
        return Error(grpc.StatusCode.UNKNOWN, str(error))
    code, details = error.code(), error.details() or ""
    info = _error_info(error)
    trailers = dict(error.trailing_metadata() or ())
    request_id = trailers.get("x-request-id")
    if info is None:
        return _BY_CODE.get(code, Error)(code, details, request_id=request_id)
    name = info.reason.removeprefix(_PREFIX)
    reason = Reason(name) if name in Reason.__members__ else name
    return _BY_CODE.get(code, Error)(code, details, reason, info.metadata, request_id)


def _error_info(error: grpc.Call) -> error_details_pb2.ErrorInfo | None:
    """The first ErrorInfo among the details; none where they cannot be read, which takes nothing from the error itself."""
    try:
        status = rpc_status.from_call(error)
    except (ValueError, DecodeError):
        return None
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        try:
            if detail.Unpack(info):
                return info
        except DecodeError:
            return None
    return None


class GrantNotGiven(Exception):
    """A grant that was asked for gives no access: denied, cancelled, revoked, failed or over. ``grant`` says which."""

    def __init__(self, grant: Grant) -> None:
        state = GrantState.Name(grant.state).removeprefix("GRANT_STATE_").lower()
        because = f": {grant.because}" if grant.because else ""
        super().__init__(f"grant {grant.id} of {grant.template} is {state}{because}")
        self.grant = grant


class GrantPending(GrantNotGiven, TimeoutError):
    """A grant that was not active when the wait for it was over. It may still become so."""
