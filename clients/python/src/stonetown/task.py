"""A task: access that is asked for while it runs, and given back when it ends."""
from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING

from stonetown.errors import Error, GrantNotGiven, GrantPending, Unavailable
from stonetown.v1 import Grant, GetGrantRequest, GrantState, Requestable, RequestGrantRequest, CompleteTaskRequest

if TYPE_CHECKING:
    from stonetown._services import GrantService

# Between two looks at a grant that is waited for, in seconds: the first, and the longest.
_LOOK_FIRST, _LOOK_LONGEST = 0.2, 5.0


class Task:
    """What :meth:`Client.task` gives. It asks for grants and ends them all at the end of its ``with``."""

    def __init__(self, grants: GrantService, name: str) -> None:
        self._grants = grants
        #: What ties the grants together; approvers see it.
        self.name = name

    def grant(
        self,
        template: str | Requestable,
        parameters: Mapping[str, str] | None = None,
        *,
        reason: str = "",
        ticket: str = "",
        ttl: timedelta | None = None,
        starts_at: datetime | None = None,
        beneficiary: str = "",
        subject: str = "",
        emergency: bool = False,
        renews: str = "",
        wait: float = 600.0,
    ) -> Grant:
        """Asks for access and returns when it is there.

        ``template`` is a name, or what :attr:`Decision.requestable` offered. Without a ``ttl`` the access lasts as long as
        the template allows. ``beneficiary`` is the principal who is to get it, the caller where it is not given.

        Waits at most ``wait`` seconds; 0 looks once. Raises :class:`GrantPending` when they are over, and
        :class:`GrantNotGiven` when somebody or something said no. What is still open is taken back at the end of the task.
        """
        if isinstance(template, Requestable):
            if parameters is not None:
                raise ValueError("what was offered has its parameters")
            parameters = template.parameters
            template = template.template
        request = RequestGrantRequest(
            template=template, parameters=parameters or {}, reason=reason, ticket=ticket, task=self.name,
            beneficiary=beneficiary, subject=subject, emergency=emergency, renews=renews,
        )
        if ttl is not None:
            request.ttl.FromTimedelta(ttl)
        if starts_at is not None:
            if starts_at.tzinfo is None:
                raise ValueError("starts_at needs a time zone")
            request.starts_at.FromDatetime(starts_at)
        return wait_for(self._grants, self._grants.request_grant(request).grant, wait)

    def complete(self) -> int:
        """Ends every grant and request of the task, and says how many; the end of the ``with`` does it."""
        answer = self._grants.complete_task(CompleteTaskRequest(task=self.name))
        return int(answer.ended)

    def __enter__(self) -> Task:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        try:
            self.complete()
        except Error as failed:
            # What went wrong in the task matters more. The access ends by itself in any case.
            if error is None:
                raise
            if hasattr(error, "add_note"):
                error.add_note(f"the task's access could not be ended early: {failed}")


def wait_for(grants: GrantService, grant: Grant, wait: float) -> Grant:
    """Looks at a grant until it gives access.

    Raises :class:`GrantPending` after ``wait`` seconds, and :class:`GrantNotGiven` as soon as it never will.
    """
    deadline = time.monotonic() + wait
    pause = _LOOK_FIRST
    while not grant.active:
        # Approved and not active: it begins later, or is over and about to be written down as expired.
        if grant.state not in (GrantState.GRANT_STATE_PENDING, GrantState.GRANT_STATE_APPROVED):
            raise GrantNotGiven(grant)
        left = deadline - time.monotonic()
        if left <= 0:
            raise GrantPending(grant)
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LOOK_LONGEST)
        try:
            grant = grants.get_grant(GetGrantRequest(id=grant.id)).grant
        except Unavailable:
            # The server is away for a moment; the wait has its own end.
            continue
    return grant
