"""Personal data in texts and images: found, replaced and counted before a teacher or a cache sees them."""
