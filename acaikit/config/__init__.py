"""Recipes: gin files that compose parts into an experiment."""

from acaikit.config.build import build
from acaikit.config.resolve import Config, read_bindings, read_recipe, read_resolved

__all__ = ["Config", "build", "read_bindings", "read_recipe", "read_resolved"]
