"""What the text of a message is made of, without a screen: its blocks, its code, its thoughts, its files.

Markdown is read by markdown-it, as a whole (`parser`, `code_blocks`). Thoughts are told apart while a text
still streams (`thoughts`), files by the very letters that they were put in with (`attached`).
"""
