"""Sizes in words, and the names of files that one model is split over."""

import pytest

from llama_chat.part_names import missing_parts, missing_shards, part_name, shard_number
from llama_chat.units import about_bytes, bytes_of_total, bytes_text


@pytest.mark.parametrize(
    ("nbytes", "exact", "about"),
    [
        (0, "0 B", "0 B"), (-5, "-5 B", "0 B"), (999, "999 B", "999 B"), (1000, "1.0 kB", "1 kB"),
        (1500, "1.5 kB", "2 kB"), (300_000, "300.0 kB", "300 kB"), (999_960, "1.0 MB", "1 MB"),
        (87_400_000, "87.4 MB", "87 MB"), (16_060_000_000, "16.06 GB", "16.1 GB"),
        (2e12, "2.00 TB", "2.0 TB"), (5e15, "5000.00 TB", "5000.0 TB"),
    ],
)  # fmt: skip
def test_a_size_is_said_in_the_unit_that_suits_it(nbytes: float, exact: str, about: str) -> None:
    assert (bytes_text(nbytes), about_bytes(nbytes)) == (exact, about)


def test_what_is_done_of_a_total_is_said_in_the_total_s_unit_and_keeps_its_place() -> None:
    assert bytes_of_total(46_400_000, 92_800_000) == "   46.4 of 92.8 MB"
    assert bytes_of_total(5_000_000, 16_060_000_000) == "   0.01 of 16.06 GB"
    assert bytes_of_total(500, 1200) == "    0.5 of 1.2 kB"


def test_what_is_missing_of_a_model_is_known_by_the_names_of_the_rest() -> None:
    assert missing_parts(["x/m-00003-of-00003.GGUF", "x/m-00001-of-00003.GGUF"]) == [
        "x/m-00002-of-00003.GGUF"
    ]
    assert missing_parts(["m.gguf"]) == []
    assert missing_shards(["consolidated.02.pth", "consolidated.00.pth"]) == ["consolidated.01.pth"]
    assert missing_shards(["consolidated.00.pth"], count=3) == ["consolidated.01.pth", "consolidated.02.pth"]
    assert len(missing_shards(["consolidated.00.pth"], count=1 << 40)) == 1023


def test_a_name_is_a_part_s_or_a_shard_s_only_if_all_of_it_is() -> None:
    part = part_name("Llama-Q4_K_M-00002-of-00003.gguf")
    assert part is not None
    assert (part.whole, part.number, part.sibling(3)) == (
        "Llama-Q4_K_M.gguf", 2, "Llama-Q4_K_M-00003-of-00003.gguf",
    )  # fmt: skip
    for name in ("m-1-of-3.gguf", "m-00001-of-00003.gguf.tmp", "m-00001-of-00003", "m-0000١-of-00003.gguf"):
        assert part_name(name) is None
    assert shard_number("consolidated.07.pth") == 7
    for name in ("consolidated.7.pth", "consolidated_2layers.pth", "x.consolidated.00.pth"):
        assert shard_number(name) is None
