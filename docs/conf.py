"""How Sphinx builds the site: ``sphinx-build -W -b html docs docs/_build/html``. Nothing is fetched."""

from pygments.lexers.python import PythonLexer
from sphinx.application import Sphinx

import acaikit

project = "acaikit"
author = "the acaikit authors"
copyright = "the acaikit authors"
release = version = acaikit.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build"]
nitpicky = True
default_role = "py:obj"

# What can't be linked without the network; and single backticks in docstrings, which mark any name, linked or not.
nitpick_ignore_regex = [
    ("py:class", r"(torch|numpy|np|nn|os|collections|h5py|acaikit\.config\.syntax)\..*"),
    ("py:class", r"Tensor|Generator|Factory|Path|pathlib.Path|Mapping.*"),
    ("py:obj", r".*"),
]

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

autosummary_generate = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
python_maximum_signature_line_length = 120

html_theme = "pydata_sphinx_theme"
html_title = "acaikit"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "header_links_before_dropdown": 8,
    "navbar_align": "left",
    "show_prev_next": False,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"*": [], "reference/*": ["sidebar-nav-bs"]}


def setup(app: Sphinx) -> None:
    """Let recipes be coloured: gin's literals, names and comments are Python's."""
    app.add_lexer("gin", PythonLexer)
