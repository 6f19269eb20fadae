"""Who is here: what a host is and can do."""
