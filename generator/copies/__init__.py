"""Where the bytes of a request are copied: every tensor at every hop, derived from a Plan by rules."""

from generator.copies.hops import Hop, Place, Report, Sizes
from generator.copies.rules import RULES, Rule
from generator.copies.trace import Protocol, copies_of

__all__ = ["RULES", "Hop", "Place", "Protocol", "Report", "Rule", "Sizes", "copies_of"]
