"""Paths between two latents."""

from acaikit.paths.base import Landscape, ModelPath, Path, described, resolve
from acaikit.paths.geodesic import Geodesic
from acaikit.paths.likely import LikelyPath
from acaikit.paths.straight import lerp, nlerp, slerp

__all__ = [
    "Geodesic",
    "Landscape",
    "LikelyPath",
    "ModelPath",
    "Path",
    "described",
    "lerp",
    "nlerp",
    "resolve",
    "slerp",
]
