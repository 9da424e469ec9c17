"""One connection above its wire: what the handler holds, its lifecycle, deadlines and leases; and the sessions."""
