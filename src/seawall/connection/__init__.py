"""What one connection is above its wire: its handle, its lifecycle, its deadlines, leases and sessions."""
