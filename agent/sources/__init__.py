"""Where articles come from: `fetch.fetch` polls one source, `poll.poll` many; both give values."""
