"""Two guards of the gate: sessions that ended elsewhere, and proxies that lost a certificate."""
