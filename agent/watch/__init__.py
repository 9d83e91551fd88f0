"""The pages of `factd run`: whether it is well, for people, for systemd and for Prometheus."""
