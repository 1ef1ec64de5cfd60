"""Choose the format of supervised fine-tuning data by evidence."""
