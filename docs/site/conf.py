"""Sphinx's settings for the site; `docs/site/build.py` lays its pages out and runs it."""

import inspect

project = "pzlib"
copyright = "the authors of pzlib, Apache-2.0"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
html_theme = "furo"
html_title = "pzlib"
html_copy_source = False
html_show_sourcelink = False

nb_execution_mode = "off"  # the copies hold what was printed and drawn when they ran
nb_merge_streams = True
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 4

default_role = "literal"  # our docstrings mark code by one backtick, as markdown does
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"exclude-members": "set"}  # of a Picture: matplotlib's own
# Docstrings are sentences with a list here and there, not RST: what docutils says of their form is of no use.
suppress_warnings = ["docutils", "myst.header", "myst.strikethrough", "mystnb.mime_type", "misc.highlighting_failure"]


def plain(app, what, name, obj, options, signature, returns):
    """A command's signature without what its arguments tell the command line."""
    if what == "function" and name.startswith("pzlib.commands."):
        return f"({', '.join(inspect.signature(obj).parameters)})", None


def setup(app):
    app.connect("autodoc-process-signature", plain)
