"""Explanations as HTML: texts with their words coloured, and no script, font or file beside it."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from pipelines.report_html import whole_page

from .texts import plain

if TYPE_CHECKING:
    from .explanation import Explanation

__all__ = ["fragment", "page"]

_FOR, _AGAINST = "47, 126, 216", "232, 116, 59"
_DEEPEST = 0.62  # of a colour: the text on it must be read in light and in dark mode
_FAINTEST = 0.02  # of the strongest word: below, no colour could be seen

_EMPTY = '<span class="dp-small">(no text)</span>'
_STYLE = """<style>
.dp-why { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; max-width: 860px; margin: 0 auto;
  padding: 18px; box-sizing: border-box; overflow-wrap: anywhere; }
.dp-why p { margin: .3rem 0; }
.dp-why figure { margin: 0 0 1.4rem; }
.dp-why .dp-label { font-weight: 600; }
.dp-why .dp-key { font-size: .84rem; margin-bottom: 1rem; }
.dp-why .dp-small { font-size: .84rem; opacity: .72; }
.dp-why blockquote { margin: .3rem 0; padding: .7rem .9rem; border-radius: 6px; white-space: pre-wrap; line-height: 1.9;
  background: rgba(128, 140, 155, .1); max-height: 560px; overflow: auto; }
.dp-why mark { color: inherit; border-radius: 3px; padding: .1em .05em; }
</style>"""


def page(explanations: Sequence["Explanation"]) -> str:
    """Render a whole page."""
    return whole_page("What the words add to the score", fragment(explanations))


def fragment(explanations: Sequence["Explanation"]) -> str:
    """Render a piece of HTML to put into a page or a notebook."""
    key = f"{_mark('blue', 1, _FOR)} speaks for the label, {_mark('orange', 1, _AGAINST)} against it; the deeper, the more."
    figures = "".join(map(_figure, explanations))
    return f'{_STYLE}\n<div class="dp-why"><p class="dp-key">{key}</p>{figures}</div>'


def _figure(explanation: "Explanation") -> str:
    head = (
        f'<span class="dp-label">{escape(plain(str(explanation.label)))}</span> {explanation.probability:.1%} '
        f'<span class="dp-small">score {explanation.score:+.3f}, with every word masked {explanation.reference:+.3f}</span>'
    )
    coloured = ["".join(_coloured(explanation, i)) or _EMPTY for i in range(len(explanation.parts))]
    texts = "".join(f'<blockquote dir="auto">{text}</blockquote>' for text in coloured)
    feet = "".join(f'<p class="dp-small">{escape(line)}</p>' for line in (explanation.summary, *explanation.notes))
    return f"<figure><p>{head}</p>{texts}{feet}</figure>"


def _coloured(explanation: "Explanation", part: int) -> Iterator[str]:
    """Yield the text between the words as it is, and the words on their colours."""
    text, done = explanation.parts[part], 0
    most = max((abs(word.attribution) for word in explanation.words), default=0.0) or 1.0
    for word in explanation.words:
        if word.part == part and abs(word.attribution) >= _FAINTEST * most:
            yield escape(text[done : word.start])
            colour = _FOR if word.attribution > 0 else _AGAINST
            yield _mark(word.text, abs(word.attribution) / most, colour, f"{word.attribution:+.4f}")
            done = word.end
    yield escape(text[done:])


def _mark(text: str, strength: float, colour: str, title: str = "") -> str:
    shown = f' title="{title}"' if title else ""
    return f'<mark style="background: rgba({colour}, {_DEEPEST * strength:.3f})"{shown}>{escape(text)}</mark>'
