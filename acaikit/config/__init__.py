"""Recipes: gin files that compose parts into an experiment."""

from acaikit.config.build import build
from acaikit.config.places import telling_places
from acaikit.config.read import read_bindings, read_recipe, read_resolved
from acaikit.config.resolve import Config
from acaikit.config.sketch import sketch

__all__ = ["Config", "build", "read_bindings", "read_recipe", "read_resolved", "sketch", "telling_places"]
