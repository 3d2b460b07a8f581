"""The beginnings of a plugin: a distribution with one part that works, its test, its recipe and its README."""

from acaikit.scaffold.names import Kind, Names
from acaikit.scaffold.plugin import begin

__all__ = ["Kind", "Names", "begin"]
