"""The answer to "may this subject do this?"."""
from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone

from stonetown.v1 import CheckResponse, Outcome, Requestable


@dataclass(frozen=True)
class Decision:
    """An answer, which is true where it is a yes::

        if decision := client.may("agent:fixer", "scale", "cluster:staging-1"):
            ...
        else:
            print(decision.reason)
    """

    #: Whether it is a yes. An answer that depends on values that were not given is none.
    allowed: bool
    #: The answer in a few words, for people and logs.
    reason: str
    #: The values that the answer depends on, by name. With them in ``context`` it may be a yes.
    missing_context: tuple[str, ...]
    #: Where it is a no: what the caller could ask for, to be allowed it. See :meth:`Task.grant`.
    requestable: tuple[Requestable, ...]
    #: Until when (exclusively) a yes holds if nothing is written; none if for ever, or if it is no yes.
    until: datetime | None
    #: The moment at which what begins and expires was judged.
    judged_at: datetime | None
    #: The state that the answer rests on.
    zedtoken: str

    def __bool__(self) -> bool:
        return self.allowed

    @classmethod
    def of(cls, answer: CheckResponse) -> Decision:
        """What the server said. Only an outright yes is one."""
        return cls(
            allowed=answer.outcome == Outcome.OUTCOME_ALLOWED,
            reason=_reason(answer),
            missing_context=tuple(answer.missing_context),
            requestable=tuple(answer.requestable),
            until=_time(answer, "until"),
            judged_at=_time(answer, "judged_at"),
            zedtoken=answer.token,
        )


def _reason(answer: CheckResponse) -> str:
    if answer.outcome == Outcome.OUTCOME_ALLOWED:
        return "allowed"
    if answer.outcome == Outcome.OUTCOME_CONDITIONAL:
        return f"depends on {', '.join(answer.missing_context)}"
    if answer.requestable:
        return f"denied; can be asked for: {', '.join(map(_asked_for, answer.requestable))}"
    return "denied"


def _asked_for(requestable: Requestable) -> str:
    values = ", ".join(f"{name}={value}" for name, value in sorted(requestable.parameters.items()))
    return f"{requestable.template}({values})"


def _time(answer: CheckResponse, field: str) -> datetime | None:
    return getattr(answer, field).ToDatetime(timezone.utc) if answer.HasField(field) else None
