"""Says in words whether distillation is the right tool for a recipe, and what to do instead."""
