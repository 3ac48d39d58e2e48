"""Attention modules that are no channel attention of the grammar, each in a file of its own, and their records."""

from saam.nn.peers.records import RECORDS

__all__ = ["RECORDS"]
