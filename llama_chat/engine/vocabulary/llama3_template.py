"""How Llama 3 writes turns, as a chat template: Meta's own files come without one."""

from __future__ import annotations

# Content is not trimmed, and is encoded by itself (`text_break`), not together with the line break before it:
# so Meta's code does it, and so the ids are those that the model was trained with.
LLAMA3_TEMPLATE = """\
{{ bos_token }}
{%- for message in messages -%}
{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
{{- text_break }}{{ message['content'] }}{{ '<|eot_id|>' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif -%}
"""
