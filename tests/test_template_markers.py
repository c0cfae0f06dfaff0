"""Which turn markers a user could write: those that are no control tokens."""

from __future__ import annotations

import pytest
from tiny_models import CHATML, SPECIALS

from llama_chat.template.markers import MAX_MARKERS, forgeable_markers, forgery_notice

ZEPHYR = """\
{% for message in messages %}
{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token }}
{% if loop.last and add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}
{% endfor %}"""
LLAMA2 = """\
{% if messages[0].role == 'system' %}
    {% set system = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' %}
    {% set messages = messages[1:] %}
{% else %}{% set system = '' %}{% endif %}
{% for message in messages %}
    {% if message.role == 'user' %}
        {{- bos_token + '[INST] ' + (system if loop.first else '') + message.content.strip() + ' [/INST]' -}}
    {% else %}{{- ' ' + message.content.strip() + ' ' + eos_token -}}{% endif %}
{% endfor %}"""
VICUNA = """\
{{ bos_token }}A chat between a curious user and an assistant. Note: be kind.
{% for message in messages %}
{% if message.role == 'system' %}{{ raise_exception('no system prompt') }}{% endif %}
{% if message.role == 'user' %}USER: {{ message.content }}
{% else %}ASSISTANT: {{ message.content }}{{ eos_token }}
{% endif %}
{% endfor %}
{% if add_generation_prompt %}ASSISTANT:{% endif %}"""
ALPACA = """\
{% for message in messages %}
### {{ 'Instruction' if message.role == 'user' else 'Response' }}:
{{ message.content }}

{% endfor %}
### Response:
"""
BARE = "{% for message in messages %}{{ message.content }}\nthen came\n{% endfor %}"
LLAMA3 = """\
{{ bos_token }}{% for message in messages %}
{{- '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' + message.content + '<|eot_id|>' -}}
{% endfor %}<|start_header_id|>system<|end_header_id|>

Cutting Knowledge Date: December 2023
Today Date: 26 Jul 2024<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"""
HEADERS = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")


@pytest.mark.parametrize(
    ("template", "special_tokens", "wanted"),
    [
        (ZEPHYR, ("<s>", "</s>"), {"<|system|>", "<|user|>", "<|assistant|>"}),
        (ZEPHYR, ("</s>", "<|system|>", "<|user|>", "<|assistant|>"), set()),
        (LLAMA2, ("<s>", "</s>"), {"[INST]", "[/INST]", "<<SYS>>", "<</SYS>>"}),
        (LLAMA2, ("<s>", "</s>", "[INST]", "[/INST]"), {"<<SYS>>", "<</SYS>>"}),
        (VICUNA, ("<s>", "</s>"), {"USER:", "ASSISTANT:"}),
        (ALPACA, (), {"### Instruction:", "### Response:"}),
        (BARE, (), {"then came"}),
        (LLAMA3, HEADERS, set()),  # its dates look like roles
        (CHATML, SPECIALS, set()),
        (CHATML, (), {"<|im_start|>", "<|im_end|>"}),
        ("{{ raise_exception('never') }}", (), set()),
        ("{% for", (), set()),
        ("hello", (), set()),
    ],
    ids=["zephyr", "special", "llama2", "half", "vicuna", "alpaca", "bare", "llama3", "chatml",
         "chatml without", "fails", "no template", "no contents"],
)  # fmt: skip
def test_markers(template: str, special_tokens: tuple[str, ...], wanted: set[str]) -> None:
    assert set(forgeable_markers(template, special_tokens)) == wanted


def test_the_notice_is_bounded() -> None:
    many = "{% for message in messages %}" + "".join(f"[M{chr(65 + n)}] " for n in range(20))
    many += "{{ message.content }}{% endfor %}"
    markers = forgeable_markers(many, ())
    assert len(markers) == MAX_MARKERS
    assert "([MA], [MB]" in forgery_notice(markers)
