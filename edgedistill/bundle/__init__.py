"""What a mobile engineer gets for one target."""
