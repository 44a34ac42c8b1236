"""The card of a run: what it may hold, and the checks of it; no torch here."""
