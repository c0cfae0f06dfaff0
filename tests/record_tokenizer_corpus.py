"""Records what llama.cpp makes of nasty strings, for the tokenizer's tests to be held against.

llama-cpp-python is needed here and nowhere else; it comes as source and takes some minutes to build, so give
it an environment of its own:

    python -m venv recorder && recorder/bin/pip install llama-cpp-python
    recorder/bin/python tests/record_tokenizer_corpus.py record MODEL.gguf                    the corpus
    recorder/bin/python tests/record_tokenizer_corpus.py record MODEL.gguf --random 20000 --output random.json

and where llama-chat is installed:

    python tests/record_tokenizer_corpus.py check MODEL.gguf random.json

MODEL is the default model's file. In the records ids stand beside their text: [[text, [id, ...]], ...].
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

CORPUS = Path(__file__).parent / "data" / "tokenizer_corpus.json"
SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<file_sep>", "<jupyter_code>")

# One a line or between bars; \n, \t and \r stand for themselves.
ORDINARY = r"""Hello, world!
The quick brown fox jumps over the lazy dog.|don't I'll we've they're he's it'd I'm
DON'T I'LL|'tis 'twas rock'n'roll ''s 's's|well-known state-of-the-art|…and then—suddenly–nothing
“quoted” ‘text’ «here»|Zürich Größe naïve café|Ærøskøbing Ångström|ſtraße ﬁne ﬂow|ǅ ǈ titlecase
ʰʲʷ modifiers|ªº ordinals|1|12|123|1234|1234567890|a1|1a|a1b2c3|1 2 3|1  2|abc  1|abc 1|abc   12 3| 1
  1|1 |3.14159|1,000,000.00|-1|+1|1st 2nd 3rd|0x1F|1e-10|2024-02-29T12:34:56Z|v1.2.3-rc.4|10%|$9.99|€5
