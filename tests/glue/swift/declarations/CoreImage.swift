// Apple's Core Image: the glue code links it, and calls nothing of it.
