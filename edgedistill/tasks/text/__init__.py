"""What tasks share whose samples are texts: sources, tokenizers, and models of Hugging Face."""
