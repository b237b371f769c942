"""A task and a format that are installed beside edgedistill, as another package would add them."""