№5|½ ¼ ⅓|²³¹|①②③|ⅣⅧ|٣٤٥|१२३|༣|𝟙𝟚𝟛|一二三四|x²+y²=z²|H₂O|E=mc²|a_1|_1|__init__|1_000|#1|@1|1/2|1:2|(1)
[1]|{1}|'1'|"1"|1'1|it's1|1's|1'll|2's 3't|if (a<b && b>c) { return; }|def f(x):\n    return x**2\n
for i in range(10):\n\tprint(i)\n\n\n|SELECT * FROM t;|<div class="a">b</div>|&amp;&lt;
https://example.com/a/b?c=d&e=f#g|user@example.org|C:\\Users\\x|/usr/bin/env|~/.ssh
{"a": [1, 2, {"b": null}]}|\\n \\t \\u0041|a=b;c=d|#!/bin/sh|// comment|/* c */|<!-- c -->
```python\nx\n```|$$x$$|!!!|???|...|----|====|****|####|~~~~|+++|<<<>>>|!?!?|:-)|;)|^_^|¯\\_(ツ)_/¯
(╯°□°)╯︵ ┻━┻|!@#$%^&*()_+-={}[]| a|  a|   a|a |a  |a   |a b|a  b|a   b|a    b| a b |  a  b  |a\tb
a\t\tb|\ta|a\t| \t |\t \t|a \tb|a\t b|\n|\n\n|\n\n\n|\r|\r\n|\r\n\r\n|\n\r|a\nb|a\n\nb|a\r\nb|a\rb| \n
\n | \n |  \n  |\n  a|a  \n|a \n b|\n\t\n|a\n 1|こんにちは世界|日本語テキスト|中文字符测试|한국어 텍스트
ㄱㄴㄷ|ｆｕｌｌｗｉｄｔｈ　１２３|漢字かな交じり文123abc|。、！？「」|Привет, мир!|Ελληνικά|Հայերեն
ქართული|ไทยไม่มีช่องว่าง|हिन्दी में|বাংলা|தமிழ்|ಕನ್ನಡ|မြန်မာ|ខ្មែរ|አማርኛ|ᠮᠣᠩᠭᠣᠯ|ᏣᎳᎩ|שלום עולם
مرحبا بالعالم|العربية ١٢٣ abc|עִבְרִית|سَلَام|فارسی می‌خواهم|اردو|abc שלום 123 مرحبا"""

EMOJI = (
    "😀 😀😀 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇩🇪🇫🇷 🇩 1️⃣ #️⃣ ❤️ ❤ ☎︎ 🦙 🦙🦙🦙 a🦙b 1🦙2 🧑🏿‍🚀 👩‍❤️‍💋‍👨 ☺︎☺️ ⌚⏰ ™ © ® ✓ ✔️ ← → ↔️"
)
ODD_SPACES = (
    "\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u2007\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
INVISIBLE = (
    "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufe0e\ufe0f\ufeff"
)
MARKS = "e\u0301|\u0301|a\u0300\u0301\u0302\u0303|\u0301a| \u0301|1\u0301|ṩ|s\u0323\u0307|Z̷a̶l̵g̴o̷"
ODD = "\ufffd|\ufffe|\uffff|\ue000|\U000f0000|\U0010ffff|\ufdd0|𝒳𝓎𝔷|𐍈|𓀀|🂡|\U0001f1e6"


def nasty_strings() -> Iterator[str]:
    """The corpus."""
    yield ""
    for text in ORDINARY.replace("\n", "|").split("|"):
        yield text.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r")
    yield "|"
    for text in (*EMOJI.split(" "), *MARKS.split("|"), *ODD.split("|")):
        yield from (text, f"a{text}b", f" {text} 1")
    for char in (*ODD_SPACES, *INVISIBLE):
        yield from (char, f"a{char}b", f"a{char * 3}1", f" {char} {char}\n")
    yield from (chr(code) for code in range(128))
    yield from (f"a{chr(code)}1 {chr(code)}{chr(code)}" for code in (*range(33), 127))
    for special in SPECIALS:
        yield from (
            special,
            f"a{special}b",
            special[:-1],
            special[1:],
            f"{special}{special}",
            special.upper(),
        )
        yield f"{special[:5]} {special[5:]}"
    yield from _of_every_category()
    yield from _long_runs()


def _of_every_category() -> Iterator[str]:
    """Three characters of each Unicode category, beside letters, digits and spaces."""
    found: dict[str, list[str]] = {}
    for code in (*range(0x0, 0x3000), *range(0xA000, 0xABFF), *range(0x10000, 0x1F900, 7)):
        found.setdefault(unicodedata.category(chr(code)), []).append(chr(code))
    for category, chars in found.items():
        if category != "Cs":
            for char in (chars[0], chars[len(chars) // 2], chars[-1]):
                yield f"{char} a{char} {char}1{char}{char} \n{char}"


def _long_runs() -> Iterator[str]:
    for unit, count in (("a", 600), (" ", 600), ("\n", 300), ("\t", 200), ("7", 200), ("!", 300), ("🦙", 60)):
        yield unit * count
        yield f"x{unit * count}y"
    yield from (
        "ab" * 400,
        " a" * 200,
        "a " * 200,
        "Aa1 \n" * 100,
        "é" * 150,
        "漢" * 150,
        "\r\n" * 100,
        "= " * 150,
    )


_POOLS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", " ", "   \t\n\r", "[\\]^_`{|}~",
    "!\"#$%&'()*+,-./:;<=>?@", "äöüßéèñçøåÆŒſµ", "абвгдежзЖЗИ", "漢字かなカナ한국어", "אבגدهوزح",
    "٣٤१२३²³½Ⅳ①", ODD_SPACES, INVISIBLE, "\u0300\u0301\u0323\u0489", "😀👍🏽🦙❤️‍👨👩🇩🇪",
    "".join(map(chr, range(32))), ODD,
)  # fmt: skip
_WORDS = (
    "the",
    " and",
    "'s",
    "'ll",
    "ing",
    " the",
    "return ",
    "\n\n",
    "http://",
    "  ",
    *SPECIALS,
    "<|im",
    "_end|>",
)


def random_strings(count: int, seed: int) -> Iterator[str]:
    """Mixtures of everything, up to some hundred characters."""
    rng = random.Random(seed)
    for _ in range(count):
        parts = []
        for _ in range(rng.choice((1, 2, 3, 5, 8, 13, 30))):
            kind = rng.random()
            if kind < 0.15:
                parts.append(rng.choice(_WORDS))
            elif kind < 0.2:
                # Characters newer than a library's tables are letters to one and nothing to another.
                char = chr(rng.randrange(0x110000))
                parts.append(char if unicodedata.category(char) not in ("Cn", "Cs") else " ")
            else:
                pool = rng.choice(_POOLS[:6]) if kind < 0.6 else rng.choice(_POOLS)
                parts.append("".join(rng.choices(pool, k=rng.choice((1, 1, 2, 3, 6)))))
        yield "".join(parts)


def record(model: Path, texts: Iterable[str]) -> list[tuple[str, list[int]]]:
    """Each text with llama.cpp's ids."""
    from llama_cpp import Llama

    llama = Llama(str(model), vocab_only=True, verbose=False)
    return [
        (text, llama.tokenize(text.encode(), add_bos=False, special=False)) for text in dict.fromkeys(texts)
    ]


def check(model: Path, records: Path) -> int:
    """How many texts our tokenizer gives other ids for; prints the first ones."""
    from llama_chat.engine.files.gguf import GGUFFile
    from llama_chat.engine.vocabulary.from_gguf import tokenizer_from_gguf

    tokenizer = tokenizer_from_gguf(GGUFFile(model))
    recorded = json.loads(records.read_text(encoding="utf-8"))
    wrong = [(text, ids, got) for text, ids in recorded if (got := tokenizer.encode(text)) != ids]
    for text, ids, got in wrong[:10]:
        print(f"{text!r}\n  llama.cpp {ids}\n  ours      {got}")
    print(f"{len(recorded) - len(wrong):,} of {len(recorded):,} are equal")
    return len(wrong)


def main() -> int:
    """The exit code: 1 when a checked text differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("record", "check"))
    parser.add_argument("model", type=Path)
    parser.add_argument("records", type=Path, nargs="?", default=CORPUS)
    parser.add_argument("--output", type=Path, default=CORPUS)
    parser.add_argument("--random", type=int, default=0, metavar="N", help="N random strings, not the corpus")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.what == "check":
        return 1 if check(options.model, options.records) else 0
    texts = random_strings(options.random, options.seed) if options.random else nasty_strings()
    lines = [json.dumps(pair, separators=(",", ":")) for pair in record(options.model, texts)]
    options.output.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")
    print(f"{len(lines):,} texts in {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
