"""Chat templates: a conversation becomes pieces, never one string. jinja2 lives here only."""
