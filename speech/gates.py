"""When a text is not to be believed: what a network writes where nothing is said, or when it has lost its way."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Limits", "compression", "doubt", "loops"]

_PHRASE = 8  # tokens of the longest phrase whose repetition is looked for


@dataclass(frozen=True)
class Limits:
    """How far a text may go; the defaults are openai-whisper's, `loops` is ours.

    Attributes
    ----------
    silence : float
        Above this probability of silence, together with a log-probability below `logprob`, nothing was said.
    logprob : float
        Mean log-probability of a token below which a text is a guess.
    compression : float
        Times a text may become shorter by zlib.
    loops : int
        Times a phrase may follow upon itself.
    pace : float
        Tokens that can be said in a second.
    """

    silence: float = 0.6
    logprob: float = -1.0
    compression: float = 2.4
    loops: int = 8
    pace: float = math.inf

    @classmethod
    def of(cls, texts: Sequence[str], paces: Sequence[float]) -> "Limits":
        """Learn from texts, and the tokens a second they were said at: texts that repeat themselves are believed later, too.

        Examples
        --------
        >>> Limits.of(["go"], [2.0]), Limits.of(["no " * 20], [3.0]).loops
        (Limits(silence=0.6, logprob=-1.0, compression=2.4, loops=8, pace=3.0), 40)
        """
        usual = cls()
        most = max((loops(text.split()) for text in texts), default=1)
        densest = max((compression(text) for text in texts), default=1.0)
        pace = 1.5 * max(paces, default=math.inf)
        return cls(compression=max(usual.compression, 2 * densest), loops=max(usual.loops, 2 * most), pace=pace)

    def most(self, seconds: float, room: int) -> int:
        """Return the tokens after which writing of so many seconds is cut off, in a decoder with so much room.

        Examples
        --------
        >>> Limits().most(1.0, 224), Limits(pace=4.0).most(1.0, 224)
        (224, 8)
        """
        return room if math.isinf(self.pace) else min(room, math.ceil(self.pace * seconds) + 4)


def doubt(text: str, tokens: Sequence[int], logprob: float, silence: float, most: int, limits: Limits) -> str | None:
    """Say why a text is not to be believed, or None.

    Parameters
    ----------
    text, tokens : str, sequence of int
        What was written.
    logprob, silence : float
        Mean log-probability of a token, and probability that nothing is said.
    most : int
        Tokens after which writing is cut off.
    limits : Limits
        How far it may go.

    Examples
    --------
    >>> doubt("thank you", [5, 6], -1.4, 0.9, 224, Limits())
    'nothing is said (probability 0.90)'
    >>> doubt("la " * 30, [5] * 30, -0.1, 0.0, 224, Limits())
    'it repeats itself 30 times'
    """
    if silence > limits.silence and logprob < limits.logprob:
        return f"nothing is said (probability {silence:.2f})"
    if logprob < limits.logprob:
        return f"it is a guess (mean log-probability {logprob:.2f})"
    if loops(tokens) > limits.loops:
        return f"it repeats itself {loops(tokens)} times"
    if compression(text) > limits.compression:
        return f"it says the same over and over (compression ratio {compression(text):.1f})"
    if len(tokens) >= most:
        return f"it found no end within {most} tokens"
    return None


def compression(text: str) -> float:
    """Return how many times shorter zlib makes a text, as openai-whisper measures it.

    Examples
    --------
    >>> compression("one two three") < 1 < compression("one " * 100)
    True
    """
    written = text.encode("utf-8", "replace")
    return len(written) / len(zlib.compress(written))


def loops(items: Sequence[object]) -> int:
    """Return how many times in a row a phrase of up to eight items occurs, at most.

    Examples
    --------
    >>> loops([1, 2, 3]), loops([9, 1, 2, 1, 2, 1, 2]), loops([])
    (1, 3, 0)
    """
    found = min(1, len(items))
    for size in range(1, min(_PHRASE, len(items) // 2) + 1):
        same = 0
        for i in range(size, len(items)):
            same = same + 1 if items[i] == items[i - size] else 0
            found = max(found, same // size + 1)
    return found
