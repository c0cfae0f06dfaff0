"""What suits a newcomer: which of the offers, why, and what is to be known of each before it is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llama_chat.device_facts import DeviceFacts
from llama_chat.shelves.fit import ShortFit
from llama_chat.shelves.offers import OFFERS, Offer
from llama_chat.units import about_bytes

_NOTABLE_WORK = 2
_DISK_SPARE = 1.05
"""A fetch needs a little more room than the model."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What decides which offer suits, as far as it is known."""

    device: DeviceFacts | None = None
    """That a model would run on; None: not known yet."""
    fits: Mapping[str, ShortFit] | None = None
    """By the name of the offer."""
    has_token: bool = False
    """Whether the Hub knows who asks, so that gated models may be had."""
    free_disk_bytes: int | None = None

    def can_have(self, offer: Offer) -> bool:
        """Whether it may be fetched, has room on the disk, and fits the device well."""
        fit = (self.fits or {}).get(offer.name)
        has_room = self.free_disk_bytes is None or offer.bytes_to_fetch * _DISK_SPARE < self.free_disk_bytes
        return (
            has_room
            and (self.has_token or not offer.is_gated)
            and (fit is None or fit.verdict in ("fits", "unknown"))
        )


def recommended(known: Circumstances, offers: Sequence[Offer] = OFFERS) -> tuple[Offer, str]:
    """The offer that suits best, and why, in a sentence."""
    smallest = min(offers, key=lambda offer: offer.bytes_to_fetch)
    device = known.device
    if device is None or known.fits is None:
        return smallest, "The smallest: it runs on every machine."
    if device.is_cpu:
        return smallest, "Made for a processor: small enough to answer as fast as you read."
    able = [offer for offer in offers if known.can_have(offer)]
    best = max(able, key=lambda offer: offer.shape.parameters, default=smallest)
    fit = known.fits.get(best.name)
    if best is smallest or fit is None:
        return smallest, f"What fits {device.name} now."
    free = f" of the {about_bytes(fit.free_bytes)} that are free" if fit.free_bytes is not None else ""
    open_to_all = "" if known.has_token else " and needs no account"
    return best, f"The largest that fits {device.name}{open_to_all}: {about_bytes(fit.needed_bytes)}{free}."


def about(offer: Offer, known: Circumstances) -> list[str]:
    """What is to be known before it is fetched: what stands in the way first, then size, licence, memory."""
    fit = (known.fits or {}).get(offer.name)
    lines = _obstacles(offer, known, fit)
    lines.append(f"{about_bytes(offer.bytes_to_fetch)} from {offer.source} · {offer.licence}")
    if fit is not None:
        free = f" of {about_bytes(fit.free_bytes)} free" if fit.free_bytes is not None else ""
        lines.append(f"Takes {about_bytes(fit.needed_bytes)}{free} on {fit.device}, in {fit.dtype}.")
    if known.device is not None and known.device.is_cpu and _work(offer) >= _NOTABLE_WORK:
        lines.append(f"Answers better, with about {_work(offer)} times the work for every word.")
    return lines


def _obstacles(offer: Offer, known: Circumstances, fit: ShortFit | None) -> list[str]:
    lines = []
    if offer.is_gated:
        token = "your token is at hand." if known.has_token else "then set HF_TOKEN."
        lines.append(f"Accept its terms at {offer.page}, {token}")
    if fit is not None and fit.verdict == "does not fit":
        lines.append("It takes more memory than there is.")
    if known.free_disk_bytes is not None and offer.bytes_to_fetch * _DISK_SPARE >= known.free_disk_bytes:
        lines.append(f"The disk has {about_bytes(known.free_disk_bytes)} free: too little.")
    return lines


def _work(offer: Offer) -> int:
    """How much more is read for a token than of the smallest."""
    smallest = min(each.bytes_to_fetch for each in OFFERS)
    return round(offer.bytes_to_fetch / smallest)
