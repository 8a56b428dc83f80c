"""What mediagen is measured beside. The modules run in an environment of their own, which holds requirements/bench-peers.txt."""
