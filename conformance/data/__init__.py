"""The stores: what a client is promised, inside and outside."""
