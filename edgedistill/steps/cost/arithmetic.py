"""Arithmetic with figures that may be unavailable: what is made of an unavailable one is unavailable, for the same reason."""

from __future__ import annotations

from collections.abc import Callable

from edgedistill.records import Unavailable
from edgedistill.records.cost import Costs, Figure
from edgedistill.steps.cost.assumptions import Usage

NO_USERS = Unavailable(unavailable="usage.active_users is not given")


def combined(compute: Callable[..., float], *figures: Figure | None) -> Figure:
    """`compute` of the figures, or every reason why one of them is unavailable, each once and with a semicolon between them."""
    reasons = dict.fromkeys(why for figure in figures if isinstance(figure, Unavailable) for why in figure.unavailable.split("; "))
    return Unavailable(unavailable="; ".join(reasons)) if reasons else compute(*figures)


def of_users(user_month: Figure, usage: Usage) -> Costs:
    """The costs of what an active user costs in a month; a request and a session have their share."""
    users = NO_USERS if usage.active_users is None else float(usage.active_users)
    return Costs(
        request=combined(lambda value: value / usage.requests_per_user_month, user_month),
        session=combined(lambda value: value / usage.sessions_per_user_month, user_month),
        user_month=user_month,
        month=combined(lambda value, count: value * count, user_month, users),
    )


def of_requests(request: Figure, usage: Usage) -> Costs:
    """The costs of what each request costs."""
    return of_users(combined(lambda value: value * usage.requests_per_user_month, request), usage)
