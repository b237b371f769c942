"""Blinded review: people compare pairs of answers on a local page that does not say who wrote them."""
