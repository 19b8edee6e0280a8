"""What Prometheus is told about the accounts: how many are declared, and what is not as declared."""

import time
from collections.abc import Iterator
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from .keeper import Keeper

_BY_STORE: Final = ["store"]


class Accounts(Collector):
    """Tells what a keeper knows, at the moment it is asked."""

    def __init__(self, keeper: Keeper) -> None:
        """Read from that keeper."""
        self._keeper = keeper

    def collect(self) -> Iterator[Metric]:
        """Yield a family for each number; those of a store carry its name."""
        since, states = self._keeper.numbers()
        seen = GaugeMetricFamily("store_accounts_round_timestamp_seconds", "When all declarations were looked at last.")
        seen.add_metric([], time.time() - since)
        yield seen
        declared = GaugeMetricFamily("store_accounts_declared", "Accounts that are declared.", labels=_BY_STORE)
        problems = GaugeMetricFamily("store_accounts_problems", "What is not as declared.", labels=_BY_STORE)
        strange = GaugeMetricFamily("store_accounts_undeclared", "Accounts that nobody declares.", labels=_BY_STORE)
        changes = CounterMetricFamily("store_accounts_changes", "Changes made since the start.", labels=_BY_STORE)
        for store, state in sorted(states.items()):
            declared.add_metric([store], state.accounts)
            problems.add_metric([store], len(state.problems))
            strange.add_metric([store], len(state.undeclared))
            changes.add_metric([store], state.changes)
        yield from (declared, problems, strange, changes)
