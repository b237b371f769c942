"""Sentence embeddings: a vector for each text, whose cosines say how close texts are."""
