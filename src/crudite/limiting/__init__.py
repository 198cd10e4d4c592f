"""How often: rates, who has used how much of them, and where that is counted."""

from crudite.limiting.base import Counts, CountsAway
from crudite.limiting.limiter import Limiter
from crudite.limiting.memory import MemoryCounts
from crudite.limiting.opening import counted_in, open_counts
from crudite.limiting.rate import Rate, Verdict
from crudite.limiting.rates import AUTH, Rates, network
from crudite.limiting.telling import rate_fields

__all__ = [
    "AUTH", "Counts", "CountsAway", "Limiter", "MemoryCounts", "Rate", "Rates", "Verdict", "counted_in", "network",
    "open_counts", "rate_fields",
]  # fmt: skip
