"""What HTTP says of rates: the fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10)."""

from collections.abc import Mapping, Sequence
from math import ceil

from crudite.limiting.rate import Verdict


def rate_fields(verdicts: Sequence[Verdict]) -> Mapping[str, str]:
    """The two fields, as structured lists (RFC 9651) with an item for each rate that was asked; none where none was.

    `q` of a policy is how many may come at once, and `w` in how many seconds so many come back; `r` is how many are
    left, and `t` in how many seconds all of them are.
    """
    if not verdicts:
        return {}
    policies = [f'"{v.rate.name}";q={v.rate.burst};w={ceil(v.rate.most)}' for v in verdicts]
    states = [f'"{v.rate.name}";r={v.remaining};t={ceil(v.reset)}' for v in verdicts]
    return {"ratelimit-policy": ", ".join(policies), "ratelimit": ", ".join(states)}
