"""A package: its own name is not part of what it defines."""
from .inner import *

__all__ = ["Thing"]

class Thing:
    part = 1

def make(): return Thing()
