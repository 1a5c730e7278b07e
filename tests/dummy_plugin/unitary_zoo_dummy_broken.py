"""A plug-in that cannot be imported."""

raise ImportError("the plug-in is missing its library")
