"""What every medical pipeline says of itself."""

__all__ = ["RESEARCH"]

RESEARCH = "For research; not a medical device."
