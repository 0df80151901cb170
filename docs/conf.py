"""Sphinx builds the manual from these Markdown pages: `make site`. Nothing is fetched when it is built or read."""

project = "fidoloop"
project_copyright = ""
html_show_copyright = False
html_show_sphinx = False
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
root_doc = "index"
html_theme = "furo"
html_title = "fidoloop"
html_copy_source = False
html_show_sourcelink = False
highlight_language = "none"
smartquotes = False  # an option has two hyphens, not a dash
exclude_patterns = ["_build"]
