"""Scores of every query beside every item: where tiles come from, how they are seen, and the one loop over them."""
