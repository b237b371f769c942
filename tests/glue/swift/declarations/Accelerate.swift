// Apple's Accelerate: the glue code links it, and calls nothing of it.
