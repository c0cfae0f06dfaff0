"""Markdown as lines of a given width, made while the text is still arriving.

`Document` is the whole interface. Nothing is ever parsed as Textual markup, every text of the source stays
readable (raw HTML, broken links, unclosed fences), and no line carries a link that could be clicked.
"""

from llama_chat.ui.markdown.document import Document
from llama_chat.ui.markdown.line import Line

__all__ = ["Document", "Line"]
