"""The client."""
from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from stonetown._calls import Calls
from stonetown._endpoint import Endpoint
from stonetown._services import SERVICE_CONFIG, Services
from stonetown.decision import Decision
from stonetown.names import object_ref, subject_ref
from stonetown.task import Task, wait_for
from stonetown.v1 import CheckRequest, Freshness, GetGrantRequest, Grant, ObjectRef, SubjectRef

_OPTIONS: list[tuple[str, object]] = [
    ("grpc.service_config", SERVICE_CONFIG),
    # Nobody else says what is repeated.
    ("grpc.service_config_disable_resolution", 1),
    # A connection that is dead without saying so ends streams within a minute.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]


class Client(Services):
    """A connection to a server. Threads may share one; a process that forks makes one after the fork.

    ``endpoint`` is HOST:PORT. ``token`` is sent with each call: a text, or a function that returns the one of the moment, for
    credentials that are renewed. Servers elsewhere are spoken to with TLS, by the system's authorities or ``ca`` (a file or
    PEM); this machine's in plain text unless ``ca`` or ``certificate`` is given; ``insecure=True`` sends plain text, and the
    token with it, anywhere. ``certificate`` is the client's own for mutual TLS: the files of certificate and key.

    Every call is in the store named ``store``; without one in that of the token, or the default one.

    Each call ends within ``timeout`` seconds unless it says otherwise; a stream lasts. Calls that change nothing are repeated
    up to three times while the server is away; so is asking for a grant, which carries a key that makes it one request.

    What was written or seen through a client is in all later answers of it: ``zedtoken`` is the last state that an answer
    named. Set it to the ``written_at`` of a write through another client, and that write is in the answers, too.
    """

    def __init__(
        self,
        endpoint: str,
        token: str | Callable[[], str] | None,
        *,
        ca: str | Path | bytes | None = None,
        certificate: tuple[str | Path, str | Path] | None = None,
        insecure: bool = False,
        store: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        self._endpoint = Endpoint.of(endpoint, ca, certificate, insecure)
        self._channel = self._endpoint.channel(_OPTIONS)
        self._calls = Calls(self._channel, token, timeout, store)
        super().__init__(self._calls)

    @classmethod
    def from_env(cls, **more: Any) -> Client:
        """A client by the variables that the command line knows: STONETOWN_ENDPOINT (127.0.0.1:50051 where it is not set),
        STONETOWN_TOKEN, STONETOWN_CERTIFICATE_PATH, STONETOWN_INSECURE, STONETOWN_STORE."""
        env = os.environ.get
        return cls(**{
            "endpoint": env("STONETOWN_ENDPOINT") or "127.0.0.1:50051",
            "token": env("STONETOWN_TOKEN") or None,
            "ca": env("STONETOWN_CERTIFICATE_PATH") or None,
            "insecure": env("STONETOWN_INSECURE", "").lower() in ("1", "true"),
            "store": env("STONETOWN_STORE") or None,
            **more,
        })

    def may(
        self,
        subject: str | SubjectRef,
        permission: str,
        resource: str | ObjectRef,
        *,
        chain: Iterable[str | ObjectRef] = (),
        context: Mapping[str, Any] | None = None,
        at: datetime | None = None,
        timeout: float | None = None,
    ) -> Decision:
        """Whether a subject (``agent:fixer``) has a permission on a resource (``cluster:staging-1``).

        ``chain`` names those who act for the subject, the nearest first: a yes is one for each of them, and each may act for
        the one before. ``context`` has values for conditions. ``at`` asks how it was at an earlier moment, which must still be kept. Raises
        an :class:`~stonetown.Error` where there is no answer; that is no "no", and still less a yes.
        """
        request = CheckRequest(resource=object_ref(resource), permission=permission, subject=subject_ref(subject))
        request.chain.extend(map(object_ref, chain))
        if context is not None:
            request.context.update(context)
        if at is not None:
            if at.tzinfo is None:
                raise ValueError("at needs a time zone")
            request.freshness.CopyFrom(Freshness())
            request.freshness.at.FromDatetime(at)
        return Decision.of(self.decision.check(request, timeout=timeout))

    def task(self, name: str | None = None) -> Task:
        """A task, within which access is asked for and after which it is given back::

            with client.task("deploy-81") as task:
                task.grant("scale", {"cluster": "staging-1"}, reason="the queue is full")
                ...

        The end of the task ends every grant of that name that the caller may end, so a name is for one run. Without one it
        gets a random one.
        """
        return Task(self.grant, f"task-{uuid.uuid4()}" if name is None else name)

    def wait_for_grant(self, id: str, *, wait: float = 600.0) -> Grant:
        """Waits until a grant gives access, as :meth:`Task.grant` does for its own."""
        return wait_for(self.grant, self.grant.get_grant(GetGrantRequest(id=id)).grant, wait)

    @property
    def zedtoken(self) -> str | None:
        """The state that answers are not to be older than; none before the first answer."""
        return self._calls.zedtoken

    @zedtoken.setter
    def zedtoken(self, token: str | None) -> None:
        self._calls.zedtoken = token

    def close(self) -> None:
        """Closes the connection. Calls that run are cancelled."""
        self._channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<stonetown.Client of {self._endpoint}>"
