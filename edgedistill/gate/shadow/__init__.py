"""The shadow phase: a student answers beside its teacher, unseen by users, until their disagreement is known."""
