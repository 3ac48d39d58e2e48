"""All modules that come with saam, in the order in which ``saam list`` shows them: the grammar's, then the others."""

from saam.nn.peers import RECORDS as PEERS
from saam.nn.presets.records import RECORDS as GRAMMAR
from saam.nn.registry import register

__all__: list[str] = []

for _record in (*GRAMMAR, *PEERS):
    register(_record)
