"""What the commands print and write: formatting, differences, descriptions, reports, new models."""
