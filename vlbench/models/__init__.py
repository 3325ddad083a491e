"""Built-in vision-language models."""
