"""The client of Stonetown, the authorization database.

:class:`Client` asks whether somebody may do something, asks for access where it is not there yet, and gives it back when a
task is done. ``stonetown.v1`` has the messages for the calls that have no shorter way here: ``client.grant.list_grants(...)``.
"""
from stonetown import v1
from stonetown.client import Client
from stonetown.decision import Decision
from stonetown.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DeadlineExceeded,
    Error,
    FailedPrecondition,
    GrantNotGiven,
    GrantPending,
    Internal,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from stonetown.reason import Reason
from stonetown.task import Task

__all__ = [
    "Aborted",
    "AlreadyExists",
    "Cancelled",
    "Client",
    "DeadlineExceeded",
    "Decision",
    "Error",
    "FailedPrecondition",
    "GrantNotGiven",
    "GrantPending",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "Reason",
    "ResourceExhausted",
    "Task",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "v1",
]
