"""How bytes get to a peer and back: sockets that are polled, and streams of every kind."""
