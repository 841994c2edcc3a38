"""Networks from what agents see to what they choose."""
